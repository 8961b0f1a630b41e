/** @file How long a step takes, measured without changing anything; a run in minutes fixes its length by it. */
import type { Loader } from "../../data/index.ts";
import {
  flatten,
  mergeConfigs,
  planSteps,
  type ResolvedConfig,
  type TrainConfig,
  SET_BY_YOU,
  setKey,
  type UserConfig,
} from "../config/index.ts";
import { factsOfBeginning, resolveBeginning, settleBeginning } from "./beginning.ts";
import { variantOfStep } from "./variants.ts";
import { writeConfig } from "./prepare.ts";
import type { Run } from "./run.ts";
import type { Session } from "./session.ts";

/** Steps that are timed; the one before them warms up. */
export const TIMED_STEPS = 4;

export interface MeasureOptions {
  readonly loader: Loader;
  readonly config: TrainConfig;
  /** Timed steps of each size. */
  readonly steps?: number;
  readonly signal?: AbortSignal | undefined;
}

/** ms a step with its images takes: forward and backward of the first steps, the optimizer left out, the results dropped; of mixed sizes the mean. */
export async function measureStep(session: Pick<Session, "stepper" | "rng">, options: MeasureOptions): Promise<number> {
  let ms = 0;
  for (const { step, ratio } of mixtureOf(options.config)) ms += ratio * (await measureAt(step, session, options));
  return ms;
}

/** A step of each size triple, and the share of the steps that have it. */
function mixtureOf(config: TrainConfig): readonly { readonly step: number; readonly ratio: number }[] {
  if (config.crops.sizes.length === 0) return [{ step: 0, ratio: 1 }];
  return config.crops.sizes.map(({ ratio }, variant) => {
    let step = 0;
    while (variantOfStep(config, step) !== variant) step++;
    return { step, ratio };
  });
}

async function measureAt(
  step: number,
  { stepper, rng }: Pick<Session, "stepper" | "rng">,
  { loader, steps = TIMED_STEPS, signal }: MeasureOptions,
): Promise<number> {
  const scalars = { lr: 0, weightDecay: 0, emaMomentum: 1, teacherTemp: 0.04, clip: { kind: "none" }, freezeLastLayer: false } as const;
  const batch = await loader.load(step);
  let started = 0;
  for (let i = 0; i <= steps; i++) {
    if (i === 1) started = performance.now();
    const [next] = await Promise.all([loader.load(step), stepper.measure({ ...batch, step: 0, rng, scalars, signal })]);
    loader.recycle(next);
  }
  loader.recycle(batch);
  return (performance.now() - started) / steps;
}

export interface SettledLength {
  readonly resolved: ResolvedConfig;
  readonly totalSteps: number;
}

/** The number of steps; where the run is given in minutes, from the speed measured, which is then written into `config.json` (contracts 16). */
export async function settleLength(run: Run, session: Session, loader: Loader): Promise<SettledLength> {
  const { resolved, list, options } = run;
  const { config } = resolved;
  const { totalSteps } = planSteps(config, list.entries.length);
  if (totalSteps !== undefined) return { resolved, totalSteps };
  const ms = await measureStep(session, { loader, config, signal: options.signal });
  const minutes = config.train.minutes ?? 1;
  const measured = Math.max(TIMED_STEPS, Math.round((minutes * 60_000) / ms));
  const beginning = await settleBeginning(saidByUser(resolved));
  const settled = resolveBeginning(beginning, { ...(await factsOfBeginning(list, beginning)), measuredSteps: measured });
  await writeConfig(run.dir, settled);
  run.note(`A step takes ${(ms / 1000).toFixed(2)} s: ${minutes} minutes come to ${measured} steps`);
  return { resolved: settled, totalSteps: measured };
}

/** The user's part of a configuration: what was not derived, so that the rest can be derived again for the length that was measured. */
function saidByUser({ config, reasons }: ResolvedConfig): UserConfig {
  const assignments = flatten(config).filter(([key, value]) => reasons[key] === SET_BY_YOU && value !== null);
  return mergeConfigs(...assignments.map(([key, value]) => setKey(key, value, "config.json")), { data: { path: config.data.path } });
}
