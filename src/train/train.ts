/** @file `train()`: a run from its first look at the images to its exported teacher. */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError, type JobOptions, Rng } from "../core/index.ts";
import { compareLists, type DataList, describeChanges, digestList, freezeList, listData, Loader, readFrozenList } from "../data/index.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { openCropPool } from "../images/node/index.ts";
import { dinoSpecs } from "../methods/index.ts";
import { readSafetensors } from "../weights/index.ts";
import {
  assertFitsMemory,
  diffForResume,
  estimateCheckpointBytes,
  estimateMemory,
  formatConfig,
  parseUserConfig,
  planSteps,
  type ResolvedConfig,
  resolveConfig,
  type UserConfig,
} from "./config/index.ts";
import { dinoConfigOf, optimizerOf, scheduleScalars } from "./loop/dino-config.ts";
import { exportTeacher } from "./loop/export.ts";
import { gatherFacts, readConfig, runtimeName, writeConfig } from "./loop/prepare.ts";
import { listMismatches, readState, readStepCounts, writeState } from "./loop/run-state.ts";
import { Probe } from "./loop/probe.ts";
import { Watch } from "./loop/watch.ts";
import {
  assertDiskRoom,
  findLatestCheckpoint,
  findNotFinite,
  MetricsLog,
  openTrainLog,
  pruneCheckpoints,
  rewindCheckpoints,
  RunLock,
  TensorboardWriter,
  writeCheckpoint,
  writeDump,
  writeMilestone,
} from "./run/index.ts";
import { Stepper } from "./stepper.ts";

export interface TrainOptions extends JobOptions {
  /** What decides the run; everything left out is chosen from the data and the machine. */
  readonly config?: UserConfig;
  /** The run folder. */
  readonly out?: string | undefined;
  readonly resume?: boolean;
  readonly overwrite?: boolean;
  readonly acceptDataChange?: boolean;
  /** Weights to begin with: `.safetensors` with our names, or a run folder. */
  readonly init?: string | undefined;
  readonly allowPartial?: boolean;
  readonly skipBroken?: boolean;
  /** Resolve the configuration, give it back as `text`, and stop. */
  readonly printConfig?: boolean;
  /** Estimate memory and disk and stop. */
  readonly dryRun?: boolean;
  readonly replay?: string | undefined;
}

export interface TrainResult {
  readonly out?: string;
  readonly steps?: number;
  readonly loss?: number;
  readonly minutes?: number;
  readonly exported?: string;
  readonly failedImages?: number;
  /** With `printConfig` and `dryRun`. */
  readonly text?: string;
}

interface Run {
  readonly dir: string;
  readonly list: DataList;
  readonly resolved: ResolvedConfig;
  readonly options: TrainOptions;
  readonly note: (line: string) => void;
}

/** Trains a DINO vision transformer. An abort by `signal` saves the last whole step and gives back what is there. */
export async function train(options: TrainOptions): Promise<TrainResult> {
  const user = parseUserConfig(options.config ?? {});
  if (options.printConfig === true || options.dryRun === true) return preview(user, options);
  const { out } = options;
  if (out === undefined) throw new ConfigError("Cannot train: there is no run folder; give --out", { keyPath: "out" });
  await mkdir(out, { recursive: true });
  await using lock = await RunLock.acquire(out);
  void lock;
  const write = openTrainLog(out);
  const note = (line: string): void => {
    write(line);
    options.onNotice?.(line);
  };
  const run = options.resume === true ? await prepareResume(out, user, options, note) : await prepareNew(out, user, options, note);
  assertFitsMemory(run.resolved.config, (await gatherFacts(run.list, run.resolved.config.data)).memoryBytes);
  await assertDiskRoom(out, estimateCheckpointBytes(run.resolved.config) * (run.resolved.config.checkpoint.keepLast + 1));
  return runSteps(run);
}

async function preview(user: UserConfig, options: TrainOptions): Promise<TrainResult> {
  const list = await listData(user.data?.path ?? "", options);
  const resolved = resolveConfig(
    user,
    await gatherFacts(list, { decode: user.data?.decode ?? "managed", alpha: user.data?.alpha ?? "drop" }),
  );
  if (options.printConfig === true) return { text: formatConfig(resolved) };
  const memory = estimateMemory(resolved.config);
  return {
    text: JSON.stringify({ images: list.entries.length, memory, checkpointBytes: estimateCheckpointBytes(resolved.config) }, null, 2),
  };
}

