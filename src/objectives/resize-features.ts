/** @file Feature maps at another grid: how a Gram teacher that sees larger crops meets its student. DINOv3 spec §3.6. */
import { broadcast, constant, dims, dot, reshape, type Tensor } from "../engine/trace/index.ts";
import { ShapeError } from "../core/index.ts";
import { type Grid, interpolationMatrix } from "../nn/index.ts";

export interface ResizeFeaturesOptions {
  readonly from: Grid;
  readonly to: Grid;
}

/**
 * Patches `[n, from.rows · from.columns, d]`, row-major -> `[n, to.rows · to.columns, d]` by bicubic interpolation: a = −0.75, half-pixel
 * centres, clamped at the edges, no antialias. Rows first, then columns, each a product with a small matrix:
 *   y[n] = (W_columns (W_rows x[n])ᵀ)ᵀ
 * Throws ShapeError where the patches are not those of the grid.
 */
export function resizeFeatures(map: Tensor, { from, to }: ResizeFeaturesOptions): Tensor {
  const { n, p, d } = dims(map, "n p d");
  if (p !== from.rows * from.columns)
    throw new ShapeError(`Cannot resize ${map.toString()}: it holds ${p} patches, not ${showGrid(from)}; name the grid of the patches`);
  if (from.rows === to.rows && from.columns === to.columns) return map;
  const tall = along(reshape(map, [n, from.rows, from.columns * d]), from.rows, to.rows); // [n, rows', columns·d]
  const wide = along(reshape(tall, [n * to.rows, from.columns, d]), from.columns, to.columns); // [n·rows', columns', d]
  return reshape(wide, [n, to.rows * to.columns, d]);
}

/** Interpolates the middle axis: `[batch, from, width]` -> `[batch, to, width]`. */
function along(x: Tensor, from: number, to: number): Tensor {
  if (from === to) return x;
  const { batch } = dims(x, "batch _ width");
  const weights = interpolationMatrix({ rows: from, columns: 1 }, { rows: to, columns: 1 }, "size");
  return dot(broadcast(constant(x.builder, [1, to, from], weights), [batch, to, from]), x);
}

function showGrid({ rows, columns }: Grid): string {
  return `${rows} × ${columns}`;
}
