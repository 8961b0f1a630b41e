/** @file KoLeo: spreads features by pushing each away from its nearest neighbours. DINOv2 spec §2.5, DINOv3 spec §3.5. */
import { ConfigError, ShapeError } from "../core/index.ts";
import {
  add,
  argMax,
  constant,
  dims,
  dot,
  gather,
  l2Normalize,
  log,
  mul,
  reduceMean,
  reduceSumSquare,
  reshape,
  slice,
  sqrt,
  stopGradient,
  sub,
  type Tensor,
  topK as largest,
} from "../engine/trace/index.ts";

export interface KoleoOptions {
  /** Neighbours are looked for inside consecutive groups of this many rows; by default among all. */
  readonly groupSize?: number;
  /** How many nearest neighbours push, 1 by default. */
  readonly topK?: number;
  readonly eps?: number;
}

/**
 * Features `[b, d]` of one crop of different images -> scalar `−mean ln(‖x − x_nn + ε‖ + ε)`, x normalised, ε = 1e-8; the mean is over rows
 * and over the `topK` nearest. Neighbours have the largest dot products off the diagonal; their choice is not differentiated.
 * Throws ShapeError for one row, or for groups that do not divide the rows or hold one; ConfigError for more neighbours than a group has.
 */
export function koleo(features: Tensor, { groupSize, topK = 1, eps = 1e-8 }: KoleoOptions = {}): Tensor {
  const { b } = dims(features, "b d");
  const g = groupSize ?? b;
  checkGroups(b, g);
  if (!Number.isInteger(topK) || topK < 1 || topK >= g)
    throw new ConfigError(`Cannot take KoLeo of ${topK} neighbours in groups of ${g}: each row has ${g - 1}; take 1 to ${g - 1}`);
  const x = l2Normalize(features, eps);
  const apart = neighbours(x, { groupSize: g, topK }).map((nearest) => sqrt(reduceSumSquare(add(sub(x, gather(x, nearest)), eps), [1])));
  const terms = apart.map((distance) => reduceMean(log(add(distance, eps)), [0]));
  return mul(
    terms.reduce((a, c) => add(a, c)),
    -1 / topK,
  );
}

function checkGroups(b: number, g: number): void {
  if (b < 2)
    throw new ShapeError(
      `Cannot take KoLeo of a batch of ${b}: a nearest neighbour is another image; make the (micro-)batch 2 or more, or KoLeo's weight 0`,
    );
  if (b % g !== 0 || g < 2)
    throw new ShapeError(
      `Cannot take KoLeo of ${b} rows in groups of ${g}: groups hold 2 rows or more and divide them; choose another size`,
    );
}

/** Row numbers of each row's nearest, second nearest, … in its group: `topK` of int32 `[b]`. */
function neighbours(x: Tensor, { groupSize, topK }: { readonly groupSize: number; readonly topK: number }): Tensor[] {
  const { b } = dims(x, "b d");
  const fixed = stopGradient(x);
  const near = add(dot(fixed, fixed, { transB: true }), constant(x.builder, [b, b], otherRows(b, groupSize)));
  if (topK === 1) return [argMax(near, 1)];
  const { indices } = largest(near, topK);
  return Array.from({ length: topK }, (_, i) => reshape(slice(indices, 1, [i, i + 1]), [b]));
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
