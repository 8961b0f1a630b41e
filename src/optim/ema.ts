/** @file The teacher: an exponential moving average of the student, elementwise. */
import type { Ops } from "./ops.ts";

/**
 * t ← t + (1 − m)(s − t), which is m·t + (1 − m)·s written so that equal weights stay exactly equal
 * and m = 1 keeps the teacher. `rest` is 1 − m. (DINO §3.1)
 */
export function ema<T>(ops: Ops<T>, x: { readonly teacher: T; readonly param: T }, rest: T): T {
  return ops.add(x.teacher, ops.mul(rest, ops.sub(x.param, x.teacher)));
}
