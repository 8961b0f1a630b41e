/** @file Small operations on RGB pictures that the views share: enlarge, blend, lay out in a sheet. Pure, no I/O. */
import { ShapeError } from "../core/index.ts";

/** HWC, 3 channels, 8 bits; the same shape as `RgbImage` of the images room. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Rows and columns of a patch grid. */
export interface Grid {
  readonly rows: number;
  readonly cols: number;
}

export type Smoothing = "nearest" | "bilinear";

/** A grid of float values, `channels` a cell, row-major. */
export interface FloatMap extends Grid {
  readonly channels: number;
  readonly data: Float32Array | Float64Array;
}

/** Where target pixel `i` of `to` lies among `from` cells: two neighbours and the weight of the second. */
function tap(
  i: number,
  span: { readonly from: number; readonly to: number; readonly smoothing: Smoothing },
): readonly [a: number, b: number, t: number] {
  const { from, to, smoothing } = span;
  if (smoothing === "nearest") {
    const a = Math.min(from - 1, Math.floor(((i + 0.5) * from) / to));
    return [a, a, 0];
  }
  const x = Math.min(from - 1, Math.max(0, ((i + 0.5) * from) / to - 0.5)); // pixel centres, edges held
  const a = Math.floor(x);
  return [a, Math.min(from - 1, a + 1), x - a];
}

/** Resamples a float map to `height` × `width`: by nearest cell, or bilinear between cell centres. */
export function resizeMap(
  map: FloatMap,
  options: { readonly width: number; readonly height: number; readonly smoothing?: Smoothing },
): FloatMap {
  const { width, height, smoothing = "nearest" } = options;
  const { rows, cols, channels, data } = map;
  if (data.length !== rows * cols * channels)
    throw new ShapeError(
      `Cannot resize a map of ${rows} × ${cols} × ${channels}: it has ${data.length} values; give rows · cols · channels`,
    );
  const out = new Float32Array(width * height * channels);
  const xs = Array.from({ length: width }, (_, x) => tap(x, { from: cols, to: width, smoothing }));
  let o = 0;
  for (let y = 0; y < height; y++) {
    const [y0, y1, ty] = tap(y, { from: rows, to: height, smoothing });
    for (const [x0, x1, tx] of xs)
      for (let c = 0; c < channels; c++) {
        const at = (r: number, q: number): number => data[(r * cols + q) * channels + c]!; // r < rows, q < cols
        const top = at(y0, x0) * (1 - tx) + at(y0, x1) * tx;
        const bottom = at(y1, x0) * (1 - tx) + at(y1, x1) * tx;
        out[o++] = top * (1 - ty) + bottom * ty;
      }
  }
  return { rows: height, cols: width, channels, data: out };
}

/** Values 0..1 in three channels -> 8-bit picture. */
export function toRgb(map: FloatMap): RgbImage {
  if (map.channels !== 3) throw new ShapeError(`Cannot make an RGB picture: the map has ${map.channels} channels; give 3`);
  const data = new Uint8Array(map.data.length);
  for (let i = 0; i < data.length; i++) data[i] = Math.round(255 * Math.min(1, Math.max(0, map.data[i]!))); // same length
  return { width: map.cols, height: map.rows, data };
}

/** Resamples a picture for viewing (not for training: no antialias). */
export function resizePicture(
  image: RgbImage,
  options: { readonly width: number; readonly height: number; readonly smoothing?: Smoothing },
): RgbImage {
  if (image.width === options.width && image.height === options.height) return image;
  const map = { rows: image.height, cols: image.width, channels: 3, data: Float32Array.from(image.data, (v) => v / 255) };
  return toRgb(resizeMap(map, options));
}

/** `(1 - opacity) · base + opacity · over`, pixel by pixel; `over` has the size of `base`. */
export function blend(base: RgbImage, over: RgbImage, options: { readonly opacity: number }): RgbImage {
  if (base.width !== over.width || base.height !== over.height)
    throw new ShapeError(`Cannot blend ${over.width} × ${over.height} over ${base.width} × ${base.height}: sizes differ; resize one first`);
  const a = options.opacity;
  const data = Uint8Array.from(base.data, (v, i) => Math.round((1 - a) * v + a * over.data[i]!)); // same size
  return { width: base.width, height: base.height, data };
}

/** A normalised picture as the network sees it, `[3, height, width]`, back to bytes: x · std + mean. */
export function fromPlanes(
  planes: Float32Array,
  options: { readonly width: number; readonly height: number; readonly mean: readonly number[]; readonly std: readonly number[] },
): RgbImage {
  const { width, height, mean, std } = options;
  const area = width * height;
  if (planes.length !== 3 * area)
    throw new ShapeError(`Cannot show a picture of ${width} × ${height}: there are ${planes.length} values; give [3, height, width]`);
  const data = new Uint8Array(3 * area);
  for (let i = 0; i < area; i++)
    for (let c = 0; c < 3; c++) {
      const x = planes[c * area + i]! * (std[c] ?? 1) + (mean[c] ?? 0); // c · area + i < 3 · area
      data[3 * i + c] = Math.round(255 * Math.min(1, Math.max(0, x)));
    }
  return { width, height, data };
}
