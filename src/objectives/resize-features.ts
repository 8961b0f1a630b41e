/** @file Feature maps at another grid: how a Gram teacher of larger crops meets its student (DINOv3 spec §3.6), and a student its teacher. */
import { broadcast, constant, dims, dot, reshape, type Tensor } from "../engine/trace/index.ts";
import { ShapeError } from "../core/index.ts";
import { type Grid, interpolationMatrix } from "../nn/index.ts";

export interface ResizeFeaturesOptions {
  readonly from: Grid;
  readonly to: Grid;
  /** `bicubic` (a = −0.75, clamped at the edges, no antialias) by default; `bilinear` is antialiased where the map shrinks. */
  readonly kernel?: "bicubic" | "bilinear";
}

/**
 * Patches `[n, from.rows · from.columns, d]`, row-major -> `[n, to.rows · to.columns, d]`, half-pixel centres. Rows first, then columns, each
 * a product with a small matrix:
 *   y[n] = (W_columns (W_rows x[n])ᵀ)ᵀ
 * The rows of both sum to 1; those of `bilinear` are nowhere negative, and it leaves no patch out. Throws ShapeError where the patches are not those of the grid.
 */
export function resizeFeatures(map: Tensor, { from, to, kernel = "bicubic" }: ResizeFeaturesOptions): Tensor {
  const { n, p, d } = dims(map, "n p d");
  if (p !== from.rows * from.columns)
    throw new ShapeError(`Cannot resize ${map.toString()}: it holds ${p} patches, not ${showGrid(from)}; name the grid of the patches`);
  if (from.rows === to.rows && from.columns === to.columns) return map;
  const tall = along(reshape(map, [n, from.rows, from.columns * d]), to.rows, kernel); // [n, rows', columns·d]
  const wide = along(reshape(tall, [n * to.rows, from.columns, d]), to.columns, kernel); // [n·rows', columns', d]
  return reshape(wide, [n, to.rows * to.columns, d]);
}

/** Interpolates the middle axis: `[batch, from, width]` -> `[batch, to, width]`. */
function along(x: Tensor, to: number, kernel: "bicubic" | "bilinear"): Tensor {
  const { batch, from } = dims(x, "batch from width");
  if (from === to) return x;
  const weights =
    kernel === "bicubic" ? interpolationMatrix({ rows: from, columns: 1 }, { rows: to, columns: 1 }, "size") : triangles(from, to);
  return dot(broadcast(constant(x.builder, [1, to, from], weights), [batch, to, from]), x);
}

/** Weights `[to, from]` of bilinear interpolation: a triangle of half-width max(from / to, 1) around each centre, cut at the edges, sum 1. */
function triangles(from: number, to: number): Float32Array {
  const ratio = from / to;
  const reach = Math.max(1, ratio);
  const rows = Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * ratio;
    const row = Array.from({ length: from }, (__, k) => Math.max(0, 1 - Math.abs(k + 0.5 - centre) / reach));
    const total = row.reduce((a, b) => a + b, 0);
    return row.map((w) => w / total);
  });
  return Float32Array.from(rows.flat());
}

function showGrid({ rows, columns }: Grid): string {
  return `${rows} × ${columns}`;
}
