/** @file Looks at the teacher along a run: pictures for the report, k-NN of images and of patches, and the best teacher so far. */
import type { Loader } from "../../data/index.ts";
import type { ResolvedConfig } from "../config/index.ts";
import { type MetricsLog, readMetrics, type TensorboardWriter } from "../run/index.ts";
import type { Keeper } from "./keeper.ts";
import type { Probe } from "./probe.ts";
import type { Run } from "./run.ts";
import type { Session } from "./session.ts";

/** What a look needs of the loop. */
export interface LookContext {
  readonly run: Run;
  readonly session: Session;
  readonly resolved: ResolvedConfig;
  readonly totalSteps: number;
  readonly loader: Loader;
  readonly keeper: Keeper;
  readonly probe: Probe;
  readonly metrics: MetricsLog;
  readonly board: TensorboardWriter | undefined;
}

/** Looks at the teacher where it is time. */
export async function look(context: LookContext, step: number): Promise<void> {
  const { run, resolved, totalSteps, loader, probe } = context;
  const { log, knn, dense } = resolved.config;
  const isDue = (every: number): boolean => every > 0 && (step % every === 0 || step === totalSteps);
  const isDueInEpochs = (epochs: number): boolean => isDue(Math.max(1, Math.round(epochs * loader.stepsPerEpoch)));
  const pictures = isDue(log.imagesEverySteps);
  if (pictures) await probe.snapshot(step, run.options.signal);
  const score = dense.train !== null && isDueInEpochs(dense.everyEpochs);
  if (pictures || score) await lookAtPatches(context, step, score);
  if (knn.train !== null && isDueInEpochs(knn.everyEpochs)) await classify(context, step);
}

/** Dense features: monitors, and patch k-NN where there are masks. */
async function lookAtPatches({ run, probe, metrics, board }: LookContext, step: number, score: boolean): Promise<void> {
  const { facts, alarms } = await probe.dense(step, { score, signal: run.options.signal });
  metrics.append({ step, ...facts });
  board?.scalars(step, Object.fromEntries(Object.entries(facts).filter((e): e is [string, number] => e[1] !== undefined)));
  const top1 = facts["dense.patchTop1"];
  if (top1 !== undefined) run.note(`Patch k-NN after step ${step}: ${percent(top1)} of patches`);
  for (const { text } of alarms) sound({ run, probe }, step, text);
}

/** An alarm, for the terminal and the log now, and for the report. */
export function sound({ run, probe }: Pick<LookContext, "run" | "probe">, step: number, text: string): void {
  run.note(`ALARM at step ${step}: ${text}`);
  probe.alarm(`Step ${step}: ${text}`);
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** k-NN of labelled images. */
async function classify({ run, resolved, keeper, probe, metrics, board }: LookContext, step: number): Promise<void> {
  const scores = await probe.knn(run.options.signal);
  const facts = Object.fromEntries(scores.map(([name, top1], i) => [i === 0 ? "knnTop1" : `knnTop1.${name}`, top1]));
  metrics.append({ step, ...facts });
  board?.scalars(step, facts);
  const told = scores.map(([name, top1]) => (scores.length === 1 ? percent(top1) : `${name} ${percent(top1)}`));
  run.note(`k-NN top-1 after step ${step}: ${told.join(", ")}`);
  const first = scores[0]?.[1] ?? NaN;
  await keeper.score(step, first);
  await guard({ run, resolved, probe }, step, first);
}

/** A fall of k-NN by so much below that of the given weights is a loss, not noise. */
const GUARD_POINTS = 0.02;

/** Continued pretraining is to make given features better: says so where they are worse than at the start. */
async function guard({ run, resolved, probe }: Pick<LookContext, "run" | "resolved" | "probe">, step: number, top1: number): Promise<void> {
  if (step === 0 || resolved.config.init.from === null) return;
  const start = (await readMetrics(run.dir)).find((line) => line.step === 0 && typeof line["knnTop1"] === "number")?.["knnTop1"];
  if (typeof start !== "number" || top1 >= start - GUARD_POINTS) return;
  const text = `k-NN fell from ${percent(start)} with the given weights to ${percent(top1)}: training breaks what they know; lower optim.lr, make init.headWarmupSteps longer, or set init.loraRank=8`;
  sound({ run, probe }, step, text);
}

/** What the network showed before its first step, seen after that step, so that nobody waits for it. */
export async function lookAtStart(context: LookContext, start: Float32Array): Promise<void> {
  const { data } = context.session.stepper.flats.teacher;
  const now = data.slice();
  data.set(start);
  try {
    await look(context, 0);
  } finally {
    data.set(now);
  }
}
