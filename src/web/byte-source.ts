/** @file Bytes that are read when asked for: of a chosen file, or of one that was fetched. */
import { FormatError } from "../core/index.ts";

/** A file of known size, readable in ranges. */
export interface ByteSource {
  /** For error messages. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Exactly `length` bytes from `offset`. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** A file the user chose. Throws FormatError where it changed or vanished since, the signal's reason when aborted. */
export function blobSource(blob: Blob, path: string, signal?: AbortSignal): ByteSource {
  return {
    path,
    sizeBytes: blob.size,
    async read(offset, length) {
      signal?.throwIfAborted();
      const bytes = await blob
        .slice(offset, offset + length)
        .arrayBuffer()
        .catch((cause: unknown) => {
          throw new FormatError(`Cannot read "${path}": the browser gives it no more; choose the file again`, { file: path, cause });
        });
      if (bytes.byteLength === length) return new Uint8Array(bytes);
      throw new FormatError(`Cannot read "${path}": it ends at byte ${offset + bytes.byteLength}; choose the file again`, { file: path });
    },
  };
}

/** Larger files of JSON are refused: an index of 27 GB of weights has 100 KB. */
const MAX_JSON_BYTES = 64 * 2 ** 20;

/** The content of a file of JSON. Throws FormatError. */
export async function readJsonOf(source: ByteSource): Promise<unknown> {
  const { path, sizeBytes } = source;
  const refuse = (state: string, cause?: unknown): never => {
    throw new FormatError(`Cannot open model: "${path}" ${state}; download or export it again`, { file: path, cause });
  };
  if (sizeBytes > MAX_JSON_BYTES) return refuse(`has ${sizeBytes} bytes, so it is no JSON`);
  try {
    return JSON.parse(new TextDecoder().decode(await source.read(0, sizeBytes)));
  } catch (cause) {
    return refuse("is not JSON", cause);
  }
}
