/** @file KoLeo: spreads features by pushing each away from its nearest neighbour. DINOv2 spec §2.5. */
import {
  add,
  argMax,
  constant,
  dot,
  gather,
  l2Normalize,
  log,
  reduceMean,
  reduceSumSquare,
  sqrt,
  stopGradient,
  sub,
  type Tensor,
  neg,
} from "../engine/trace/index.ts";

/**
 * Features `[b, d]` of one crop of different images -> scalar `−mean ln(‖x − x_nn + ε‖ + ε)`, x normalised, ε = 1e-8.
 * The neighbour is the largest dot product off the diagonal; its choice is not differentiated.
 */
export function koleo(features: Tensor, eps = 1e-8): Tensor {
  const [b = 1] = features.shape;
  const x = l2Normalize(features, eps);
  const fixed = stopGradient(x);
  const diagonal = new Float32Array(b * b);
  for (let i = 0; i < b; i++) diagonal[i * b + i] = -3; // a dot product is at most 1, so −2 or less never wins
  const nearest = argMax(add(dot(fixed, fixed, { transB: true }), constant(x.builder, [b, b], diagonal)), 1);
  const apart = sqrt(reduceSumSquare(add(sub(x, gather(x, nearest)), eps), [1]));
  return neg(reduceMean(log(add(apart, eps)), [0]));
}

/** KoLeo over each of the `v` crops of crop-major features `[v·b, d]`, summed. */
export function koleoPerCrop(crops: readonly Tensor[]): Tensor {
  return crops.map((c) => koleo(c)).reduce((a, b) => add(a, b));
}
