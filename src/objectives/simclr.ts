/** @file SimCLR's objective (NT-Xent): two views of an image find each other among all views of the batch. Chen et al. 2020, eq. 1. */
import { ShapeError } from "../core/index.ts";
import { add, constant, dims, dot, l2Normalize, logSoftmax, mul, reshape, sumAll, type Tensor } from "../engine/trace/index.ts";
import { checkPositive } from "./checks.ts";

/** Far below any similarity over any temperature, so that a view never finds itself. */
const NEVER = -1e9;

/**
 * Projections of two views `[2, b, d]` -> scalar: the mean over the 2b views of
 *   −log softmax_j≠i(zᵢ · zⱼ / τ) at j = the other view of i's image,   z rows divided by their norm
 * Throws ShapeError for one image, which has no other to differ from, and ConfigError for a temperature that is not above 0.
 */
export function simclrLoss(views: Tensor, { temperature }: { readonly temperature: number }): Tensor {
  const { b, d } = dims(views, "2 b d");
  checkPositive("SimCLR's loss", "temperature", temperature);
  if (b < 2)
    throw new ShapeError(
      `Cannot take SimCLR's loss of a batch of ${b}: an image needs others to differ from; make the (micro-)batch 2 or more`,
    );
  const z = l2Normalize(reshape(views, [2 * b, d]));
  const logits = add(
    dot(z, z, { transB: true, alpha: 1 / temperature }),
    pairs(views, (i, j) => (i === j ? NEVER : 0)),
  );
  const other = pairs(views, (i, j) => (j === (i + b) % (2 * b) ? -1 / (2 * b) : 0));
  return sumAll(mul(logSoftmax(logits), other));
}

/** A constant `[2b, 2b]` by row and column. */
function pairs(views: Tensor, at: (i: number, j: number) => number): Tensor {
  const { b } = dims(views, "2 b d");
  const n = 2 * b;
  const data = Float32Array.from({ length: n * n }, (_, flat) => at(Math.floor(flat / n), flat % n));
  return constant(views.builder, [n, n], data);
}
