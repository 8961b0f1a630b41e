/** @file Reads an ONNX model: its bytes, what it says of itself, and what is said beside it. */
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { FormatError } from "../../core/index.ts";
import { checkDownload } from "../file-start.ts";
import { readJson } from "../folder/find-weights.ts";
import { checkExternal } from "./external-part.ts";
import type { OnnxPlace } from "./find-onnx.ts";
import { type OnnxInfo, readOnnxInfo } from "./onnx-info.ts";

export interface OnnxFile {
  readonly info: OnnxInfo;
  readonly bytes: Uint8Array;
  /** The folder of weights that are not in the file; undefined where all are. */
  readonly externalDir: string | undefined;
  /** Names of the files they lie in. */
  readonly externalFiles: readonly string[];
}

/** Reads a model, whose other files are seen to be there and long enough. Throws FormatError. */
export async function readOnnxFile(path: string): Promise<OnnxFile> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new FormatError(
      `Cannot open "${path}": it cannot be read (${cause instanceof Error ? cause.message : String(cause)}); check the path and its rights`,
      { file: path, cause },
    );
  });
  checkDownload(bytes.subarray(0, 64), path);
  const info = readOnnxInfo(bytes, path);
  const dir = dirname(path);
  const externalFiles = await checkExternal(info.external, { path, dir });
  return { info, bytes, externalFiles, externalDir: externalFiles.length > 0 ? dir : undefined };
}

/** JSON of one of the model's entries (`metadata_props`); undefined where there is none. Throws FormatError. */
export function metadataJson({ metadata, path }: OnnxInfo, key: string): unknown {
  const text = metadata.get(key);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new FormatError(`Cannot open "${path}": its entry "${key}" is not JSON; export or download it again`, { file: path, cause });
  }
}

/** What stands in the files beside a model, parsed. Throws FormatError. */
export async function readBeside({ config, processor }: OnnxPlace): Promise<{ readonly config: unknown; readonly processor: unknown }> {
  return {
    config: config === undefined ? undefined : await readJson(config),
    processor: processor === undefined ? undefined : await readJson(processor),
  };
}
