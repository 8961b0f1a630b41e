/**
 * @file What a method is to the loop that runs it: networks, state, and the traced parts of one step.
 *
 * Parts run in order. A value that one part gives out under a name that a later part takes in is handed over; the loop knows no other
 * connection between them. Scalars of the schedules and what `draw` makes reach the parts by name, too.
 */
import type { Rng, TypedArray } from "../core/index.ts";
import type { Graph } from "../engine/ir/index.ts";
import type { ParamSpec } from "../nn/index.ts";

/**
 * How a value of the whole batch is cut into micro-batches: `[count·b, …]` crop by crop, rows one micro-batch after the other,
 * or not at all.
 */
export type Cut = { readonly kind: "crops"; readonly count: number } | { readonly kind: "rows" | "whole" };

/** One traced part of a step. */
export interface Part {
  readonly name: string;
  /** Runs once for each micro-batch, or once over what all micro-batches gave. */
  readonly per: "micro" | "batch";
  /** The learner whose gradients it gives out, each under its parameter's name. */
  readonly learner?: string;
  /** With `running`, gradients so far come in as `running.NAME` and are added to. */
  readonly trace: (options: { readonly running: boolean }) => Graph;
}

/** A network that is trained, and its moving average. */
export interface Learner {
  readonly name: string;
  /** Its parameters are inputs `NAME.KEY`; those of its average `FOLLOWER.KEY`. */
  readonly follower: string;
  readonly specs: readonly ParamSpec[];
  /** Blocks of its backbone, for layer-wise rates. */
  readonly depth: number;
  /** Parameters that never get a gradient. */
  readonly isFrozen: (name: string) => boolean;
}

/** A network that is only read: inputs `NAME.KEY`. */
export interface FixedNetwork {
  readonly name: string;
  readonly specs: readonly ParamSpec[];
  /** Whether it changes along the run (a refreshed Gram teacher), so that checkpoints must hold it. */
  readonly changes: boolean;
}

export interface DrawOptions {
  readonly rng: Rng;
  readonly step: number;
}

/** One training step as data. */
export interface Method {
  readonly name: string;
  /** Images of a step, and of the part of it that a network sees at once. */
  readonly batchSize: number;
  readonly microBatchSize: number;
  readonly learners: readonly [Learner, ...Learner[]];
  readonly fixed: readonly FixedNetwork[];
  /** What is read and written each step but not trained. */
  readonly state: readonly ParamSpec[];
  readonly parts: readonly Part[];
  /** How each value that is fed, drawn or handed over is cut; scalars are left out. */
  readonly cuts: ReadonlyMap<string, Cut>;
  /** Random inputs of a step, made on the host for the whole batch (contracts 10). */
  readonly draw: (options: DrawOptions) => ReadonlyMap<string, TypedArray>;
}

export function crops(count: number): Cut {
  return { kind: "crops", count };
}

export const ROWS: Cut = { kind: "rows" };
/** The same for every micro-batch. */
export const SAME: Cut = { kind: "whole" };
