/** @file A learner of a run: its parameters, gradients, moments and moving average in flat buffers, and the optimizer over them. */
import type { Learner } from "../methods/index.ts";
import {
  allocShared,
  type DecayRule,
  type FusedOptimizer,
  makeLayout,
  makeParamGroups,
  openFusedOptimizer,
  type OptimizerConfig,
} from "../optim/index.ts";
import type { Flats } from "./programs.ts";

/** How parameters move. */
export interface OptimOptions {
  readonly optimizer: OptimizerConfig;
  readonly layerDecay?: number;
  readonly patchEmbedLrScale?: number;
  readonly decayRule?: DecayRule;
  readonly threads: number;
  /** Updates so far of every parameter, by learner. */
  readonly stepCounts?: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

export interface LearnerOptions extends OptimOptions {
  /** Whether gradients of several micro-batches are added up: two buffers, in turn. */
  readonly accumulates: boolean;
}

/** A learner with its numbers and its optimizer. */
export interface TrainedLearner {
  readonly learner: Learner;
  readonly flats: Flats;
  readonly optimizer: FusedOptimizer;
}

/** Allocates a learner's buffers and opens its optimizer. */
export function openLearner(learner: Learner, options: LearnerOptions): TrainedLearner {
  const { accumulates, optimizer: config, layerDecay = 1, patchEmbedLrScale = 1, decayRule = "dino", threads, stepCounts } = options;
  const layout = makeLayout(learner.specs);
  const kinds = ["params", "teacher", "grads", "mean", ...(config.kind === "adamw" ? ["square"] : []), ...(accumulates ? ["grads2"] : [])];
  const { flat, memory } = allocShared(layout, kinds);
  const flats = flat as unknown as Flats; // the kinds asked for above
  const { params, teacher, grads, grads2, mean, square } = flats;
  const counts = stepCounts?.[learner.name];
  const optimizer = openFusedOptimizer({
    config,
    layout,
    groups: makeParamGroups(learner.specs, {
      depth: learner.depth,
      layerDecay,
      patchEmbedLrScale,
      decayRule,
      isFrozen: learner.isFrozen,
    }),
    params,
    grads: grads2 === undefined ? grads : [grads, grads2],
    mean,
    ...(square === undefined ? {} : { square }),
    teacher,
    memory,
    threads,
    ...(counts === undefined ? {} : { stepCounts: counts }),
  });
  return { learner, flats, optimizer };
}
