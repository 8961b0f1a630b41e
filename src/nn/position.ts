/** @file Position embeddings at other sizes: bicubic interpolation as one matrix, so that it differentiates and lowers as a product. */
import { constant, concat, dot, reshape, slice, type Tensor } from "../engine/trace/index.ts";

/** Where published weights differ although they are the same: see `golden/README.md`. */
export type PosInterpolation = "meta-offset" | "size" | "size-antialias";

export interface Grid {
  readonly rows: number;
  readonly columns: number;
}

/** Keys' cubic kernel. */
function cubic(x: number, a: number): number {
  const t = Math.abs(x);
  if (t < 1) return (a + 2) * t ** 3 - (a + 3) * t ** 2 + 1;
  return t < 2 ? a * (t ** 3 - 5 * t ** 2 + 8 * t - 4) : 0;
}

/** Weights `[to, from]` of 1-D bicubic interpolation, half-pixel centres, clamped at the edges, a = −0.75, not renormalised. */
function plainWeights(from: number, to: number, scale: number): number[][] {
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) / scale - 0.5;
    const low = Math.floor(centre);
    const row = Array<number>(from).fill(0);
    for (let k = low - 1; k <= low + 2; k++) {
      const at = Math.min(from - 1, Math.max(0, k));
      row[at] = (row[at] ?? 0) + cubic(centre - k, -0.75);
    }
    return row;
  });
}

/** Weights of antialiased bicubic resizing: a = −0.5, support widened when shrinking, renormalised. */
function antialiasWeights(from: number, to: number): number[][] {
  const ratio = from / to;
  const widen = Math.max(1, ratio);
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * ratio;
    const row = Array.from({ length: from }, (__, k) =>
      Math.abs(k + 0.5 - centre) < 2 * widen ? cubic((k + 0.5 - centre) / widen, -0.5) : 0,
    );
    const total = row.reduce((a, b) => a + b, 0);
    return row.map((w) => w / total);
  });
}

function axisWeights(from: number, to: number, how: PosInterpolation): number[][] {
  if (how === "size-antialias") return antialiasWeights(from, to);
  return plainWeights(from, to, how === "meta-offset" ? (to + 0.1) / from : to / from);
}

/** The matrix `[to.rows·to.columns, from.rows·from.columns]` that interpolates a grid (a number: a square one); row-major on both sides. */
export function interpolationMatrix(from: number | Grid, to: Grid, how: PosInterpolation): Float32Array {
  const { rows, columns } = typeof from === "number" ? { rows: from, columns: from } : from;
  const [y, x] = [axisWeights(rows, to.rows, how), axisWeights(columns, to.columns, how)];
  const out = new Float32Array(to.rows * to.columns * rows * columns);
  let at = 0;
  for (const wy of y) for (const wx of x) for (const a of wy) for (const b of wx) out[at++] = a * b;
  return out;
}

/** `pos_embed` `[1, 1 + from², d]` at another grid: `[1, 1 + rows·columns, d]`. The class position stays. */
export function interpolatePositions(pos: Tensor, to: Grid, how: PosInterpolation): Tensor {
  const [, n = 1, d = 1] = pos.shape;
  const from = Math.round(Math.sqrt(n - 1));
  if (to.rows === from && to.columns === from) return pos;
  const count = to.rows * to.columns;
  const matrix = constant(pos.builder, [count, from * from], interpolationMatrix(from, to, how));
  const patches = dot(matrix, reshape(slice(pos, 1, [1, n]), [from * from, d]));
  return concat([slice(pos, 1, [0, 1]), reshape(patches, [1, count, d])], 1);
}