async function prepareNew(dir: string, user: UserConfig, options: TrainOptions, note: Run["note"]): Promise<Run> {
  const there = (await readdir(dir)).filter((name) => name !== "run.lock" && !name.startsWith(".") && name !== "train.log");
  if (there.length > 0 && options.overwrite !== true)
    throw new ConfigError(`Cannot start a run in "${dir}": there is one already; use --resume, --overwrite or another --out`, {
      keyPath: "out",
    });
  for (const name of there) await rm(join(dir, name), { recursive: true, force: true });
  const list = await listData(user.data?.path ?? "", { ...options, onNotice: note });
  const facts = await gatherFacts(list, { decode: user.data?.decode ?? "managed", alpha: user.data?.alpha ?? "drop" });
  const resolved = resolveConfig(user, facts);
  await freezeList(dir, list);
  await writeConfig(dir, resolved);
  return { dir, list, resolved, options, note };
}

async function prepareResume(dir: string, user: UserConfig, options: TrainOptions, note: Run["note"]): Promise<Run> {
  const saved = await readConfig(dir);
  const { config, changes } = diffForResume(saved.config, user);
  for (const { keyPath, from, to, note: why } of changes)
    note(`Changed: ${keyPath} ${JSON.stringify(from)} to ${JSON.stringify(to)} (${why})`);
  const list = await readFrozenList(dir);
  const differs = describeChanges(compareLists(list, await listData(config.data.path, options)));
  if (differs !== undefined && options.acceptDataChange !== true)
    throw new ConfigError(
      `Cannot resume "${dir}": the images changed since the run began: ${differs}; put them back, or go on without the new ones by --accept-data-change`,
      { keyPath: "data.path" },
    );
  if (differs !== undefined) note(`The images changed since the run began: ${differs}; the run goes on with its own list`);
  return { dir, list, resolved: { config, reasons: saved.reasons }, options, note };
}

/** Steps that are timed before a run in minutes fixes its length; the first one is left out. */
const TIMED_STEPS = 4;

