/** @file Mask pictures: the class id of every pixel as a PNG stores it, palette indices not turned into colours. */
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { inflate } from "node:zlib";
import { FormatError } from "../../core/index.ts";
import { DEFAULT_MAX_PIXELS } from "./decode.ts";

/** Class ids, row by row. */
export interface MaskImage {
  readonly width: number;
  readonly height: number;
  readonly ids: Uint8Array | Uint16Array;
}

export interface DecodeMaskOptions {
  /** What errors call the mask. */
  readonly name?: string;
  readonly maxPixels?: number;
}

interface Png {
  readonly width: number;
  readonly height: number;
  readonly bits: number;
  readonly channels: number;
  /** The compressed rows, part by part. */
  readonly parts: readonly Uint8Array[];
}

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
/** Channels by colour type: grey, RGB, palette, grey and alpha, RGB and alpha (PNG §11.2.1). */
const CHANNELS: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const inflateAsync = promisify(inflate);

function broken(name: string, rest: string, cause?: unknown): FormatError {
  return new FormatError(`Cannot read mask "${name}": ${rest}`, { file: name, cause });
}

/** Reads and decodes one mask. Throws FormatError when it is no PNG of class ids. */
export async function loadMask(path: string): Promise<MaskImage> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw broken(path, `${why}; check that the file exists and may be read`, cause);
  });
  return decodeMask(bytes, { name: path });
}

/**
 * Decodes a grey or palette PNG of 1 to 16 bits into its stored numbers; of RGB the common value of the three channels. Throws FormatError for
 * other formats (JPEG blurs ids), interlaced and coloured pictures, and damage.
 */
export async function decodeMask(bytes: Uint8Array, options: DecodeMaskOptions = {}): Promise<MaskImage> {
  const { name = "in memory", maxPixels = DEFAULT_MAX_PIXELS } = options;
  const png = readChunks(bytes, name);
  const { width, height, bits, channels } = png;
  if (width * height > maxPixels)
    throw broken(name, `${width}x${height} px are more than the limit of ${maxPixels}; make it smaller or raise maxPixels`);
  const rowBytes = Math.ceil((width * channels * bits) / 8);
  const rows = await inflateRows(png, { name, length: height * (rowBytes + 1) });
  unfilter(rows, { rowBytes, step: Math.max(1, (channels * bits) >> 3), name });
  return { width, height, ids: idsOf(rows, { ...png, rowBytes, name }) };
}

function readChunks(bytes: Uint8Array, name: string): Png {
  if (!SIGNATURE.every((value, i) => bytes[i] === value))
    throw broken(name, "its content is no PNG; save masks as PNG, which keeps ids exact");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts: Uint8Array[] = [];
  let at = 8;
  while (at + 12 <= bytes.length) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (at + 12 + length > bytes.length) break;
    if (kind === "IDAT") parts.push(bytes.subarray(at + 8, at + 8 + length));
    if (kind === "IEND") return { ...readHeader(view, name), parts };
    at += 12 + length;
  }
  throw broken(name, "the data ends early; copy the file again or remove it");
}

/** IHDR is the first chunk: its data begins at byte 16. */
function readHeader(view: DataView, name: string): Omit<Png, "parts"> {
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const [bits, colour, interlace] = [view.getUint8(24), view.getUint8(25), view.getUint8(28)];
  const channels = CHANNELS[colour];
  if (channels === undefined || ![1, 2, 4, 8, 16].includes(bits) || width === 0 || height === 0)
    throw broken(name, "its header is damaged; copy the file again or remove it");
  if (interlace !== 0) throw broken(name, "it is interlaced; save it without interlacing");
  return { width, height, bits, channels };
}

async function inflateRows({ parts }: Png, { name, length }: { readonly name: string; readonly length: number }): Promise<Uint8Array> {
  const rows = await inflateAsync(Buffer.concat(parts), { maxOutputLength: Math.max(1, length) }).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw broken(name, `the data is damaged (${why}); copy the file again or remove it`, cause);
  });
  if (rows.length !== length) throw broken(name, `it has ${rows.length} of ${length} bytes of pixels; copy the file again or remove it`);
  return rows;
}

/** The neighbour that is nearest to left + up - corner (PNG §9.4). */
function paeth(left: number, up: number, corner: number): number {
  const p = left + up - corner;
  const [dl, du, dc] = [Math.abs(p - left), Math.abs(p - up), Math.abs(p - corner)];
  if (dl <= du && dl <= dc) return left;
  return du <= dc ? up : corner;
}

/** What each filter adds to a byte, by its neighbours (PNG §9.2). */
const FILTERS: readonly ((left: number, up: number, corner: number) => number)[] = [
  () => 0,
  (left) => left,
  (_, up) => up,
  (left, up) => (left + up) >> 1,
  paeth,
];

/** Undoes the filters in place; each row begins with the number of its filter. */
function unfilter(
  rows: Uint8Array,
  { rowBytes, step, name }: { readonly rowBytes: number; readonly step: number; readonly name: string },
): void {
  const stride = rowBytes + 1;
  for (let start = 0; start < rows.length; start += stride) {
    const number = rows[start] ?? -1;
    const filter = FILTERS[number];
    if (filter === undefined) throw broken(name, `a row has the unknown filter ${number}; copy the file again or remove it`);
    if (number === 0) continue;
    const at = (i: number, row: number): number => (i < 1 || row < 0 ? 0 : (rows[row + i] ?? 0));
    for (let i = 1; i <= rowBytes; i++) {
      const [left, up, corner] = [at(i - step, start), at(i, start - stride), at(i - step, start - stride)];
      rows[start + i] = rows[start + i]! + filter(left, up, corner); // modulo 256; start + i < length
    }
  }
}

interface Layout extends Omit<Png, "parts"> {
  readonly rowBytes: number;
  readonly name: string;
}

function idsOf(rows: Uint8Array, { width, height, bits, channels, rowBytes, name }: Layout): Uint8Array | Uint16Array {
  const ids = bits === 16 ? new Uint16Array(width * height) : new Uint8Array(width * height);
  const value = (start: number, sample: number): number => {
    if (bits === 16) return (rows[start + 2 * sample] ?? 0) * 256 + (rows[start + 2 * sample + 1] ?? 0);
    const bit = sample * bits;
    return ((rows[start + (bit >> 3)] ?? 0) >> (8 - bits - (bit & 7))) & ((1 << bits) - 1);
  };
  for (let y = 0; y < height; y++) {
    const start = y * (rowBytes + 1) + 1;
    for (let x = 0; x < width; x++) {
      const id = value(start, x * channels);
      ids[y * width + x] = id;
      if (channels >= 3 && (value(start, x * channels + 1) !== id || value(start, x * channels + 2) !== id))
        throw broken(name, "it is coloured; save the number of the class in each pixel, as a grey or palette PNG");
    }
  }
  return ids;
}
