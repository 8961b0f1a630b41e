/** @file Targets from a teacher's logits: centred or balanced, and what monitors watch of them. */
import { type Builder, div, maximum, mul, reduceMean, reshape, softmax, sub, sumAll, type Tensor } from "../engine/trace/index.ts";
import type { ParamSpec } from "../nn/index.ts";
import { balance, centeredTargets, nextCenter, softmaxEntropies } from "../objectives/index.ts";
import type { TargetConfig } from "./config.ts";

/** The centre that one objective keeps. */
export function centerState(name: string, prototypes: number, { centering }: TargetConfig): ParamSpec[] {
  return centering === "ema" ? [{ name, shape: [1, prototypes], init: { kind: "zeros" } }] : [];
}

/** Rows of a padded list that count: `[rows]` of 0 and 1, and how many. */
export interface Listed {
  readonly valid: Tensor;
  readonly count: Tensor;
}

export interface TargetOptions {
  /** The centre's name, where there is one. */
  readonly name: string;
  /** The teacher's temperature. */
  readonly temp: Tensor;
  readonly config: TargetConfig;
  readonly listed?: Partial<Listed>;
}

/** Targets `[rows, k]` and, for monitors, their mean entropy and that of the teacher before any balancing. */
export interface Targets {
  readonly q: Tensor;
  readonly entropy: Tensor;
  /** The teacher's own sharpness: a collapsed teacher shows here first. */
  readonly teacherEntropy: Tensor;
}

/** Teacher logits `[rows, k]` -> targets; with EMA centring the centre is read, and written for the next step. */
export function makeTargets(builder: Builder, logits: Tensor, options: TargetOptions): Targets {
  const { name, temp, config, listed = {} } = options;
  const sharpened = div(logits, temp);
  const teacherEntropy = mean(softmaxEntropies(sharpened, softmax(sharpened)), listed);
  if (config.centering === "sinkhorn") {
    const { targets, entropies } = balance(logits, temp, { iterations: config.sinkhornIterations, ...listed });
    return { q: targets, entropy: mean(entropies(), listed), teacherEntropy };
  }
  const center = builder.input(name, [1, logits.shape[1] ?? 1], { kind: "state" });
  builder.output(name, nextCenter(center, logits, config.centerMomentum, listed), "state");
  const q = centeredTargets(logits, center, temp, listed);
  return { q, entropy: mean(softmaxEntropies(div(sub(logits, center), temp), q), listed), teacherEntropy };
}

/** Mean of `[rows, 1]` over the rows that count. */
function mean(rows: Tensor, { valid, count }: Partial<Listed>): Tensor {
  if (valid === undefined || count === undefined) return reduceMean(rows, [0, 1]);
  return div(sumAll(mul(reshape(rows, valid.shape), valid)), maximum(count, 1));
}
