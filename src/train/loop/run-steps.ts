/** @file The training loop: steps until the end or a stop, what is written after each, and what is left behind. */
import { join } from "node:path";
import { Loader } from "../../data/index.ts";
import type { FailedImage } from "../../images/node/index.ts";
import { MetricsLog, type MetricsLine, readMetrics, TensorboardWriter } from "../run/index.ts";
import type { StepScalars } from "../stepper.ts";
import { imagesOfStep, variantOfStep } from "./variants.ts";
import { scheduleScalars } from "./scalars.ts";
import { dumpStep, isNotFinite } from "./dump.ts";
import { isGramUpdateDue, renewGramTeacher } from "./gram-teacher.ts";
import { Keeper } from "./keeper.ts";
import { look, type LookContext, lookAtStart, sound } from "./looks.ts";
import { settleLength } from "./measure.ts";
import { accumulationNotes } from "./notes.ts";
import { Probe } from "./probe.ts";
import type { Run } from "./run.ts";
import type { Session } from "./session.ts";
import { Watch } from "./watch.ts";

export interface RunResult {
  readonly steps: number;
  readonly loss: number;
  /** Of all parts of a run that was stopped and went on. */
  readonly minutes: number;
  readonly exported: string;
  /** The folder of each student, where there are several; the first one's is `exported`, too. */
  readonly students?: Readonly<Record<string, string>>;
  readonly failedImages: number;
  /** Share of the time of the steps that was spent waiting for images. */
  readonly waitShare: number;
}

/** What the loop has at hand: everything here lives as long as the run. */
interface Bench extends LookContext {
  readonly watch: Watch;
}

/** Where the loop stands. */
interface Standing {
  step: number;
  loss: number;
  stepMs: number;
}

/** Trains to the last step, or to where `signal` stops it: the unfinished step is dropped, the last whole one saved. */
export async function runSteps(run: Run, session: Session): Promise<RunResult> {
  const { config } = run.resolved;
  const started = performance.now();
  const openLoader = (endStep: number, onFailed?: (failed: FailedImage) => void): Loader =>
    new Loader({
      list: run.list,
      pool: session.pool,
      seed: config.seed,
      batchSize: imagesOfStep(config),
      startStep: session.startStep,
      endStep,
      ahead: 2,
      variantOf: (step) => variantOfStep(config, step),
      skipBroken: run.options.skipBroken ?? true,
      onFailed,
    });
  for (const line of accumulationNotes(config)) run.note(line);
  const { resolved, totalSteps } = await settleLength(run, session, openLoader(0));
  const loader = openLoader(totalSteps, ({ reason }) => run.note(`Left out: ${reason}`));
  using metrics = MetricsLog.open(run.dir, { step: session.startStep });
  const board = resolved.config.log.tensorboard ? TensorboardWriter.open(run.dir, { step: session.startStep }) : undefined;
  const minutes = (): number => session.minutesBefore + (performance.now() - started) / 60_000;
  const keeper = await Keeper.open({ run, session, resolved, stepsPerEpoch: loader.stepsPerEpoch, totalSteps, minutes });
  await using probe = new Probe({ dir: run.dir, list: run.list, resolved, stepper: session.stepper, device: session.device, totalSteps });
  const watch = new Watch(resolved.config, totalSteps);
  const bench: Bench = { run, session, resolved, totalSteps, loader, keeper, probe, watch, metrics, board };
  const at: Standing = { step: session.startStep, loss: await lastLoss(run.dir), stepMs: 0 };
  try {
    await loop(bench, at);
  } catch (error) {
    if (run.options.signal?.aborted !== true) throw error;
  } finally {
    await loader.drain();
  }
  return await finish(bench, at, minutes);
}

/** The loss of the last step so far; NaN where there is none. */
async function lastLoss(dir: string): Promise<number> {
  return Number((await readMetrics(dir)).findLast((line) => typeof line["loss"] === "number")?.["loss"] ?? NaN);
}

