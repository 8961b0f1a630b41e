/** @file Sinkhorn–Knopp targets: each prototype gets equal mass, each row sums to one. DINOv2 spec §2.5. */
import { div, dot, exp, mul, reduceMax, sub, type Tensor } from "../engine/trace/index.ts";

/**
 * Teacher logits `[rows, k]`, temperature a scalar -> targets `[rows, k]`.
 * Only the row and column scalings are iterated: Q = diag(v) E diag(u), E = exp((x − max x)/τ);
 *   u_k = 1 / (K Σ_b E_bk v_b), v_b = 1 / (B Σ_k E_bk u_k); result B · Q.
 * The maximum cancels; it only keeps exp from overflowing.
 */
export function sinkhornTargets(logits: Tensor, temp: Tensor, { iterations = 3 }: { readonly iterations?: number } = {}): Tensor {
  const [rows = 1, k = 1] = logits.shape;
  const e = exp(div(sub(logits, reduceMax(logits, [0, 1], true)), temp));
  let u = div(1 / k, dot(e, ones(e, rows), { transA: true })); // [k, 1]
  let v = div(1 / rows, dot(e, u)); // [rows, 1]
  for (let i = 1; i < iterations; i++) {
    u = div(1 / k, dot(e, v, { transA: true }));
    v = div(1 / rows, dot(e, u));
  }
  return mul(mul(e, mul(v, rows)), transposeColumn(u, k));
}

function ones(like: Tensor, rows: number): Tensor {
  return like.builder.op("constant", [], {
    dtype: like.dtype,
    shape: [rows, 1],
    data: new Float32Array(rows).fill(1),
  });
}

function transposeColumn(column: Tensor, k: number): Tensor {
  return column.builder.op("reshape", [column], { shape: [1, k] });
}
