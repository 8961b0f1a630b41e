/** @file Rules of the run itself: batch and length, data, checkpoints, logs, k-NN. */
import type { CropsConfig } from "../../images/index.ts";
import { because, type Because, type Chooser, published, SET_BY_YOU } from "./choose.ts";
import { largestBatch } from "./memory.ts";
import type {
  CheckpointConfig,
  DataConfig,
  HeadConfig,
  KnnConfig,
  LogConfig,
  ModelConfig,
  RunFacts,
  TrainLengthConfig,
  TrainSectionConfig,
  UserConfig,
} from "./types.ts";

/** Share of the machine's memory the profile plans for. */
const MEMORY_SHARE = 0.6;
/** A run by default takes at least this many steps, however few the images. */
const LEAST_STEPS = 2000;
const n = (value: number): string => value.toLocaleString("en-US");

export interface BatchContext {
  readonly facts: RunFacts;
  readonly model: ModelConfig;
  readonly crops: CropsConfig;
  readonly head: HeadConfig;
  readonly cacheMb: number;
}

/** Images of a step as far as they are known before the head is: the user's, or what is wanted for crops of this size. */
export function intendedBatch({ train }: UserConfig, crops: CropsConfig): number {
  return train?.batchSize === undefined ? batchFor(crops) : train.batchSize * (train.accumulate ?? 1);
}

function batchFor({ globalSizePx }: CropsConfig): number {
  return globalSizePx <= 64 ? 128 : 64;
}

function wantedBatch(context: BatchContext): Because<number> {
  const { facts, crops } = context;
  const wanted = batchFor(crops);
  const why =
    wanted === 128
      ? because(128, `${crops.globalSizePx} px crops are cheap, and Sinkhorn-Knopp and KoLeo want many images a step`)
      : published(64);
  if (facts.images >= wanted) return why;
  return because(2 ** Math.floor(Math.log2(Math.max(1, facts.images))), `there are only ${n(facts.images)} images`);
}

function batchRule(context: BatchContext, options: { readonly wanted: Because<number>; readonly checkpointing: boolean }): Because<number> {
  const { facts, model, crops, head, cacheMb } = context;
  const { wanted, checkpointing } = options;
  const sized = {
    model,
    crops,
    head,
    data: { cacheMb },
    train: { batchSize: wanted.value, accumulate: 1, checkpointing },
  };
  const fits = largestBatch(sized, { from: wanted.value, bytes: MEMORY_SHARE * facts.memoryBytes });
  if (fits >= wanted.value) return wanted;
  const power = 2 ** Math.floor(Math.log2(Math.max(1, fits)));
  return because(power, `what fits in ${Math.round(100 * MEMORY_SHARE)} % of ${(facts.memoryBytes / 2 ** 30).toFixed(1)} GB of memory`);
}

function lengthRule(
  user: Partial<TrainLengthConfig>,
  options: { readonly facts: RunFacts; readonly stepsPerEpoch: number },
): { readonly [K in keyof TrainLengthConfig]: Because<number | null> } {
  const { facts, stepsPerEpoch } = options;
  const { epochs = null, steps = null, minutes = null } = user;
  const not = (unit: string): Because<null> => because(null, `the length is given in ${unit}`);
  if (steps !== null) return { epochs: not("steps"), steps: because(steps, SET_BY_YOU), minutes: not("steps") };
  if (minutes !== null) {
    const measured = facts.measuredSteps;
    const inSteps =
      measured === undefined
        ? because(null, "settled once the speed is measured")
        : because(measured, `what ${minutes} minutes came to at the speed measured`);
    return { epochs: not("minutes"), steps: inSteps, minutes: because(minutes, SET_BY_YOU) };
  }
  const least = Math.ceil(LEAST_STEPS / stepsPerEpoch);
  const usual =
    least <= 100
      ? published(100)
      : because(least, `${n(facts.images)} images make ${stepsPerEpoch} steps an epoch; this comes to ${n(least * stepsPerEpoch)} steps`);
  return {
    epochs: epochs === null ? usual : because(epochs, SET_BY_YOU),
    steps: not("epochs"),
    minutes: not("epochs"),
  };
}

/** Optimizer steps in one pass over the data; the last, incomplete one is dropped. */
export function stepsInEpoch(images: number, totalBatch: number): number {
  return Math.max(1, Math.floor(images / totalBatch));
}

