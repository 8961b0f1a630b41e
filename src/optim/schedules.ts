/** @file Schedules: pure functions of the step, so that any step's value can be computed alone and again. */
import { InternalError } from "../core/index.ts";

/** A value at a step. Steps (or epochs, where the maker says so) count from 0. */
export type Schedule = (step: number) => number;

/** Point `i` of `n` evenly spaced points from `from` to `to`, both ends included; one point is `from`. */
function linspaceAt(from: number, to: number, options: { readonly i: number; readonly n: number }): number {
  const { i, n } = options;
  if (i === n - 1 && n > 1) return to;
  return n > 1 ? from + i * ((to - from) / (n - 1)) : from;
}

/** Half a cosine wave from `from` (phase 0) to `to` (phase 1): `to + ½(from − to)(1 + cos(π·phase))`. */
function halfCosine(from: number, to: number, phase: number): number {
  return to + 0.5 * (from - to) * (1 + Math.cos(Math.PI * phase));
}

/** Guards a schedule of a fixed length: reading outside is a bug of the loop, never clamped. */
function bounded(totalSteps: number, at: Schedule): Schedule {
  return (step) => {
    if (!Number.isInteger(step) || step < 0 || step >= totalSteps)
      throw new RangeError(`Cannot read the schedule at step ${step}: it has ${totalSteps} steps; ask for 0 to ${totalSteps - 1}`);
    return at(step);
  };
}

function checkCounts(what: string, counts: Readonly<Record<string, number>>): void {
  for (const [name, n] of Object.entries(counts))
    if (!Number.isInteger(n) || n < 0)
      throw new RangeError(`Cannot make the ${what} schedule: ${name} is ${n}; give a whole number of 0 or more`);
}

/** The same value at every step. */
export function constant(value: number): Schedule {
  return () => value;
}

/** A straight line: `from` at step 0, `to` at step `steps` and after it (lightly's linear warm-up). */
export function linear(options: { readonly from: number; readonly to: number; readonly steps: number }): Schedule {
  const { from, to, steps } = options;
  checkCounts("linear", { steps });
  return (step) => (step >= steps ? to : from + (to - from) * (step / steps));
}

/** Linear from `start` to `value` over `warmupSteps` points, both ends included, then constant. */
export function warmupThenConstant(options: { readonly value: number; readonly warmupSteps: number; readonly start?: number }): Schedule {
  const { value, warmupSteps, start = 0 } = options;
  checkCounts("warm-up", { warmupSteps });
  return (step) => (step < warmupSteps ? linspaceAt(start, value, { i: step, n: warmupSteps }) : value);
}

export interface CosineOptions {
  readonly base: number;
  readonly final: number;
  /** Length of the whole schedule, frozen and warm-up steps included. */
  readonly totalSteps: number;
  /** Points of the line from `start` to `base`, both ends included. */
  readonly warmupSteps?: number;
  readonly start?: number;
  /** Steps at 0 before everything else (DINOv2's last layer). */
  readonly freezeSteps?: number;
  /** DINOv3: plan the cosine over (1 + truncExtra) times the steps, cut it, stretch it to end at `final`. */
  readonly truncExtra?: number;
}

/**
 * DINO's cosine schedule of learning rate, weight decay and teacher momentum (DINO §3.1; code `cosine_scheduler`):
 * linear warm-up that reaches `base` at its last step, then for i = 0..n−1 `final + ½(base − final)(1 + cos(π i/n))`.
 * `final` is approached and not reached, unless `truncExtra` is given. In epochs: steps = epochs · stepsPerEpoch.
 */
export function cosine(options: CosineOptions): Schedule {
  const { base, final, totalSteps, warmupSteps = 0, start = 0, freezeSteps = 0, truncExtra = 0 } = options;
  checkCounts("cosine", { totalSteps, warmupSteps, freezeSteps });
  const head = freezeSteps + warmupSteps;
  if (head > totalSteps)
    throw new RangeError(
      `Cannot make the cosine schedule: warm-up and freeze take ${head} of ${totalSteps} steps; shorten the warm-up or train longer`,
    );
  const n = totalSteps - head;
  const tail = truncExtra === 0 ? (i: number): number => halfCosine(base, final, i / n) : truncatedCosine(base, final, { n, truncExtra });
  return bounded(totalSteps, (step) => {
    if (step < freezeSteps) return 0;
    if (step < head) return linspaceAt(start, base, { i: step - freezeSteps, n: warmupSteps });
    return tail(step - head);
  });
}

/** DINOv3's `trunc_extra`: s_i = ½(1 + cos(π i/(N−1))), N = ⌊(1+e)n⌋, renormalised so that s_0 = 1 and s_{n−1} = 0. */
function truncatedCosine(base: number, final: number, options: { readonly n: number; readonly truncExtra: number }): Schedule {
  const { n, truncExtra } = options;
  const planned = Math.trunc((1 + truncExtra) * n);
  const wave = (i: number): number => 0.5 * (Math.cos(linspaceAt(0, Math.PI, { i, n: planned })) + 1);
  const last = wave(n - 1);
  return (i) => ((wave(i) - last) / (1 - last)) * (base - final) + final;
}

/** Cosine from `start` to `final` that reaches `final` at the last step (lightly divides by n − 1). */
export function cosineToEnd(options: { readonly start: number; readonly final: number; readonly totalSteps: number }): Schedule {
  const { start, final, totalSteps } = options;
  checkCounts("cosine", { totalSteps });
  return bounded(totalSteps, (step) => (totalSteps === 1 ? final : halfCosine(start, final, step / (totalSteps - 1))));
}

/** Teacher temperature **per epoch** (DINO's loss): linear from `warm` to `final` over `warmupEpochs` points, then `final`. */
export function teacherTemp(options: { readonly warm: number; readonly final: number; readonly warmupEpochs: number }): Schedule {
  const { warm, final, warmupEpochs } = options;
  return warmupThenConstant({ start: warm, value: final, warmupSteps: warmupEpochs });
}

/** Turns a schedule of epochs into one of steps: constant inside each epoch. */
export function perEpoch(ofEpoch: Schedule, stepsPerEpoch: number): Schedule {
  if (!(stepsPerEpoch >= 1))
    throw new InternalError(`Cannot count epochs: ${stepsPerEpoch} steps an epoch; an epoch has at least one step`);
  return (step) => ofEpoch(Math.floor(step / stepsPerEpoch));
}

/** How a published base learning rate grows with the total batch. */
export type LrScaling = "linear-256" | "sqrt-1024" | "4sqrt-1024";

const LR_SCALING: { readonly [K in LrScaling]: (batch: number) => number } = {
  "linear-256": (batch) => batch / 256,
  "sqrt-1024": (batch) => Math.sqrt(batch / 1024),
  "4sqrt-1024": (batch) => 4 * Math.sqrt(batch / 1024),
};

/** Scales a base learning rate by the total batch: DINO `linear-256`, DINOv2 `sqrt-1024`, DINOv3 `4sqrt-1024`. */
export function scaleLr(base: number, options: { readonly batch: number; readonly rule: LrScaling }): number {
  return base * LR_SCALING[options.rule](options.batch);
}
