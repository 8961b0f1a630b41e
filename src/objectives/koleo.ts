/** @file KoLeo: spreads features by pushing each away from its nearest neighbour. DINOv2 spec §2.5. */
import { ShapeError } from "../core/index.ts";
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

export interface KoleoOptions {
  /** Neighbours are looked for inside consecutive groups of this many rows; by default among all. */
  readonly groupSize?: number;
  readonly eps?: number;
}

/**
 * Features `[b, d]` of one crop of different images -> scalar `−mean ln(‖x − x_nn + ε‖ + ε)`, x normalised, ε = 1e-8.
 * The neighbour is the largest dot product off the diagonal; its choice is not differentiated. Throws ShapeError for groups
 * that do not divide the rows or hold one row. With groups: DINOv3 spec §3.5, top-1.
 */
export function koleo(features: Tensor, { groupSize, eps = 1e-8 }: KoleoOptions = {}): Tensor {
  const [b = 1] = features.shape;
  const g = groupSize ?? b;
  if (b % g !== 0 || g < 2)
    throw new ShapeError(
      `Cannot take KoLeo of ${b} rows in groups of ${g}: groups hold 2 rows or more and divide them; choose another size`,
    );
  const x = l2Normalize(features, eps);
  const fixed = stopGradient(x);
  const others = constant(x.builder, [b, b], otherRows(b, g));
  const nearest = argMax(add(dot(fixed, fixed, { transB: true }), others), 1);
  const apart = sqrt(reduceSumSquare(add(sub(x, gather(x, nearest)), eps), [1]));
  return neg(reduceMean(log(add(apart, eps)), [0]));
}

/** 0 where row and column are different rows of one group, else −3: a dot product is at most 1, so −2 or less never wins. */
function otherRows(b: number, groupSize: number): Float32Array {
  const group = (i: number): number => Math.floor(i / groupSize);
  return Float32Array.from({ length: b * b }, (_, at) => {
    const [i, j] = [Math.floor(at / b), at % b];
    return i !== j && group(i) === group(j) ? 0 : -3;
  });
}

/** KoLeo over each of the `v` crops of crop-major features `[v·b, d]`, summed. */
export function koleoPerCrop(crops: readonly Tensor[], options: KoleoOptions = {}): Tensor {
  return crops.map((c) => koleo(c, options)).reduce((a, b) => add(a, b));
}
