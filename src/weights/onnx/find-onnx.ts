/** @file Where the ONNX model is that a path means, and the files that describe it. */
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FormatError } from "../../core/index.ts";
import { WEIGHT_FILES } from "../folder/find-weights.ts";

export interface OnnxPlace {
  readonly file: string;
  /** `config.json` and `preprocessor_config.json`, where they are. */
  readonly config: string | undefined;
  readonly processor: string | undefined;
}

/** As transformers.js calls them, the most exact first. */
const NAMES = ["model.onnx", "model_fp16.onnx", "model_quantized.onnx"] as const;

const isFile = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined))?.isFile() === true;

/** A file beside a model, or, of one in a folder `onnx`, beside that folder. */
async function besides(file: string, name: string): Promise<string | undefined> {
  const dir = dirname(file);
  for (const place of basename(dir) === "onnx" ? [dir, dirname(dir)] : [dir]) if (await isFile(join(place, name))) return join(place, name);
  return undefined;
}

async function placeOf(file: string): Promise<OnnxPlace> {
  return { file, config: await besides(file, "config.json"), processor: await besides(file, "preprocessor_config.json") };
}

/**
 * The ONNX model that a path means: a file `*.onnx`, or that of a folder as transformers.js has it (`onnx/model.onnx`, else
 * `onnx/model_fp16.onnx`, else `onnx/model_quantized.onnx`; the same without `onnx/`). Undefined for what is none: folders that have weights
 * are opened by those. Throws FormatError for a folder whose ONNX files have other names only.
 */
export async function findOnnx(path: string): Promise<OnnxPlace | undefined> {
  if (path.endsWith(".onnx") && (await isFile(path))) return placeOf(path);
  for (const name of WEIGHT_FILES) if (await isFile(join(path, name))) return undefined;
  const places = NAMES.flatMap((name) => ["onnx", "."].map((sub) => join(path, sub, name)));
  for (const file of places) if (await isFile(file)) return placeOf(file);
  const others = (await Promise.all(["onnx", "."].map((sub) => onnxFilesOf(path, sub)))).flat();
  if (others.length === 0) return undefined;
  throw new FormatError(
    `Cannot open model "${path}": it has ${others.slice(0, 5).join(", ")} and none of ${NAMES.join(", ")}; give the path of one file`,
    { file: path },
  );
}

async function onnxFilesOf(path: string, sub: string): Promise<readonly string[]> {
  const names = await readdir(join(path, sub)).catch(() => []);
  return names.filter((name) => name.endsWith(".onnx")).map((name) => join(sub, name));
}
