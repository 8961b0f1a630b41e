/** @file Takes EXIF out of a JPEG, because a browser turns a picture by it even where it is asked not to. */
import { concatBytes } from "../core/index.ts";

const MARKER = 0xff;
const START = 0xd8;
const APP1 = 0xe1;
/** Start of scan: the pixels follow. */
const SCAN = 0xda;
const EXIF = [0x45, 0x78, 0x69, 0x66, 0]; // "Exif\0"

/** The bytes of a JPEG without its EXIF segments; others, and JPEGs without any, as they are. */
export function withoutExif(bytes: Uint8Array): Uint8Array {
  if (bytes[0] !== MARKER || bytes[1] !== START) return bytes;
  const kept: Uint8Array[] = [];
  let from = 0;
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === MARKER && bytes[at + 1] !== SCAN;) {
    if (bytes[at + 1] === MARKER) {
      at++; // a fill byte
      continue;
    }
    const end = at + 2 + (bytes[at + 2] ?? 0) * 256 + (bytes[at + 3] ?? 0);
    if (bytes[at + 1] === APP1 && EXIF.every((byte, i) => bytes[at + 4 + i] === byte)) {
      kept.push(bytes.subarray(from, at));
      from = end;
    }
    at = end;
  }
  return kept.length === 0 ? bytes : concatBytes([...kept, bytes.subarray(from)]);
}
