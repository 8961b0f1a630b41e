/** @file Resize with the arithmetic of PIL, of torch on bytes, or of floats: two separable passes, the crop fused in. */
import { ConfigError } from "../core/index.ts";
import { checkBox, checkImage, type Box, type FloatImage, type RgbImage } from "./image.ts";
import {
  type AcrossJob,
  acrossRows,
  arenaOf,
  type ColumnsJob,
  columnsByKernel,
  type IntTaps,
  type Source,
  sourceIn,
} from "./simd/passes.ts";
import type { Arena } from "./simd/arena.ts";
import { floatPass, floatTaps, line } from "./float-passes.ts";
import { makeTaps, PIL_BITS, quantise, torchBits, type Kernel, type Line } from "./kernels.ts";

export type Arithmetic = "pil-u8" | "torch-u8" | "float";

/** What to make of a picture. `box` is cropped first: pixels outside it are never seen. */
export interface ResampleOptions {
  readonly width: number;
  readonly height: number;
  readonly box?: Box;
  readonly kernel: Kernel;
  /** Default `pil-u8`: bytes after each pass, 22-bit weights. */
  readonly arithmetic?: Arithmetic;
  /** Default true. False is torch's `interpolate` (cubic a = -0.75) and not for `pil-u8`. */
  readonly antialias?: boolean;
}

/**
 * Resizes the box of a picture: out[y, x] = sum over taps of v[y, i] * (sum over taps of h[x, j] * in[i, j]), columns first.
 *
 * `pil-u8` is bit-equal to `Image.crop(box).resize((width, height), kernel)`; `torch-u8` follows torchvision on uint8 tensors;
 * `float` follows torchvision on float tensors and gives values of about 0..1 (cubic overshoot is kept).
 * Throws ShapeError for a bad box or size, ConfigError for a kernel that the arithmetic does not have.
 */
export function resample(image: RgbImage, options: ResampleOptions & { readonly arithmetic: "float" }): FloatImage;
export function resample(image: RgbImage, options: ResampleOptions & { readonly arithmetic?: "pil-u8" | "torch-u8" }): RgbImage;
export function resample(image: RgbImage, options: ResampleOptions): RgbImage | FloatImage {
  const { width, height, kernel, arithmetic = "pil-u8", antialias = true } = options;
  const box = options.box ?? { left: 0, top: 0, width: image.width, height: image.height };
  checkImage(image);
  checkBox(box, image);
  checkSize(width, height);
  if (arithmetic === "float") return resampleFloat(image, { width, height, box, kernel, antialias });
  const data = new Uint8Array(width * height * 3);
  if (arithmetic === "torch-u8") resampleTorchInto(image, data, { width, height, box, kernel, antialias });
  else {
    if (!antialias && kernel !== "nearest")
      throw new ConfigError(
        `Cannot resample with "pil-u8" without antialias: PIL always antialiases; use arithmetic "torch-u8" or "float"`,
      );
    resampleInto(image, data, { width, height, box, kernel });
  }
  return { width, height, data };
}

interface Job {
  readonly width: number;
  readonly height: number;
  readonly box: Box;
  readonly kernel: Kernel;
}

/** The hot path of `pil-u8`: writes HWC bytes to the start of `out`; arguments are trusted. */
export function resampleInto(image: RgbImage, out: Uint8Array, job: Job): void {
  const { width, height, box, kernel } = job;
  if (kernel === "nearest") return nearestInto(image, out, { ...job, steps: "added" });
  const across = line(box.width, width);
  const down = line(box.height, height);
  const h = across === undefined ? undefined : pilTaps(across, kernel);
  const v = down === undefined ? undefined : pilTaps(down, kernel);
  // Pillow 13 takes the columns first when they shrink by more than twice what the rows do; bytes between the passes make it show.
  const order = box.height - height > 2 * Math.max(0, box.width - width) ? "columns-first" : "rows-first";
  twoPass(image, out, { width, height, box, h, v, order });
}

function resampleTorchInto(image: RgbImage, out: Uint8Array, job: Job & { readonly antialias: boolean }): void {
  const { width, height, box, kernel, antialias } = job;
  if (kernel === "nearest") return nearestInto(image, out, { ...job, steps: "scaled" });
  const h = torchTaps(line(box.width, width), kernel, antialias);
  const v = torchTaps(line(box.height, height), kernel, antialias);
  twoPass(image, out, { width, height, box, h, v, order: "rows-first" });
}

function checkSize(width: number, height: number): void {
  checkBox({ left: 0, top: 0, width, height }, { width: 2 ** 20, height: 2 ** 20 });
}

function pilTaps(of: Line, kernel: Exclude<Kernel, "nearest">): IntTaps {
  const taps = makeTaps(of, kernel);
  return { ...taps, weights: quantise(taps.weights, PIL_BITS), bits: PIL_BITS };
}

