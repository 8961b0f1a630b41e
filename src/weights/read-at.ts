/** @file Reads a stretch of a file whole. */
import type { FileHandle } from "node:fs/promises";
import { FormatError } from "../core/index.ts";

/** `length` bytes at `offset`, in a buffer of their own. Throws FormatError when the file ends before. */
export async function readAt(
  handle: FileHandle,
  place: { readonly path: string; readonly offset: number; readonly length: number },
): Promise<Uint8Array> {
  const { path, offset, length } = place;
  const out = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const { bytesRead } = await handle.read(out, at, Math.min(2 ** 30, length - at), offset + at);
    if (bytesRead === 0)
      throw new FormatError(
        `Cannot read "${path}": it ends at byte ${offset + at}, ${length - at} bytes early; write or download the file again`,
        { file: path },
      );
    at += bytesRead;
  }
  return out;
}
