/** @file What the first bytes of a file say: safetensors, or what people save in their place. Needs no Node. */
import { FormatError } from "../core/index.ts";
import { MAX_HEADER_BYTES } from "./safetensors-header.ts";

/** Bytes that are enough to tell. */
export const START_BYTES = 64;

/** What people save by mistake, in words; undefined for what is none of it. */
function mistake(start: Uint8Array): string | undefined {
  const text = String.fromCharCode(...start.subarray(0, START_BYTES))
    .trimStart()
    .toLowerCase();
  if (/^<(?:!doctype|html|\?xml)/.test(text)) return "it is a web page, saved instead of the weights";
  if (text.startsWith("version https://git-lfs")) return "it is a pointer of Git LFS, not the file itself";
  return /^[{[]\s*["}\]]/.test(text) ? "it is a file of JSON" : undefined;
}

/** Throws FormatError for a page, a pointer or JSON in the place of weights. */
export function checkDownload(start: Uint8Array, path: string): void {
  const what = mistake(start);
  if (what !== undefined) throw new FormatError(`Cannot read weights of "${path}": ${what}; give the file of weights`, { file: path });
}

/** Whether a file begins with the length of a header and the header: a length such as 640 begins as a pickle does. */
export function looksLikeSafetensors(start: Uint8Array): boolean {
  if (start.length <= 8 || start[8] !== 0x7b) return false;
  return new DataView(start.buffer, start.byteOffset).getBigUint64(0, true) <= MAX_HEADER_BYTES;
}
