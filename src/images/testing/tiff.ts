/** @file Writes uncompressed TIFF of any number of bands, for tests (TIFF 6.0 §2, §8): sharp itself writes four at most. */

export interface TiffOptions {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly bits: 8 | 16;
  /** `grey`: one grey band and the rest extra; `rgb`: three colours and the rest extra. Default `grey`. */
  readonly kind?: "grey" | "rgb";
  /** EXIF's turn, 1 to 8. */
  readonly orientation?: number;
}

type Tag = readonly [tag: number, type: 3 | 4, values: readonly number[]];

/** `values`: all bands of a pixel side by side, row by row. */
export function encodeTiff(values: ArrayLike<number>, options: TiffOptions): Uint8Array {
  const { width, height, channels, bits, kind = "grey", orientation = 1 } = options;
  const bytes = values.length * (bits / 8);
  const pixels = Buffer.alloc(bytes + (bytes & 1));
  for (let i = 0; i < values.length; i++)
    if (bits === 8) pixels.writeUInt8(values[i] ?? 0, i);
    else pixels.writeUInt16LE(values[i] ?? 0, i * 2);
  const extra = channels - (kind === "rgb" ? 3 : 1);
  const tags: readonly Tag[] = [
    [256, 3, [width]],
    [257, 3, [height]],
    [258, 3, Array.from({ length: channels }, () => bits)],
    [259, 3, [1]], // no compression
    [262, 3, [kind === "rgb" ? 2 : 1]],
    [273, 4, [8]], // the strip
    [274, 3, [orientation]],
    [277, 3, [channels]],
    [278, 3, [height]],
    [279, 4, [bytes]],
    [284, 3, [1]], // bands side by side
    ...(extra > 0 ? [[338, 3, Array.from({ length: extra }, () => 0)] as const] : []),
  ];
  const at = 8 + pixels.length;
  const head = Buffer.from([0x49, 0x49, 42, 0, 0, 0, 0, 0]);
  head.writeUInt32LE(at, 4);
  return Buffer.concat([head, pixels, directory(tags, at)]);
}

/** The tags at byte `at` of the file, values that do not fit into a tag behind them. */
function directory(tags: readonly Tag[], at: number): Buffer {
  const ifd = Buffer.alloc(2 + tags.length * 12 + 4);
  const tail: Buffer[] = [];
  let tailAt = at + ifd.length;
  ifd.writeUInt16LE(tags.length, 0);
  for (const [k, [tag, type, values]] of tags.entries()) {
    const o = 2 + k * 12;
    ifd.writeUInt16LE(tag, o);
    ifd.writeUInt16LE(type, o + 2);
    ifd.writeUInt32LE(values.length, o + 4);
    const size = type === 3 ? 2 : 4;
    const body = Buffer.alloc(Math.max(4, values.length * size));
    values.forEach((v, i) => body.writeUIntLE(v, i * size, size));
    if (values.length * size <= 4) body.copy(ifd, o + 8);
    else {
      ifd.writeUInt32LE(tailAt, o + 8);
      tail.push(body);
      tailAt += body.length;
    }
  }
  return Buffer.concat([ifd, ...tail]);
}
