/** @file Centring and sharpening of the teacher: what keeps DINO from collapse. DINO spec §1.5, DINOv2 spec §2.5. */
import {
  add,
  dims,
  div,
  dot,
  log,
  maximum,
  minimum,
  mul,
  reduceMax,
  reduceMean,
  reduceSum,
  reshape,
  softmax,
  sub,
  type Tensor,
} from "../engine/trace/index.ts";
import { atLeastOne, countRows, type RowOptions } from "./rows.ts";

/**
 * `softmax((t − c) / τ)`: logits `[rows, k]`, centre `[1, k]`, temperature a scalar tensor -> probabilities `[rows, k]`.
 * With `valid` `[rows]` of 0 and 1 the rows of padding are zeros.
 */
export function centeredTargets(logits: Tensor, center: Tensor, temp: Tensor, { valid }: Pick<RowOptions, "valid"> = {}): Tensor {
  const { rows, k } = dims(logits, "rows k");
  dims(center, `1 ${k}`);
  const targets = softmax(div(sub(logits, center), temp));
  if (valid === undefined) return targets;
  dims(valid, `${rows}`);
  return mul(targets, reshape(valid, [rows, 1]));
}

/**
 * Entropy of each row of softmax(z) `[rows, k]` -> `[rows, 1]`, given p = softmax(z); no logarithm over the matrix:
 *   −Σ_k p_k ln p_k = ln Σ_k e^{z_k} − Σ_k p_k z_k, and ln Σ e^z = max z − ln max p (finite for rows of zeros, too).
 */
export function softmaxEntropies(z: Tensor, p: Tensor): Tensor {
  const logSum = sub(reduceMax(z, [1], true), log(maximum(reduceMax(p, [1], true), 1e-30)));
  return sub(logSum, reduceSum(mul(p, z), [1], true));
}

/**
 * `c ← m c + (1 − m) mean of the raw teacher logits`: the centre of the next step `[1, k]`.
 * With row options the mean is that of the rows that count, over all processes (iBOT's centre: masked patches only); with none of
 * them the centre stays.
 */
export function nextCenter(center: Tensor, logits: Tensor, momentum: number, rows: RowOptions = {}): Tensor {
  const { k } = dims(logits, "rows k");
  dims(center, `1 ${k}`);
  if (rows.valid === undefined && rows.count === undefined && rows.allReduce === undefined)
    return add(mul(center, momentum), mul(reduceMean(logits, [0], true), 1 - momentum));
  const { column, total, allReduce } = countRows(logits, rows);
  const mean = div(allReduce(dot(column, logits, { transA: true })), atLeastOne(total)); // [1, k]
  // c + (1 − m)(mean − c), and c where nothing was counted
  return add(center, mul(sub(mean, center), mul(minimum(total, 1), 1 - momentum)));
}
