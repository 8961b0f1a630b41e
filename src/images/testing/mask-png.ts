/** @file PNGs of class ids for tests: any colour type, depth and filter, written by hand as the standard says. */
import { crc32, deflateSync } from "node:zlib";

export interface MaskPngOptions {
  readonly width: number;
  readonly height: number;
  /** Samples, row by row: `width * channels` a row. */
  readonly samples: ArrayLike<number>;
  readonly bits?: 1 | 2 | 4 | 8 | 16;
  /** 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha. */
  readonly colour?: 0 | 2 | 3 | 4 | 6;
  /** Filter of row y. */
  readonly filter?: (y: number) => number;
  readonly interlace?: 0 | 1;
}

const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 } as const;

function chunk(kind: string, data: Uint8Array): Uint8Array {
  const body = Buffer.concat([Buffer.from(kind, "latin1"), data]);
  const [length, crc] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  crc.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, crc]);
}

function packRow(samples: readonly number[], bits: number): Uint8Array {
  const out = Buffer.alloc(Math.ceil((samples.length * bits) / 8));
  samples.forEach((value, i) => {
    if (bits === 16) out.writeUInt16BE(value, 2 * i);
    else out[(i * bits) >> 3] = (out[(i * bits) >> 3] ?? 0) | (value << (8 - bits - ((i * bits) & 7)));
  });
  return out;
}

/** What the filter predicts of a byte (PNG §9.2). */
function predicted(filter: number, left: number, up: number, corner: number): number {
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return Math.floor((left + up) / 2);
  if (filter !== 4) return 0;
  const p = left + up - corner;
  return [left, up, corner].reduce((best, x) => (Math.abs(p - x) < Math.abs(p - best) ? x : best));
}

export function maskPng(options: MaskPngOptions): Uint8Array {
  const { width, height, samples, bits = 8, colour = 0, filter = () => 0, interlace = 0 } = options;
  const wide = width * CHANNELS[colour];
  const step = Math.max(1, (CHANNELS[colour] * bits) >> 3);
  const rows = Array.from({ length: height }, (_, y) =>
    packRow(
      Array.from({ length: wide }, (__, x) => samples[y * wide + x] ?? 0),
      bits,
    ),
  );
  const filtered = rows.map((row, y) => {
    const above = rows[y - 1];
    const bytes = row.map((v, i) => v - predicted(filter(y), row[i - step] ?? 0, above?.[i] ?? 0, above?.[i - step] ?? 0));
    return Buffer.concat([Buffer.of(filter(y)), bytes]);
  });
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([bits, colour, 0, 0, interlace], 8);
  const palette =
    colour === 3
      ? [
          chunk(
            "PLTE",
            Uint8Array.from({ length: 768 }, (_, i) => (i * 37) & 255),
          ),
        ]
      : [];
  const data = deflateSync(Buffer.concat(filtered));
  const half = data.length >> 1; // two parts: readers must join them
  const parts = [chunk("IDAT", data.subarray(0, half)), chunk("IDAT", data.subarray(half))];
  return Buffer.concat([
    Buffer.of(137, 80, 78, 71, 13, 10, 26, 10),
    chunk("IHDR", header),
    ...palette,
    ...parts,
    chunk("IEND", Buffer.alloc(0)),
  ]);
}
