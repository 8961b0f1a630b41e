/** @file DINO's objective: cross-entropy of student crops against teacher crops, every pair but a crop with itself. */
import { concat, dims, logSoftmax, mul, neg, reshape, slice, sumAll, type Tensor, add } from "../engine/trace/index.ts";

export interface DinoLossOptions {
  /** Student temperature; 1 where the logits are divided by it already. */
  readonly studentTemp: number;
  /** True where the student's crops are the teacher's own two: a crop is not compared with itself. */
  readonly skipDiagonal: boolean;
  /** Number of (teacher, student) pairs of the whole loss, by which the sum is divided: 2 · (V − 1). */
  readonly pairs: number;
}

/**
 * Share of DINO's loss that one resolution group carries (spec §1.5).
 * Student logits `[v, b, k]`, teacher probabilities `[2, b, k]` -> scalar.
 * for each teacher crop i, student crop v (v ≠ i if `skipDiagonal`), image b:
 *   loss += −Σ_k teacher[i, b, k] · logSoftmax(student[v, b] / studentTemp)[k] / (pairs · b)
 */
export function dinoLoss(student: Tensor, teacher: Tensor, { studentTemp, skipDiagonal, pairs }: DinoLossOptions): Tensor {
  const { v, b, k } = dims(student, "v b k");
  dims(teacher, `2 ${b} ${k}`);
  const [first, second] = [slice(teacher, 0, [0, 1]), slice(teacher, 0, [1, 2])];
  // the teacher's crops are summed before the product: one pass over the logits instead of two
  const targets = skipDiagonal ? concat([second, first], 0) : add(first, second);
  const logp = logSoftmax(reshape(studentTemp === 1 ? student : mul(student, 1 / studentTemp), [v * b, k]));
  return mul(neg(sumAll(mul(reshape(logp, [v, b, k]), targets))), 1 / (pairs * b));
}
