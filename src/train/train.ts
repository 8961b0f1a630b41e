/** @file `train()`: a run from its first look at the images to its exported teacher. */
import { mkdir } from "node:fs/promises";
import { ConfigError } from "../core/index.ts";
import { assertFitsMemory, estimateRunBytes, parseUserConfig, type UserConfig } from "./config/index.ts";
import { dryRun, printConfig } from "./loop/preview.ts";
import { replayDump } from "./loop/replay.ts";
import { prepareNew, prepareResume, type RunOptions } from "./loop/run.ts";
import { runSteps } from "./loop/run-steps.ts";
import { withSession } from "./loop/session.ts";
import { usableMemory } from "./loop/usable-memory.ts";
import { assertDiskRoom, openTrainLog, RunLock } from "./run/index.ts";

export interface TrainOptions extends RunOptions {
  /** What decides the run; everything left out is chosen from the data and the machine. */
  readonly config?: UserConfig;
  /** The run folder. */
  readonly out?: string | undefined;
  /** Resolve the configuration, give it back as `text`, and stop. */
  readonly printConfig?: boolean;
  /** Measure a step, estimate memory and disk, draw the crops, and stop. */
  readonly dryRun?: boolean;
  /** Run the step of this dump again, and nothing else. */
  readonly replay?: string | undefined;
}

/** What is left of a run; with `printConfig`, `dryRun` and `replay` what was asked for, as `text` and as values. */
export interface TrainResult {
  readonly out?: string;
  readonly steps?: number;
  readonly loss?: number;
  /** Of all parts of a run that was stopped and went on. */
  readonly minutes?: number;
  /** The Hugging Face folder of the teacher. */
  readonly exported?: string;
  /** The folder of each student, where a distillation has several; the first one's is `exported`, too. */
  readonly students?: Readonly<Record<string, string>>;
  readonly failedImages?: number;
  /** Share of the time of the steps that was spent waiting for images. */
  readonly waitShare?: number;
  readonly text?: string;
  /** With `replay`: whether the step ended as it did in the run. */
  readonly reproduced?: boolean;
  /** With `dryRun`: the picture of the crops. */
  readonly contactSheet?: string;
}

/** Trains a DINO vision transformer. An abort by `signal` saves the last whole step and gives back what is there. */
export async function train(options: TrainOptions): Promise<TrainResult> {
  const { out } = options;
  if (options.replay !== undefined) return await replayDump(options.replay, options);
  const user = parseUserConfig(options.config ?? {});
  if (options.printConfig === true) return { text: await printConfig(user, options) };
  if (options.dryRun === true) return await dryRun(user, options);
  if (out === undefined) throw new ConfigError("Cannot train: there is no run folder; give --out", { keyPath: "out" });
  await mkdir(out, { recursive: true });
  await using lock = await RunLock.acquire(out);
  void lock;
  const write = openTrainLog(out);
  const note = (line: string): void => {
    write(line);
    options.onNotice?.(line);
  };
  const run = await (options.resume === true ? prepareResume : prepareNew)(out, user, { options, note });
  const { config } = run.resolved;
  assertFitsMemory(config, usableMemory());
  await assertDiskRoom(out, estimateRunBytes(config));
  return { out, ...(await withSession(run, (session) => runSteps(run, session))) };
}