async function loop(bench: Bench, at: Standing): Promise<void> {
  const { run, session, resolved, totalSteps, loader, keeper, probe, metrics } = bench;
  const { signal } = run.options;
  const scalarsAt = scheduleScalars(resolved.config, { stepsPerEpoch: loader.stepsPerEpoch, totalSteps });
  let start = at.step === 0 ? session.stepper.flats.teacher.data.slice() : undefined;
  while (at.step < totalSteps && signal?.aborted !== true) {
    const before = performance.now();
    const batch = await loader.next();
    const scalars = scalarsAt(at.step);
    const result = await session.stepper.step({ ...batch, step: at.step, rng: session.rng, scalars, signal });
    if (isNotFinite(result)) throw await dumpStep(run, session, { step: at.step, batch, scalars, result, loader });
    loader.recycle(batch);
    const ms = performance.now() - before;
    at.step++;
    if (isGramUpdateDue(resolved.config, at.step)) renewGramTeacher(session.stepper);
    at.loss = result.loss;
    at.stepMs += ms;
    const { line, alarms } = bench.watch.read(at.step, result, { scalars, ms, loader, stepsPerEpoch: loader.stepsPerEpoch });
    record(bench, at.step, line);
    for (const { text } of alarms) sound({ run, probe }, at.step, text);
    report(bench, at.step, { line, scalars });
    if (start !== undefined) await lookAtStart(bench, start);
    start = undefined;
    await keeper.milestone(at.step);
    await look(bench, at.step);
    if (at.step % resolved.config.checkpoint.everySteps === 0) {
      metrics.sync();
      await keeper.save(at.step);
    }
  }
}

/** The step's line, in `metrics.jsonl` and for TensorBoard. */
function record({ resolved, totalSteps, metrics, board }: Bench, step: number, line: MetricsLine): void {
  if (step % resolved.config.log.everySteps === 0 || step === 1 || step === totalSteps) metrics.append(line);
  const numbers = Object.entries(line).filter((e): e is [string, number] => typeof e[1] === "number" && e[0] !== "step");
  board?.scalars(step, Object.fromEntries(numbers));
}

function report({ run, totalSteps }: Bench, step: number, now: { readonly line: MetricsLine; readonly scalars: StepScalars }): void {
  const { loss, imagesPerSecond } = now.line;
  run.options.onProgress?.({
    what: "training",
    done: step,
    total: totalSteps,
    unit: "steps",
    detail: `loss ${Number(loss).toFixed(3)} · ${Number(imagesPerSecond).toFixed(1)} images/s`,
  });
}

/** Saves the last whole step, the teacher and the report. */
async function finish(
  { run, resolved, totalSteps, loader, keeper, probe, metrics }: Bench,
  at: Standing,
  minutesSoFar: () => number,
): Promise<RunResult> {
  metrics.sync();
  await keeper.save(at.step);
  if (at.step < totalSteps) run.note(`Stopped after step ${at.step} of ${totalSteps}; go on with --resume`);
  const exported = await keeper.export(at.step);
  const minutes = minutesSoFar();
  const waitShare = at.stepMs > 0 ? loader.waitedMs / at.stepMs : 0;
  const { model, train } = resolved.config;
  const facts = [
    ["Model", model.arch],
    ["Steps", `${at.step} of ${totalSteps}`],
    ["Images", String(run.list.entries.length)],
    ["Images a step", String(train.batchSize * train.accumulate)],
    ["Minutes", minutes.toFixed(1)],
    ["Waiting for images", `${(100 * waitShare).toFixed(1)} %`],
    ["Broken images", String(loader.failed.length)],
  ] as const;
  await probe.report(facts, run.options.signal);
  const { students } = resolved.config.distill;
  const each = students.map(({ name }) => [name, join(run.dir, "exported", name, "last")] as const);
  return {
    steps: at.step,
    loss: at.loss,
    minutes,
    exported,
    ...(students.length > 1 ? { students: Object.fromEntries(each) } : {}),
    failedImages: loader.failed.length,
    waitShare,
  };
}
