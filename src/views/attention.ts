/** @file Where the class token looks: attention rows turned into heat maps over the image, by head and on average. */
import { ShapeError } from "../core/index.ts";
import { paintMap, type ColormapName } from "./colormap.ts";
import { blend, resizeMap, resizePicture, type Grid, type RgbImage, type Smoothing } from "./picture.ts";

/** Class-token rows without prefix tokens: attention [heads, n, n], n = prefix + p -> [heads, p]. Prefix = class token and registers. */
export function classAttention(
  attention: Float32Array,
  options: { readonly heads: number; readonly tokens: number; readonly prefix?: number },
): Float32Array {
  const { heads, tokens, prefix = 1 } = options;
  if (attention.length !== heads * tokens * tokens)
    throw new ShapeError(
      `Cannot read attention of ${heads} heads over ${tokens} tokens: it has ${attention.length} values; give [heads, tokens, tokens]`,
    );
  const p = tokens - prefix;
  const out = new Float32Array(heads * p);
  for (let h = 0; h < heads; h++) out.set(attention.subarray(h * tokens * tokens + prefix, h * tokens * tokens + tokens), h * p);
  return out;
}

/**
 * Keeps the strongest patches that hold the share `mass` of the attention (DINO's attention visualisation): ascending order, normalised
 * to sum 1, kept where the cumulative sum exceeds 1 - mass. Returns 1 = kept, 0 = not.
 */
export function keepAttentionMass(row: Float32Array, mass: number): Uint8Array {
  const order = Array.from(row.keys()).sort((a, b) => row[a]! - row[b]! || a - b); // keys of row
  const sum = row.reduce((s, v) => s + v, 0);
  const kept = new Uint8Array(row.length);
  let cumulative = 0;
  for (const i of order) {
    cumulative += row[i]! / sum; // i is a key of row
    if (cumulative > 1 - mass) kept[i] = 1;
  }
  return kept;
}

export interface AttentionPictureOptions {
  readonly heads: number;
  readonly grid: Grid;
  /** The image the maps lie over; without it the heat map stands alone. */
  readonly image?: RgbImage;
  /** Output size; default the image's size, else 16 pixels a patch. */
  readonly widthPx?: number;
  readonly heightPx?: number;
  /** Show only the patches that hold this share of the attention (0..1]. */
  readonly keepMass?: number;
  readonly colormap?: ColormapName;
  /** Weight of the heat map over the image. */
  readonly opacity?: number;
  readonly smoothing?: Smoothing;
}

export interface AttentionPictures {
  readonly mean: RgbImage;
  readonly heads: readonly RgbImage[];
}

function meanOverHeads(attention: Float32Array, heads: number): Float32Array {
  const p = attention.length / heads;
  return Float32Array.from({ length: p }, (_, i) => {
    let s = 0;
    for (let h = 0; h < heads; h++) s += attention[h * p + i]!; // h < heads, i < p
    return s / heads;
  });
}

/** Stretches a row to 0..1 between its least and greatest value; a flat row becomes 0. */
function stretch(row: Float32Array): Float32Array {
  const lo = row.reduce((a, b) => Math.min(a, b), Infinity);
  const hi = row.reduce((a, b) => Math.max(a, b), -Infinity);
  return row.map((v) => (hi > lo ? (v - lo) / (hi - lo) : 0));
}

function drawRow(row: Float32Array, options: AttentionPictureOptions): RgbImage {
  const { grid, image, keepMass, colormap = "viridis", opacity = 0.65, smoothing = "nearest" } = options;
  const width = options.widthPx ?? image?.width ?? grid.cols * 16;
  const height = options.heightPx ?? image?.height ?? grid.rows * 16;
  const kept = keepMass === undefined ? undefined : keepAttentionMass(row, keepMass);
  const data = stretch(row).map((v, i) => (kept === undefined || kept[i] === 1 ? v : 0));
  const heat = paintMap(resizeMap({ ...grid, channels: 1, data }, { width, height, smoothing }), colormap);
  return image === undefined ? heat : blend(resizePicture(image, { width, height, smoothing: "bilinear" }), heat, { opacity });
}

/** Heat maps of attention [heads, p] on `grid`: the mean over heads and one a head. Each is stretched to its own range. */
export function attentionPictures(attention: Float32Array, options: AttentionPictureOptions): AttentionPictures {
  const { heads, grid } = options;
  const p = grid.rows * grid.cols;
  if (attention.length !== heads * p)
    throw new ShapeError(
      `Cannot draw attention of ${heads} heads on ${grid.rows} × ${grid.cols}: it has ${attention.length} values; give [heads, patches]`,
    );
  const each = Array.from({ length: heads }, (_, h) => drawRow(attention.slice(h * p, (h + 1) * p), options));
  return { mean: drawRow(meanOverHeads(attention, heads), options), heads: each };
}