async function runSteps(run: Run): Promise<TrainResult> {
  const { dir, list, options, note } = run;
  const { signal, onProgress } = options;
  let { resolved } = run;
  const started = performance.now();
  const found = options.resume === true ? await findLatestCheckpoint(dir, { onNotice: note }) : undefined;
  let step = found?.state.step ?? 0;
  await rewindCheckpoints(dir, step);
  const { config } = resolved;
  using device = openCpu({ threads: config.train.threads });
  const runtime = runtimeName(device.name);
  if (found !== undefined && (found.state.runtime !== runtime || found.state.threads !== config.train.threads))
    note(`Results may differ in their last bits: the run was made with ${found.state.runtime}, ${found.state.threads} threads`);
  const dino = dinoConfigOf(config);
  const { layerDecay, patchEmbedLrScale } = config.optim;
  const open = (stepCounts?: Readonly<Record<string, number>>): Stepper =>
    new Stepper({
      config: dino,
      device,
      optimizer: optimizerOf(config),
      layerDecay,
      patchEmbedLrScale,
      checkpointing: config.train.checkpointing,
      threads: config.train.threads,
      ...(stepCounts === undefined ? {} : { stepCounts }),
    });
  await using stepper = open(found === undefined ? undefined : await readStepCounts(found.dir, dinoSpecs(dino)));
  const rng = new Rng(config.seed);
  if (found !== undefined) await readState(found.dir, stepper);
  else {
    stepper.init(rng.split("init"));
    if (options.init !== undefined) await loadInit(stepper, options.init, { allowPartial: options.allowPartial ?? false, note });
  }
  const { crops, augment, data } = config;
  await using pool = openCropPool({
    threads: Math.max(1, data.workers),
    seed: config.seed,
    crops,
    augment,
    decode: data.decode,
    alpha: data.alpha,
    cacheBytes: data.cacheMb * 1e6,
  });
  const loader = new Loader({
    list,
    pool,
    seed: config.seed,
    batchSize: dino.batchSize,
    startStep: step,
    ahead: 2,
    skipBroken: options.skipBroken ?? true,
    onFailed: (f) => note(`Left out: ${f.reason}`),
  });
  const { stepsPerEpoch } = loader;
  let totalSteps = planSteps(config, list.entries.length).totalSteps;
  let scalarsAt = totalSteps === undefined ? undefined : scheduleScalars(config, { stepsPerEpoch, totalSteps });
  if (totalSteps === undefined) {
    const ms = await measureStep(stepper, loader, { rng, signal });
    totalSteps = Math.max(TIMED_STEPS, Math.round(((config.train.minutes ?? 1) * 60_000) / ms));
    resolved = resolveConfig(
      { ...(config as UserConfig), train: { ...config.train, epochs: null, steps: totalSteps, minutes: null } },
      await gatherFacts(list, data),
    );
    scalarsAt = scheduleScalars(resolved.config, { stepsPerEpoch, totalSteps });
    await writeConfig(dir, resolved);
    note(`A step takes ${(ms / 1000).toFixed(2)} s: ${config.train.minutes ?? 0} minutes come to ${totalSteps} steps`);
  }
  using metrics = MetricsLog.open(dir, { step });
  const watch = new Watch(resolved.config, totalSteps);
  const board = config.log.tensorboard ? await TensorboardWriter.open(dir, { step }) : undefined;
  await using probe = new Probe({ dir, list, resolved, stepper, device });
  const knnEvery = config.knn.train === null ? 0 : Math.max(1, Math.round(config.knn.everyEpochs * stepsPerEpoch));
  const look = async (): Promise<void> => {
    if (config.log.imagesEverySteps > 0 && (step % config.log.imagesEverySteps === 0 || step === totalSteps)) await probe.snapshot(step);
    if (knnEvery > 0 && (step % knnEvery === 0 || step === totalSteps)) metrics.append({ step, knnTop1: await probe.knn(signal) });
  };
  const dataDigest = digestList(list);
  let saved = found === undefined ? -1 : step;
  let lastLoss = NaN;
  const checkpointState = (): Parameters<typeof writeCheckpoint>[1] => ({
    step,
    epoch: Math.floor(step / stepsPerEpoch),
    sampleCursor: step * dino.batchSize,
    seed: config.seed,
    threads: config.train.threads,
    runtime,
    dataDigest,
  });
  const save = async (): Promise<void> => {
    if (saved === step) return;
    metrics.sync();
    await writeCheckpoint(dir, checkpointState(), (into) => writeState(into, stepper));
    await pruneCheckpoints(dir, config.checkpoint.keepLast);
    saved = step;
  };
  const milestones = new Map(config.checkpoint.milestones.map((share) => [Math.max(1, Math.round(share * (totalSteps ?? 1))), share]));
  try {
    if (step === 0) await look();
    while (step < totalSteps && signal?.aborted !== true) {
      const batch = await loader.next();
      const scalars = scalarsAt?.(step);
      if (scalars === undefined) break;
      const before = performance.now();
      const result = await stepper.step({ ...batch, step, rng, scalars, signal });
      if (!result.optimizer.applied || !Number.isFinite(result.loss)) {
        const at = await dumpStep(run, stepper, {
          step,
          epoch: loader.epochOf(step),
          sampleIds: [...batch.sampleIds],
          scalars,
          loss: result.loss,
          bad: result.optimizer.nonFinite,
        });
        throw new ConfigError(
          `Cannot go on training: step ${step + 1} gave ${result.loss} (${result.optimizer.nonFinite.slice(0, 3).join(", ") || "the loss"} is not finite); the step is in "${at}"; lower optim.lr and start again`,
          { keyPath: "optim.lr" },
        );
      }
      loader.recycle(batch);
      step++;
      lastLoss = result.loss;
      const { line, alarms } = watch.read(step, result, { scalars, ms: performance.now() - before, loader, stepsPerEpoch });
      if (step % config.log.everySteps === 0 || step === 1 || step === totalSteps) metrics.append(line);
      for (const alarm of alarms) {
        note(`ALARM at step ${step}: ${alarm.text}`);
        probe.alarm(`Step ${step}: ${alarm.text}`);
      }
      if (board !== undefined)
        board.scalars(
          step,
          Object.fromEntries(Object.entries(line).filter((e): e is [string, number] => typeof e[1] === "number" && e[0] !== "step")),
        );
      onProgress?.({
        what: "training",
        done: step,
        total: totalSteps,
        unit: "steps",
        detail: `loss ${result.loss.toFixed(3)} · ${Number(line["imagesPerSecond"]).toFixed(1)} images/s`,
      });
      const share = milestones.get(step);
      if (share !== undefined)
        await writeMilestone(dir, { share, state: checkpointState() }, (into) => writeState(into, stepper, "teacher"));
      await look();
      if (step % config.checkpoint.everySteps === 0) await save();
    }
  } catch (error) {
    if (signal?.aborted !== true) throw error;
  } finally {
    await loader.drain();
  }
  await save();
  const done = step >= totalSteps;
  if (!done) note(`Stopped after step ${step} of ${totalSteps}; go on with --resume`);
  const exported = await exportTeacher(dir, stepper, { config: resolved.config, step, images: list.entries.length });
  await probe.report([
    ["Model", config.model.arch],
    ["Steps", `${step} of ${totalSteps}`],
    ["Images", String(list.entries.length)],
    ["Images a step", String(dino.batchSize)],
    ["Minutes", ((performance.now() - started) / 60_000).toFixed(1)],
    ["Broken images", String(loader.failed.length)],
  ]);
  return {
    out: dir,
    steps: step,
    loss: lastLoss,
    minutes: (performance.now() - started) / 60_000,
    exported,
    failedImages: loader.failed.length,
  };
}

