/** @file Reads the header of a JPEG, to know without a decoder whether the picture is plain: three components, no profile, no turn. */

export interface JpegHeader {
  readonly width: number;
  readonly height: number;
  readonly components: number;
  /** An EXIF segment is there (it may hold an orientation). */
  readonly exif: boolean;
  /** An ICC profile is there. */
  readonly icc: boolean;
}

/** The header, or undefined when the bytes are no JPEG or the frame is not found. */
export function readJpegHeader(bytes: Uint8Array): JpegHeader | undefined {
  if (bytes.length < 4 || bytes[0] !== 0xff || bytes[1] !== 0xd8) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let exif = false;
  let icc = false;
  let at = 2;
  while (at + 4 <= bytes.length && bytes[at] === 0xff) {
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at++; // fill byte
      continue;
    }
    const length = view.getUint16(at + 2);
    if (isFrame(marker)) {
      if (at + 10 > bytes.length) return undefined;
      return { width: view.getUint16(at + 7), height: view.getUint16(at + 5), components: view.getUint8(at + 9), exif, icc };
    }
    if (marker === 0xe1) exif = true;
    if (marker === 0xe2) icc = true;
    at += 2 + length;
  }
  return undefined;
}

/** SOF0..SOF15 without DHT, JPG and DAC. */
function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}
