/** @file Targets from a teacher's logits: centred or balanced, and what monitors watch of them. */
import { add, type Builder, div, log, mul, neg, reduceMean, reduceSum, softmax, type Tensor } from "../engine/trace/index.ts";
import type { ParamSpec } from "../nn/index.ts";
import { centeredTargets, nextCenter, sinkhornTargets } from "../objectives/index.ts";
import type { TargetConfig } from "./config.ts";

/** The centre that one objective keeps. */
export function centerState(name: string, prototypes: number, { centering }: TargetConfig): ParamSpec[] {
  return centering === "ema" ? [{ name, shape: [1, prototypes], init: { kind: "zeros" } }] : [];
}

/** Teacher logits `[rows, k]` -> targets `[rows, k]`; with EMA centring the centre `name` is read, and written for the next step. */
export function makeTargets(
  builder: Builder,
  logits: Tensor,
  { name, temp, config }: { readonly name: string; readonly temp: Tensor; readonly config: TargetConfig },
): Tensor {
  const { centering, centerMomentum, sinkhornIterations: iterations } = config;
  if (centering === "sinkhorn") return sinkhornTargets(logits, temp, { iterations });
  const center = builder.input(name, [1, logits.shape[1] ?? 1], { kind: "state" });
  builder.output(name, nextCenter(center, logits, centerMomentum), "state");
  return centeredTargets(logits, center, temp);
}

/** Mean over rows of −Σ p ln p: rows `[rows, k]` -> scalar. */
export function entropy(p: Tensor): Tensor {
  return neg(reduceMean(reduceSum(mul(p, log(add(p, 1e-30))), [1]), [0]));
}

/** The teacher's own sharpness before any balancing: a collapsed teacher shows here first. */
export function teacherEntropy(logits: Tensor, temp: Tensor): Tensor {
  return entropy(softmax(div(logits, temp)));
}
