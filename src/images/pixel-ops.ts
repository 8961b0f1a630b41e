/** @file Flip, solarise, normalise: operations on single pixels, on HWC bytes. */
import { ShapeError } from "../core/index.ts";
import { checkImage, makeImage, type FloatImage, type RgbImage } from "./image.ts";

/** Left and right exchanged: out[y, x] = in[y, width - 1 - x]. */
export function flip(image: RgbImage): RgbImage {
  checkImage(image);
  const { width, height, data } = image;
  const out = makeImage(width, height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const from = (y * width + x) * 3;
      const to = (y * width + width - 1 - x) * 3;
      for (let c = 0; c < 3; c++) out.data[to + c] = data[from + c]!; // inside the image
    }
  return out;
}

/** Values at or above the threshold inverted (PIL `ImageOps.solarize`). */
export function solarise(image: RgbImage, threshold = 128): RgbImage {
  checkImage(image);
  return { ...image, data: image.data.map((v) => (v >= threshold ? 255 - v : v)) };
}

export type Triple = readonly [number, number, number];

/** Mean and deviation of ImageNet, the usual normalisation of the family. */
export const IMAGENET_MEAN: Triple = [0.485, 0.456, 0.406];
export const IMAGENET_STD: Triple = [0.229, 0.224, 0.225];

/** Throws ShapeError unless there are three means and three deviations. */
function checkTriples(mean: readonly number[], std: readonly number[]): void {
  if (mean.length !== 3 || std.length !== 3)
    throw new ShapeError(
      `Cannot normalise image: an RGB picture has three channels, there are ${mean.length} means and ${std.length} deviations; give three of each`,
    );
}

/** For each channel the 256 normalised values: (v / 255 - mean) / std, in float32 steps as torch does. Throws ShapeError unless there are three. */
export function makeNormaliseTable(mean: readonly number[], std: readonly number[]): Float32Array {
  checkTriples(mean, std);
  const table = new Float32Array(768);
  for (let c = 0; c < 3; c++) {
    const m = Math.fround(mean[c]!); // c < 3
    const s = Math.fround(std[c]!);
    for (let v = 0; v < 256; v++) table[c * 256 + v] = Math.fround(Math.fround(v / 255) - m) / s;
  }
  return table;
}

export interface NormaliseOptions {
  /** Three numbers. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** Where the picture starts in `out`. */
  readonly offset?: number;
}

/** HWC bytes or floats of 0..1 to CHW float32: (v - mean) / std. Throws ShapeError when `out` is too short. */
export function normaliseInto(image: RgbImage | FloatImage, out: Float32Array, { mean, std, offset = 0 }: NormaliseOptions): void {
  checkImage(image);
  checkTriples(mean, std);
  const plane = image.width * image.height;
  if (offset < 0 || offset + plane * 3 > out.length)
    throw new ShapeError(`Cannot normalise image: ${plane * 3} values at ${offset} do not fit into ${out.length}; give a larger buffer`);
  if (image.data instanceof Uint8Array) return writePlanes(image.data, out, { plane, offset, table: makeNormaliseTable(mean, std) });
  for (let c = 0; c < 3; c++) for (let i = 0; i < plane; i++) out[offset + c * plane + i] = (image.data[i * 3 + c]! - mean[c]!) / std[c]!; // c < 3, i < plane
}

/** A picture as CHW float32 of its own. */
export function normalise(
  image: RgbImage | FloatImage,
  options: { readonly mean: readonly number[]; readonly std: readonly number[] },
): Float32Array {
  const out = new Float32Array(image.width * image.height * 3);
  normaliseInto(image, out, options);
  return out;
}

function writePlanes(
  data: Uint8Array,
  out: Float32Array,
  job: { readonly plane: number; readonly offset: number; readonly table: Float32Array },
): void {
  const { plane, offset, table } = job;
  for (let i = 0, p = 0; i < plane; i++, p += 3) {
    out[offset + i] = table[data[p]!]!; // bytes index tables of 256
    out[offset + plane + i] = table[256 + data[p + 1]!]!;
    out[offset + 2 * plane + i] = table[512 + data[p + 2]!]!;
  }
}