/** Settles batch, length and threads. */
export function settleTrain(
  choose: Chooser<TrainSectionConfig>,
  options: {
    readonly context: BatchContext;
    readonly length: Partial<TrainLengthConfig>;
    readonly reasons: Record<string, string>;
  },
): TrainSectionConfig {
  const { context, length, reasons } = options;
  const { facts } = context;
  const wanted = wantedBatch(context);
  const checkpointing = choose("checkpointing", () => because(false, "costs a second forward pass; saves memory when set"));
  const batchSize = choose("batchSize", () => batchRule(context, { wanted, checkpointing }));
  const accumulate = choose("accumulate", () =>
    choose.isSet("batchSize") || batchSize >= wanted.value
      ? because(1, "the whole batch fits in memory")
      : because(Math.floor(wanted.value / batchSize), `so that a step still sees ${wanted.value} images`),
  );
  const settled = lengthRule(length, {
    facts,
    stepsPerEpoch: stepsInEpoch(facts.images, batchSize * accumulate),
  });
  for (const key of ["epochs", "steps", "minutes"] as const) reasons[`train.${key}`] = settled[key].reason;
  return {
    epochs: settled.epochs.value,
    steps: settled.steps.value,
    minutes: settled.minutes.value,
    batchSize,
    accumulate,
    checkpointing,
    threads: choose("threads", () => because(facts.cores, "the machine's cores")),
    groupSize: choose("groupSize", () => because(batchSize, "one group for each micro-batch")),
  };
}

/** Settles where pictures come from and how they are read. */
export function settleData(choose: Chooser<DataConfig>, options: { readonly facts: RunFacts; readonly path: string }): DataConfig {
  const { facts, path } = options;
  const cacheMb = Math.min(1024, Math.floor((0.05 * facts.memoryBytes) / 2 ** 20));
  return {
    path: choose("path", () => because(path, "the data of this run")),
    decode: choose("decode", () => because("managed", "our own training: EXIF orientation and colour profiles are applied")),
    alpha: choose("alpha", () => because("white", "transparent pictures are laid on white")),
    workers: choose("workers", () => because(Math.min(8, facts.cores), "the machine's cores, at most 8: crops are made ahead of the step")),
    cacheMb: choose("cacheMb", () => because(cacheMb, "5 % of the memory, at most 1 GB")),
  };
}

/** A round number near `value` within bounds, so that step counts read well. */
function roundStep(value: number, least: number, most: number): number {
  const bounded = Math.min(most, Math.max(least, value));
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(bounded)) - 1);
  return Math.max(1, Math.round(bounded / unit) * unit);
}

/** Settles what is kept of the run. */
export function settleCheckpoint(choose: Chooser<CheckpointConfig>, totalSteps: number): CheckpointConfig {
  return {
    everySteps: choose("everySteps", () =>
      because(roundStep(totalSteps / 20, 50, 1000), "a twentieth of the run, 50 to 1,000 steps: what a power cut may cost"),
    ),
    keepLast: choose("keepLast", () => because(2, "the last one, and the one before in case it is damaged")),
    milestones: choose("milestones", () => because([0.1, 0.2, 0.5], "early teachers, which Gram anchoring needs")),
  };
}

/** Settles what is written down. */
export function settleLog(choose: Chooser<LogConfig>, totalSteps: number): LogConfig {
  return {
    everySteps: choose("everySteps", () => because(1, "metrics.jsonl has one line a step")),
    tensorboard: choose("tensorboard", () => because(false, "metrics.jsonl and report.html are always written")),
    imagesEverySteps: choose("imagesEverySteps", () =>
      because(roundStep(totalSteps / 8, 1, 100_000), "eight pictures of the features along the run"),
    ),
  };
}

/** Settles k-NN during training. */
export function settleKnn(choose: Chooser<KnnConfig>, epochs: number): KnnConfig {
  const train = choose("train", () => because(null, "no labelled images were given (--knn-data)"));
  return {
    train,
    test: choose("test", () => because(null, train === null ? "no labelled images were given" : "every fifth labelled image is held out")),
    everyEpochs: choose("everyEpochs", () => because(Number(Math.max(epochs / 10, 0.01).toPrecision(3)), "ten times along the run")),
    k: choose("k", () => because(20, "the best k of DINO's evaluation")),
    temperature: choose("temperature", () => published(0.07)),
  };
}
