/** @file Safetensors over bytes that are read when asked for. */
import { FormatError, InternalError } from "../core/index.ts";
import { checkDownload, looksLikeSafetensors, START_BYTES } from "../weights/file-start.ts";
import { decodeHeader, decodeHeaderLength } from "../weights/safetensors-header.ts";
import { tensorOf } from "../weights/tensor-bytes.ts";
import type { TensorSource } from "../weights/tensor-source.ts";
import type { ByteSource } from "./byte-source.ts";

/** A zip archive, or a pickle. */
function looksLikeTorch([first, second]: Uint8Array): boolean {
  return (first === 0x50 && second === 0x4b) || first === 0x80;
}

/** Throws FormatError for what people put in the place of safetensors. */
function checkStart(start: Uint8Array, path: string): void {
  if (looksLikeSafetensors(start)) return;
  checkDownload(start, path);
  if (!looksLikeTorch(start)) return;
  throw new FormatError(`Cannot read weights of "${path}": it is a file of PyTorch; convert it with "tricera models convert"`, {
    file: path,
  });
}

/** The tensors of a safetensors file. Throws FormatError. */
export async function openSafetensorsOf(source: ByteSource): Promise<TensorSource> {
  const { path, sizeBytes } = source;
  const start = await source.read(0, Math.min(START_BYTES, sizeBytes));
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
    [Symbol.asyncDispose]: () => Promise.resolve(), // nothing to close
  };
}
