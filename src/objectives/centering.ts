/** @file Centring and sharpening of the teacher: what keeps DINO from collapse. DINO spec §1.5. */
import { add, div, mul, reduceMean, softmax, sub, type Tensor } from "../engine/trace/index.ts";

/** `softmax((t − c) / τ)`: logits `[rows, k]`, centre `[1, k]`, temperature a scalar tensor -> probabilities `[rows, k]`. */
export function centeredTargets(logits: Tensor, center: Tensor, temp: Tensor): Tensor {
  return softmax(div(sub(logits, center), temp));
}

/** `c ← m c + (1 − m) mean of the raw teacher logits`: the centre of the next step `[1, k]`. */
export function nextCenter(center: Tensor, logits: Tensor, momentum: number): Tensor {
  return add(mul(center, momentum), mul(reduceMean(logits, [0], true), 1 - momentum));
}
