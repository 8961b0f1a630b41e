/** @file What a run computes with while it lasts: device, network and optimizer, crops. */
import { join } from "node:path";
import { FormatError, Rng } from "../../core/index.ts";
import { digestList } from "../../data/index.ts";
import { type Device, openCpu } from "../../engine/runtime/index.ts";
import { type CropPool, openCropPool } from "../../images/node/index.ts";
import type { TrainConfig } from "../config/index.ts";
import { type CheckpointState, findLatestCheckpoint, type FoundCheckpoint, rewindCheckpoints } from "../run/index.ts";
import { Stepper, type StepperOptions } from "../stepper.ts";
import { methodOf, variantsOf } from "./method-config.ts";
import { cropsOf } from "./variants.ts";
import { optimizerOf } from "./scalars.ts";
import { loadFrozenTeacher } from "./frozen-teacher.ts";
import { loadGramTeacher } from "./gram-teacher.ts";
import { continueRun, loadInit } from "./init-weights.ts";
import { isLaterStage, openingNotes } from "./notes.ts";
import { runtimeName } from "./prepare.ts";
import { hasFrozen, readFrozen, readState, readStepCounts, writeFrozen } from "./run-state.ts";
import type { Run } from "./run.ts";

export interface Session {
  readonly device: Device;
  /** Device and machine kind, as checkpoints name it. */
  readonly runtime: string;
  readonly stepper: Stepper;
  readonly pool: CropPool;
  readonly rng: Rng;
  /** Finished steps, and the minutes they took. */
  readonly startStep: number;
  readonly minutesBefore: number;
}

/** The compiled step of a configuration. */
export function openStepper(config: TrainConfig, device: Device, stepCounts?: StepperOptions["stepCounts"]): Stepper {
  const { optim, train } = config;
  return new Stepper({
    method: methodOf(config),
    variants: variantsOf(config),
    device,
    optimizer: optimizerOf(config),
    layerDecay: optim.layerDecay,
    patchEmbedLrScale: optim.patchEmbedLrScale,
    decayRule: optim.decayRule,
    checkpointing: train.checkpointing,
    freezeBy: config.method === "dinov2" || config.method === "dinov3" ? "rate" : "gradient",
    threads: train.threads,
    ...(stepCounts === undefined ? {} : { stepCounts }),
  });
}

/** The workers that make a configuration's crops. */
export function openCrops(config: TrainConfig): CropPool {
  const { decode, alpha, workers, cacheMb } = config.data;
  const { seed, augment } = config;
  const [crops, ...variants] = cropsOf(config);
  return openCropPool({ threads: Math.max(1, workers), seed, crops, variants, augment, decode, alpha, cacheBytes: cacheMb * 1e6 });
}

/** Throws FormatError when `data.jsonl` is not the list the checkpoint was made with: the order of the images would be another one. */
function checkSameList({ dir, list }: Run, { state }: FoundCheckpoint): void {
  if (state.dataDigest === digestList(list)) return;
  const file = join(dir, "data.jsonl");
  throw new FormatError(
    `Cannot resume "${dir}": data.jsonl has ${list.entries.length} images and is not the list of checkpoint ${state.step}; put the file back from a copy, or start a new run with --init`,
    { file },
  );
}

/** Puts the weights that a new run begins with in place. */
async function begin(run: Run, stepper: Stepper): Promise<void> {
  const { resolved, parent, note } = run;
  const { init } = resolved.config;
  for (const line of openingNotes(run)) note(line);
  if (parent !== undefined && isLaterStage(run)) await continueRun(stepper, parent);
  else if (init.from !== null) await loadInit(stepper, init.from, { allowPartial: init.allowPartial, note });
  await loadGramTeacher(stepper, resolved.config);
}

/** Puts all numbers in place: those of the checkpoint where the run goes on, else those that it begins with. */
async function fill(
  stepper: Stepper,
  { run, found, rng }: { readonly run: Run; readonly found: FoundCheckpoint | undefined; readonly rng: Rng },
): Promise<void> {
  const { dir, resolved } = run;
  // the run keeps the frozen teacher that it began with: the run that it comes from may go on
  if (found !== undefined && (await hasFrozen(dir, stepper))) await readFrozen(dir, stepper);
  else {
    await loadFrozenTeacher(stepper, resolved.config.distill);
    await writeFrozen(dir, stepper);
  }
  if (found !== undefined) return await readState(found.dir, stepper);
  stepper.init(rng.split("init"));
  await begin(run, stepper);
}

/** Opens everything, at the last whole checkpoint where the run goes on, and closes it after `use`. */
export async function withSession<T>(run: Run, use: (session: Session) => Promise<T>): Promise<T> {
  const { dir, options, note } = run;
  const { config } = run.resolved;
  const found = options.resume === true ? await findLatestCheckpoint(dir, { onNotice: note }) : undefined;
  if (found !== undefined) checkSameList(run, found);
  const { step: startStep = 0, minutes: minutesBefore = 0 }: Partial<CheckpointState> = found?.state ?? {};
  await rewindCheckpoints(dir, startStep);
  using device = openCpu({ threads: config.train.threads });
  const runtime = runtimeName(device.name);
  if (found !== undefined && (found.state.runtime !== runtime || found.state.threads !== config.train.threads))
    note(`Results may differ in their last bits: the run was made with ${found.state.runtime}, ${found.state.threads} threads`);
  const before = found ?? (isLaterStage(run) ? run.parent?.last : undefined);
  const counts = before === undefined ? undefined : await readStepCounts(before.dir, methodOf(config));
  await using stepper = openStepper(config, device, counts);
  const rng = new Rng(config.seed);
  await fill(stepper, { run, found, rng });
  await using pool = openCrops(config);
  return await use({ device, runtime, stepper, pool, rng, startStep, minutesBefore });
}
