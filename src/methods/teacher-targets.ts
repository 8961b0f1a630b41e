/** @file Targets from a teacher's logits: centred or balanced, and what monitors watch of them. */
import {
  add,
  type Builder,
  div,
  log,
  maximum,
  mul,
  neg,
  reduceMean,
  reduceSum,
  softmax,
  sumAll,
  type Tensor,
} from "../engine/trace/index.ts";
import type { ParamSpec } from "../nn/index.ts";
import { centeredTargets, nextCenter, sinkhornTargets } from "../objectives/index.ts";
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

/** Teacher logits `[rows, k]` -> targets `[rows, k]`; with EMA centring the centre is read, and written for the next step. */
export function makeTargets(builder: Builder, logits: Tensor, { name, temp, config, listed = NO_LIST }: TargetOptions): Tensor {
  const { centering, centerMomentum, sinkhornIterations: iterations } = config;
  if (centering === "sinkhorn") return sinkhornTargets(logits, temp, { iterations, ...listed });
  const center = builder.input(name, [1, logits.shape[1] ?? 1], { kind: "state" });
  builder.output(name, nextCenter(center, logits, centerMomentum, listed), "state");
  return centeredTargets(logits, center, temp, listed);
}

const NO_LIST: Partial<Listed> = {};

/** Mean over rows of −Σ p ln p: rows `[rows, k]` -> scalar. */
export function entropy(p: Tensor, { valid, count }: Partial<Listed> = {}): Tensor {
  const each = neg(reduceSum(mul(p, log(add(p, 1e-30))), [1]));
  if (valid === undefined || count === undefined) return reduceMean(each, [0]);
  return div(sumAll(mul(each, valid)), maximum(count, 1));
}

/** The teacher's own sharpness before any balancing: a collapsed teacher shows here first. */
export function teacherEntropy(logits: Tensor, temp: Tensor, listed: Partial<Listed> = {}): Tensor {
  return entropy(softmax(div(logits, temp)), listed);
}
