/** @file Batch norm of rows `[n, c]` and of maps `[b, c, y, x]`: a normalisation over everything but the channels, with running statistics. */
import { ShapeError } from "../core/index.ts";
import { add, mul, reduceMean, reduceSumSquare, reshape, rsqrt, sub, type Tensor } from "../engine/trace/index.ts";
import { normSpecs, type Params, type ParamSpec } from "./params.ts";

/** How far running statistics move towards those of a batch; torch's default. */
const MOMENTUM = 0.1;
const EPS = 1e-5;

export interface BatchNormState {
  /** Running statistics by full name. */
  readonly state?: Params;
  /** Takes the next running statistics by full name; where it is given, those of the batch normalise (training). */
  readonly onState?: (name: string, next: Tensor) => void;
}

/** Weight (1) and bias (0), `[width]` each. */
export function batchNormSpecs(name: string, width: number): ParamSpec[] {
  return normSpecs(name, width);
}

/** Names, shapes and start of the running statistics: state, not parameters. */
export function batchNormState(name: string, width: number): ParamSpec[] {
  return [
    { name: `${name}.running_mean`, shape: [width], init: { kind: "zeros" } },
    { name: `${name}.running_var`, shape: [width], init: { kind: "ones" } },
  ];
}

/** A value per channel, placed along axis 1 of `x`. */
function perChannel(x: Tensor, values: Tensor): Tensor {
  const inner = x.shape.slice(2);
  return inner.length === 0 ? values : reshape(values, [x.shape[1] ?? 1, ...inner.map(() => 1)]);
}

/** Statistics over all axes but the channels'; the variance is the biased one. */
function batchStatistics(x: Tensor): {
  readonly mean: Tensor;
  readonly variance: Tensor;
  readonly centred: Tensor;
  readonly count: number;
} {
  const axes = x.shape.map((_, i) => i).filter((i) => i !== 1);
  const count = axes.reduce((n, axis) => n * (x.shape[axis] ?? 1), 1);
  if (count < 2)
    throw new ShapeError(`Cannot train batch norm on ${x.toString()}: a channel has ${count} value; give more images or larger ones`);
  const mean = reduceMean(x, axes);
  const centred = sub(x, perChannel(x, mean));
  return { mean, variance: mul(reduceSumSquare(centred, axes), 1 / count), centred, count };
}

/**
 * `(x − mean) / sqrt(var + eps) · weight + bias` for x `[n, c]` or `[b, c, y, x]`; `name` is the layer's name in `params` and in the state.
 * In training the batch's own statistics normalise, and the running ones move by a tenth: `0.9 old + 0.1 now`, the variance with n − 1.
 * Throws RangeError without state, ShapeError where a channel has one value only.
 */
export function batchNorm(params: Params, x: Tensor, options: BatchNormState & { readonly name: string }): Tensor {
  const { name, state, onState } = options;
  if (state === undefined)
    throw new RangeError(`Cannot apply batch norm "${name}": it has no running statistics; pass the state of the network`);
  const [weight, bias] = [params(`${name}.weight`), params(`${name}.bias`)];
  const [oldMean, oldVariance] = [state(`${name}.running_mean`), state(`${name}.running_var`)];
  if (onState === undefined) {
    const scale = mul(weight, rsqrt(add(oldVariance, EPS)));
    return add(mul(x, perChannel(x, scale)), perChannel(x, sub(bias, mul(oldMean, scale))));
  }
  const { mean, variance, centred, count } = batchStatistics(x);
  const toward = (old: Tensor, now: Tensor): Tensor => add(mul(old, 1 - MOMENTUM), mul(now, MOMENTUM));
  onState(`${name}.running_mean`, toward(oldMean, mean));
  onState(`${name}.running_var`, toward(oldVariance, mul(variance, count / (count - 1))));
  const scale = mul(weight, rsqrt(add(variance, EPS)));
  return add(mul(centred, perChannel(x, scale)), perChannel(x, bias));
}
