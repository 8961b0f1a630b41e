/** @file Safetensors over bytes that are read when asked for; several files under one index. */
import { z } from "zod";
import { FormatError, type HostTensor, InternalError } from "../core/index.ts";
import { decodeHeader, decodeHeaderLength } from "../weights/safetensors-header.ts";
import { tensorOf } from "../weights/tensor-bytes.ts";
import type { TensorSource } from "../weights/tensor-source.ts";
import type { ByteSource } from "./byte-source.ts";

const nothingToClose = (): Promise<void> => Promise.resolve();

/** What people put in the place of safetensors. */
function checkStart(start: Uint8Array, path: string): void {
  if (start[8] === 0x7b && start[5] === 0 && start[6] === 0 && start[7] === 0) return; // the length of a header, and a header
  const text = String.fromCharCode(...start);
  const what = text.startsWith("<")
    ? "it is a web page"
    : text.startsWith("version")
      ? "it is a pointer of Git LFS, not the file itself"
      : text.startsWith("PK") || text.startsWith("\x80")
        ? 'it is a file of PyTorch; convert it with "tricera models convert"'
        : undefined;
  if (what !== undefined) throw new FormatError(`Cannot read weights of "${path}": ${what}; give a .safetensors file`, { file: path });
}

/** The tensors of a safetensors file. Throws FormatError. */
export async function openSafetensorsOf(source: ByteSource): Promise<TensorSource> {
  const { path, sizeBytes } = source;
  const start = await source.read(0, Math.min(9, sizeBytes));
  checkStart(start, path);
  const length = decodeHeaderLength(start, { path, sizeBytes });
  const bodyStart = 8 + length;
  const { entries } = decodeHeader(await source.read(8, length), { path, bodyBytes: sizeBytes - bodyStart });
  return {
    path,
    entries,
    async read(name) {
      const entry = entries.get(name);
      if (entry === undefined)
        throw new InternalError(`Cannot read tensor "${name}" of "${path}": it is not there; ask for those of entries`);
      return tensorOf(entry.dtype, entry.shape, await source.read(bodyStart + entry.begin, entry.end - entry.begin));
    },
    [Symbol.asyncDispose]: nothingToClose,
  };
}

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** The files that an index (`model.safetensors.index.json`, already parsed) names. Throws FormatError for one that is no index. */
export function shardsOf(raw: unknown, path: string): readonly string[] {
  const parsed = indexSchema.safeParse(raw);
  if (!parsed.success)
    throw new FormatError(`Cannot read weights of "${path}": it has no weight_map from names to files; download the folder again`, {
      file: path,
    });
  const files = [...new Set(Object.values(parsed.data.weight_map))];
  const outside = files.find((file) => !/^[\w][\w.-]*$/.test(file));
  if (outside === undefined) return files;
  throw new FormatError(`Cannot read weights of "${path}": it names "${outside}", which is no file beside it; download the folder again`, {
    file: path,
  });
}

/** The tensors of several files as of one. Throws FormatError where one name is in two of them. */
export function joinSources(path: string, sources: readonly TensorSource[]): TensorSource {
  const owners = new Map<string, TensorSource>();
  for (const source of sources)
    for (const name of source.entries.keys()) {
      if (owners.has(name))
        throw new FormatError(`Cannot read weights of "${path}": tensor "${name}" is in two of its files; download the folder again`, {
          file: path,
        });
      owners.set(name, source);
    }
  return {
    path,
    entries: new Map([...owners].flatMap(([name, { entries }]) => [[name, entries.get(name)!] as const])), // its owner has it
    read: (name): Promise<HostTensor> => {
      const owner = owners.get(name);
      return owner === undefined
        ? Promise.reject(new InternalError(`Cannot read tensor "${name}" of "${path}": no file has it; ask for those of entries`))
        : owner.read(name);
    },
    [Symbol.asyncDispose]: nothingToClose,
  };
}
