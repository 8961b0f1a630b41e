/** @file Sinkhorn–Knopp targets: each prototype gets equal mass, each row sums to one. DINOv2 spec §2.5. */
import { ConfigError } from "../core/index.ts";
import {
  add,
  dims,
  div,
  dot,
  exp,
  log,
  maximum,
  minimum,
  mul,
  neg,
  reduceMax,
  reduceSum,
  reshape,
  sub,
  type Tensor,
} from "../engine/trace/index.ts";
import { atLeastOne, countRows, type RowOptions } from "./rows.ts";

export interface SinkhornOptions extends RowOptions {
  /** Rounds of evening out prototypes, then rows; 3 by default. */
  readonly iterations?: number;
}

/** Rows start at no more than this many τ from their mean: any sum of them is a float32. */
const MOST_APART = 60;
/** A prototype of less mass than this is counted as having this much: float32 cannot lift it to its share. */
const LEAST_MASS = 1e-30;

/**
 * Teacher logits `[rows, k]`, temperature a scalar -> targets `[rows, k]`; rows that are padding take no mass and get zeros.
 * Q = diag(v) E diag(u) with E_bk = exp((x_bk − max_k x_b) / τ); from v_b = exp((max_k x_b − mean of the maxima) / τ), `iterations` times:
 *   u_k = 1 / Σ_b E_bk v_b   (summed over processes),   v_b = 1 / Σ_k E_bk u_k
 * The divisions of the paper by K and by the number of rows cancel, and so do both shifts; they keep exp from overflowing where the last layer
 * is not normalised (DINOv3). Differs from the paper only where rows lie further apart than that. Throws ConfigError for no iterations, ShapeError.
 */
export function sinkhornTargets(logits: Tensor, temp: Tensor, options: SinkhornOptions = {}): Tensor {
  return balance(logits, temp, options).targets;
}

/** Targets `[rows, k]`, and the entropy of each of them `[rows, 1]` (0 for padding). */
export interface Balanced {
  readonly targets: Tensor;
  readonly entropies: () => Tensor;
}

/**
 * `sinkhornTargets` with their entropies, which need no logarithm over the matrix:
 *   −Σ_k q_k ln q_k = −Σ_k q_k z_k − ln v − Σ_k q_k ln u_k for a row with Σ_k q_k = 1, z_k = (x_k − max x) / τ
 */
export function balance(logits: Tensor, temp: Tensor, { iterations = 3, ...rows }: SinkhornOptions = {}): Balanced {
  if (!(iterations >= 1))
    throw new ConfigError(`Cannot balance targets: ${iterations} iterations do not end in rows that sum to 1; make it 1 or more`);
  const { k } = dims(logits, "rows k");
  const { column, total, allReduce } = countRows(logits, rows);
  const peak = reduceMax(logits, [1], true); // [rows, 1]
  const z = div(sub(logits, peak), temp);
  const e = exp(z);
  const middle = div(allReduce(dot(column, peak, { transA: true })), atLeastOne(total)); // [1, 1]
  const height = div(sub(peak, middle), temp);
  let v = mul(column, exp(maximum(minimum(height, MOST_APART), -MOST_APART))); // [rows, 1]
  let u = v;
  for (let i = 0; i < iterations; i++) {
    u = div(1, maximum(allReduce(dot(e, v, { transA: true })), LEAST_MASS)); // [k, 1]
    v = div(column, dot(e, u));
  }
  const targets = mul(mul(e, v), reshape(u, [1, k]));
  const [scale, masses] = [v, u];
  const entropies = (): Tensor => {
    const ofRow = log(maximum(scale, LEAST_MASS)); // padding has scale 0, and its share is multiplied away
    const mixed = add(reduceSum(mul(targets, z), [1], true), dot(targets, log(masses)));
    return neg(mul(add(mixed, ofRow), column));
  };
  return { targets, entropies };
}