function torchTaps(of: Line | undefined, kernel: Exclude<Kernel, "nearest">, antialias: boolean): IntTaps | undefined {
  const taps = floatTaps(of, kernel, antialias);
  if (taps === undefined) return undefined;
  const bits = torchBits(taps.weights);
  return { ...taps, weights: quantise(taps.weights, bits), bits };
}

interface Passes {
  readonly width: number;
  readonly height: number;
  readonly box: Box;
  readonly h: IntTaps | undefined;
  readonly v: IntTaps | undefined;
  readonly order: "rows-first" | "columns-first";
}

let scratch = new Uint8Array(1 << 20);

/** Bytes between the passes; one buffer for all calls, grown when needed. */
function scratchOf(bytes: number, arena: Arena | undefined): Uint8Array {
  const inArena = arena?.take("middle", bytes);
  if (inArena !== undefined) return inArena;
  if (scratch.length < bytes) scratch = new Uint8Array(bytes + (bytes >> 1));
  return scratch;
}

function twoPass(image: RgbImage, out: Uint8Array, { width, height, box, h, v, order }: Passes): void {
  const rowBytes = image.width * 3;
  const arena = arenaOf(out);
  const source = { data: sourceIn(image.data, arena), origin: box.top * rowBytes + box.left * 3, rowBytes };
  if (v === undefined) return rowsPass(source, out, { width, rows: box.height, taps: h });
  if (h === undefined) return columnsPass(source, out, { outRowBytes: width * 3, taps: v });
  if (order === "rows-first") {
    const middle = scratchOf(box.height * width * 3, arena);
    rowsPass(source, middle, { width, rows: box.height, taps: h });
    columnsPass({ data: middle, origin: 0, rowBytes: width * 3 }, out, { outRowBytes: width * 3, taps: v });
  } else {
    const middle = scratchOf(height * box.width * 3, arena);
    columnsPass(source, middle, { outRowBytes: box.width * 3, taps: v });
    rowsPass({ data: middle, origin: 0, rowBytes: box.width * 3 }, out, { width, rows: height, taps: h });
  }
}

function rowsPass(
  source: Source,
  out: Uint8Array,
  { width, rows, taps }: { readonly width: number; readonly rows: number; readonly taps: IntTaps | undefined },
): void {
  if (taps !== undefined) return acrossPass(source, out, { width, rows, taps });
  for (let y = 0; y < rows; y++) {
    const at = source.origin + y * source.rowBytes;
    out.set(source.data.subarray(at, at + width * 3), y * width * 3);
  }
}