/** ms a step with its pictures takes; run with a learning rate and a decay of 0 and a teacher that stays, so nothing is changed. */
async function measureStep(
  stepper: Stepper,
  loader: Loader,
  { rng, signal }: { readonly rng: Rng; readonly signal: AbortSignal | undefined },
): Promise<number> {
  const scalars = { lr: 0, weightDecay: 0, emaMomentum: 1, teacherTemp: 0.04, clip: { kind: "none" }, freezeLastLayer: false } as const;
  const batch = await loader.load(0);
  let started = 0;
  for (let i = 0; i <= TIMED_STEPS; i++) {
    if (i === 1) started = performance.now();
    const [next] = await Promise.all([loader.load(i), stepper.measure({ ...batch, step: 0, rng, scalars, signal })]);
    loader.recycle(next);
  }
  return (performance.now() - started) / TIMED_STEPS;
}

async function dumpStep(
  run: Run,
  stepper: Stepper,
  at: {
    readonly step: number;
    readonly epoch: number;
    readonly sampleIds: readonly number[];
    readonly scalars: object;
    readonly loss: number;
    readonly bad: readonly string[];
  },
): Promise<string> {
  const { config } = run.resolved;
  const scalars = Object.fromEntries(Object.entries(at.scalars).filter((e): e is [string, number] => typeof e[1] === "number"));
  const offending = findNotFinite(at.bad.map((name) => [name, stepper.flats.grads.view(name)] as const));
  return writeDump(
    run.dir,
    {
      step: at.step + 1,
      epoch: at.epoch,
      seed: config.seed,
      reason: `the loss is ${at.loss}`,
      offending,
      sampleIds: at.sampleIds,
      paths: at.sampleIds.map((id) => run.list.entries[id]?.path ?? ""),
      scalars,
      config,
    },
    (into) => writeState(into, stepper),
  );
}

/** Begins with given weights: student and teacher alike. */
async function loadInit(
  stepper: Stepper,
  from: string,
  { allowPartial, note }: { readonly allowPartial: boolean; readonly note: Run["note"] },
): Promise<void> {
  const file = from.endsWith(".safetensors") ? from : join((await findLatestCheckpoint(from))?.dir ?? from, "teacher.safetensors");
  const { tensors } = await readSafetensors(file);
  const wanted = new Map(stepper.specs.map((s) => [s.name, s.shape] as const));
  const mismatches = listMismatches(tensors, wanted);
  if (mismatches.length > 0 && !allowPartial)
    throw new ConfigError(
      `Cannot begin with "${file}": ${mismatches.join("; ")}; choose the model of those weights, or take what fits by --allow-partial`,
      { keyPath: "init" },
    );
  let used = 0;
  for (const { name, data } of stepper.specs.map((s) => ({ name: s.name, data: stepper.flats.params.view(s.name) }))) {
    const given = tensors.get(name);
    if (!(given?.data instanceof Float32Array) || given.data.length !== data.length) continue;
    data.set(given.data);
    stepper.flats.teacher.view(name).set(given.data);
    used++;
  }
  note(`Began with ${used} of ${stepper.specs.length} tensors of "${file}"`);
}
