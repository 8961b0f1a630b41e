/** @file Cosine of a student's features to a frozen teacher's: what distillation from weights without heads minimises. */
import { dims, l2Normalize, mul, reduceSum, sub, sumAll, type Tensor } from "../engine/trace/index.ts";

/**
 * Student features `[v, n, d]` of v crops and unit targets `[t, n, d]` of the teacher's t crops -> scalar: the mean over crops and rows of
 *   1 − (student[v, n] / max(‖student[v, n]‖, 1e-12)) · target[n]
 * With one target (t = 1) or as many as crops (t = v) each row has its own. Targets are given as they count: the mean of several unit
 * vectors gives the mean of their cosines. The cosine of summary and patch features is AM-RADIO's (arXiv 2312.06709 §3), which adds a
 * smooth L1 term for patches; we leave it out, so that the scale of the teacher's features plays no part. Throws ShapeError.
 */
export function featureCosineLoss(student: Tensor, target: Tensor): Tensor {
  const { v, n, d } = dims(student, "v n d");
  dims(target, target.shape[0] === 1 ? `1 ${n} ${d}` : `${v} ${n} ${d}`);
  // row by row first: short sums keep their last bits
  const cosines = reduceSum(mul(l2Normalize(student), target), [2]);
  return sub(1, mul(sumAll(cosines), 1 / (v * n)));
}