/** Stores clamp to 0..255, so the passes need no comparison of their own. */
function clamped(bytes: Uint8Array): Uint8ClampedArray {
  return new Uint8ClampedArray(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Each row to `width` pixels, two rows at a time so that a weight is read once for six products. */
function acrossPass(source: Source, outBytes: Uint8Array, job: AcrossJob): void {
  const done = acrossRows(source, outBytes, job);
  const { width, rows, taps } = job;
  const { data, rowBytes } = source;
  const origin = source.origin + done * rowBytes;
  plainAcross({ data, origin, rowBytes }, outBytes.subarray(done * width * 3), { width, rows: rows - done, taps });
}

/** The same without SIMD. */
function plainAcross({ data, origin, rowBytes }: Source, outBytes: Uint8Array, { width, rows, taps }: AcrossJob): void {
  const { starts, counts, weights, stride, bits } = taps;
  const out = clamped(outBytes);
  const half = 1 << (bits - 1);
  const pairs = rows >> 1;
  for (let pair = 0; pair < pairs; pair++) {
    const row = origin + pair * 2 * rowBytes;
    let o = pair * 2 * width * 3;
    const next = width * 3;
    for (let x = 0; x < width; x++) {
      let p = row + starts[x]! * 3; // x < width, the length of the table; all indices below follow from it
      let k = x * stride;
      const end = k + counts[x]!;
      let r0 = half, g0 = half, b0 = half, r1 = half, g1 = half, b1 = half; // prettier-ignore
      for (; k < end; k++) {
        const w = weights[k]!;
        const q = p + rowBytes;
        r0 = (r0 + Math.imul(data[p]!, w)) | 0;
        g0 = (g0 + Math.imul(data[p + 1]!, w)) | 0;
        b0 = (b0 + Math.imul(data[p + 2]!, w)) | 0;
        r1 = (r1 + Math.imul(data[q]!, w)) | 0;
        g1 = (g1 + Math.imul(data[q + 1]!, w)) | 0;
        b1 = (b1 + Math.imul(data[q + 2]!, w)) | 0;
        p += 3;
      }
      out[o] = r0 >> bits;
      out[o + 1] = g0 >> bits;
      out[o + 2] = b0 >> bits;
      out[o + next] = r1 >> bits;
      out[o + next + 1] = g1 >> bits;
      out[o + next + 2] = b1 >> bits;
      o += 3;
    }
  }
  if (rows & 1) lastRow(data, out, { from: origin + (rows - 1) * rowBytes, to: (rows - 1) * width * 3, taps });
}

interface RowJob {
  readonly from: number;
  readonly to: number;
  readonly taps: IntTaps;
}

/** The row that is left over when rows go in pairs. */
function lastRow(data: Uint8Array, out: Uint8ClampedArray, { from, to, taps }: RowJob): void {
  const { starts, counts, weights, stride, bits } = taps;
  for (let x = 0; x < starts.length; x++)
    for (let c = 0; c < 3; c++) {
      let sum = 1 << (bits - 1);
      const p = from + starts[x]! * 3 + c;
      for (let t = 0; t < counts[x]!; t++) sum = (sum + Math.imul(data[p + t * 3]!, weights[x * stride + t]!)) | 0;
      out[to + x * 3 + c] = sum >> bits;
    }
}

/** Columns to as many rows as the table has, six bytes at a time so that a weight is read once for six products. */
function columnsPass(source: Source, outBytes: Uint8Array, job: ColumnsJob): void {
  if (!columnsByKernel(source, outBytes, job)) plainColumns(source, outBytes, job);
}

/** The same without SIMD. */
function plainColumns({ data, origin, rowBytes }: Source, outBytes: Uint8Array, { outRowBytes, taps }: ColumnsJob): void {
  const { starts, counts, weights, stride, bits } = taps;
  const out = clamped(outBytes);
  const half = 1 << (bits - 1);
  for (let y = 0; y < starts.length; y++) {
    const from = origin + starts[y]! * rowBytes; // y < starts.length; all indices below follow from it
    const k0 = y * stride;
    const end = k0 + counts[y]!;
    let o = y * outRowBytes;
    let x = 0;
    for (; x + 6 <= outRowBytes; x += 6) {
      let p = from + x;
      let a = half, b = half, c = half, d = half, e = half, f = half; // prettier-ignore
      for (let k = k0; k < end; k++) {
        const w = weights[k]!;
        a = (a + Math.imul(data[p]!, w)) | 0;
        b = (b + Math.imul(data[p + 1]!, w)) | 0;
        c = (c + Math.imul(data[p + 2]!, w)) | 0;
        d = (d + Math.imul(data[p + 3]!, w)) | 0;
        e = (e + Math.imul(data[p + 4]!, w)) | 0;
        f = (f + Math.imul(data[p + 5]!, w)) | 0;
        p += rowBytes;
      }
      out[o] = a >> bits;
      out[o + 1] = b >> bits;
      out[o + 2] = c >> bits;
      out[o + 3] = d >> bits;
      out[o + 4] = e >> bits;
      out[o + 5] = f >> bits;
      o += 6;
    }
    for (; x < outRowBytes; x++) {
      let sum = half;
      for (let k = k0, p = from + x; k < end; k++, p += rowBytes) sum = (sum + Math.imul(data[p]!, weights[k]!)) | 0;
      out[o++] = sum >> bits;
    }
  }
}

/** Source positions of nearest: PIL adds steps from the first centre ("added"), torch scales the index ("scaled"). */
function nearestIndex({ length, outLength }: Line, steps: "added" | "scaled"): Int32Array {
  const scale = length / outLength;
  const out = new Int32Array(outLength);
  let at = scale * 0.5;
  for (let i = 0; i < outLength; i++) {
    out[i] = Math.min(length - 1, Math.trunc(steps === "added" ? at : i * scale));
    at += scale;
  }
  return out;
}

function nearestInto(image: RgbImage, out: Uint8Array, job: Job & { readonly steps: "added" | "scaled" }): void {
  const { width, height, box, steps } = job;
  const xs = nearestIndex({ length: box.width, outLength: width }, steps);
  const ys = nearestIndex({ length: box.height, outLength: height }, steps);
  let o = 0;
  for (const y of ys)
    for (const x of xs) {
      const p = ((box.top + y) * image.width + box.left + x) * 3;
      for (let c = 0; c < 3; c++) out[o++] = image.data[p + c]!; // inside the checked box
    }
}

function resampleFloat(image: RgbImage, job: Job & { readonly antialias: boolean }): FloatImage {
  const { width, height, box, kernel, antialias } = job;
  const source = new Float32Array(box.width * box.height * 3);
  for (let y = 0, o = 0; y < box.height; y++)
    for (let x = 0, p = ((box.top + y) * image.width + box.left) * 3; x < box.width * 3; x++) source[o++] = image.data[p + x]! / 255;
  if (kernel === "nearest") {
    const bytes = new Uint8Array(width * height * 3);
    nearestInto(image, bytes, { ...job, steps: "scaled" });
    return { width, height, data: Float32Array.from(bytes, (v) => v / 255) };
  }
  const h = floatTaps(line(box.width, width), kernel, antialias);
  const v = floatTaps(line(box.height, height), kernel, antialias);
  const middle = h === undefined ? source : floatPass(source, h, { outer: box.height, length: box.width, inner: 3 });
  const data = v === undefined ? middle : floatPass(middle, v, { outer: 1, length: box.height, inner: width * 3 });
  return { width, height, data };
}
