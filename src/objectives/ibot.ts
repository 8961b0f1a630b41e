/** @file iBOT's objective: the student names the patches it does not see as the teacher that sees them does. DINOv2 spec §2.5. */
import { dims, logSoftmax, mul, neg, reduceSum, sumAll, type Tensor } from "../engine/trace/index.ts";
import { checkPositive } from "./checks.ts";

export interface IbotLossOptions {
  /** `[m]`: 1 / (masked patches of the row's image), 0 where the list is padded. */
  readonly weights: Tensor;
  /** 1 where the logits are divided by it already. */
  readonly studentTemp: number;
  /** Global crops of the whole batch, masked or not: 2B. */
  readonly images: number;
}

/**
 * Student logits and teacher probabilities of the masked patches, both `[m, k]` -> scalar: the mean over images of each image's mean.
 * for each masked patch j:
 *   loss += −weights[j] · Σ_k teacher[j, k] · logSoftmax(student[j] / studentTemp)[k] / images
 * Throws ShapeError, and ConfigError where `studentTemp` or `images` is not above 0.
 */
export function ibotLoss(student: Tensor, teacher: Tensor, { weights, studentTemp, images }: IbotLossOptions): Tensor {
  const { m, k } = dims(student, "m k");
  dims(teacher, `${m} ${k}`);
  dims(weights, `${m}`);
  checkPositive("iBOT's loss", "studentTemp", studentTemp);
  checkPositive("iBOT's loss", "images", images);
  const logp = logSoftmax(studentTemp === 1 ? student : mul(student, 1 / studentTemp));
  // row by row first: no array of weighted targets is made or kept
  const each = reduceSum(mul(logp, teacher), [1]);
  return mul(neg(sumAll(mul(each, weights))), 1 / images);
}
