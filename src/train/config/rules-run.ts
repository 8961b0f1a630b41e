/** @file Rules of the run itself: batch and length. */
import type { CropsConfig } from "../../images/index.ts";
import { AS_BEFORE, because, type Because, type Chooser, published, SET_BY_YOU } from "./choose.ts";
import { largestBatch } from "./fit-memory.ts";
import { n } from "./learning-facts.ts";
import type { Sized } from "./memory.ts";
import { fedPrototypes } from "./rules-head.ts";
import type { MethodName, RunFacts, StageName, TrainLengthConfig, TrainSectionConfig, UserConfig } from "./types.ts";

/** Share of the machine's memory the profile plans for. */
export const MEMORY_SHARE = 0.6;
/** A run by default takes at least this many steps, however few the images. */
const LEAST_STEPS = 2000;
/** A Gram stage takes a fifth as many steps as the run before it (200,000 after 1 million), a high-resolution stage 8 % (8,000 after 100,000). */
const STAGE_LENGTHS = {
  gram: { share: 0.2, as: "a fifth, as DINOv3's refinement" },
  highres: { share: 0.08, as: "8 %, as DINOv3's satellite model" },
} as const;
const LEAST_STAGE_STEPS = 100;

export interface BatchContext {
  readonly facts: RunFacts;
  readonly method: MethodName;
  readonly stage: StageName;
  /** What the estimate of memory goes by; the batch is asked for. */
  readonly sized: Omit<Sized, "train">;
}

/** Images of a step as far as they are known before the head is: the user's, or what is wanted for crops of this size. */
export function intendedBatch({ train }: UserConfig, crops: Pick<CropsConfig, "globalSizePx">): number {
  return train?.batchSize === undefined ? batchFor(crops) : train.batchSize * (train.accumulate ?? 1);
}

function batchFor({ globalSizePx }: Pick<CropsConfig, "globalSizePx">): number {
  return globalSizePx <= 64 ? 128 : 64;
}

/** The batch of the run that a stage goes on from; half of it for larger crops, as DINOv3 has it, where that still feeds the prototypes. */
function stageBatch({ stage, facts, sized }: BatchContext): Because<number> | undefined {
  if (stage === "pretrain" || facts.parent === undefined) return undefined;
  const { batchSize, accumulate } = facts.parent.train;
  const before = batchSize * accumulate;
  const half = Math.floor(before / 2);
  if (stage === "gram" || half < 2) return because(before, AS_BEFORE);
  return fedPrototypes(2 * half, facts.images) < sized.head.prototypes
    ? because(before, `${AS_BEFORE}: fewer could not feed its ${n(sized.head.prototypes)} prototypes`)
    : because(half, `half of the ${before} before: the crops are larger`);
}

function wantedBatch(context: BatchContext): Because<number> {
  const { facts, sized } = context;
  const before = stageBatch(context);
  if (before !== undefined && before.value <= facts.images) return before;
  const { crops } = sized;
  const wanted = batchFor(crops);
  const why =
    wanted === 128
      ? because(128, `${crops.globalSizePx} px crops are cheap, and Sinkhorn-Knopp and KoLeo want many images a step`)
      : published(64, context.method);
  if (facts.images >= wanted) return why;
  return because(2 ** Math.floor(Math.log2(Math.max(1, facts.images))), `there are only ${n(facts.images)} images`);
}

function batchRule(context: BatchContext, options: { readonly wanted: Because<number>; readonly checkpointing: boolean }): Because<number> {
  const { facts } = context;
  const { wanted, checkpointing } = options;
  const sized = { ...context.sized, train: { batchSize: wanted.value, accumulate: 1, checkpointing } };
  const fits = largestBatch(sized, { from: wanted.value, bytes: MEMORY_SHARE * facts.memoryBytes });
  if (fits >= wanted.value) return wanted;
  const power = 2 ** Math.floor(Math.log2(Math.max(1, fits)));
  return because(power, `what fits in ${Math.round(100 * MEMORY_SHARE)} % of ${(facts.memoryBytes / 2 ** 30).toFixed(1)} GB of memory`);
}

function lengthRule(
  user: Partial<TrainLengthConfig>,
  options: { readonly context: BatchContext; readonly stepsPerEpoch: number },
): { readonly [K in keyof TrainLengthConfig]: Because<number | null> } {
  const { context, stepsPerEpoch } = options;
  const { facts, stage, method } = context;
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
  const ofStage = epochs === null ? stageSteps(stage, facts.parentSteps) : undefined;
  if (ofStage !== undefined) return { epochs: not("steps"), steps: ofStage, minutes: not("steps") };
  const least = Math.ceil(LEAST_STEPS / stepsPerEpoch);
  const usual =
    least <= 100
      ? published(100, method)
      : because(least, `${n(facts.images)} images make ${stepsPerEpoch} steps an epoch; this comes to ${n(least * stepsPerEpoch)} steps`);
  return {
    epochs: epochs === null ? usual : because(epochs, SET_BY_YOU),
    steps: not("epochs"),
    minutes: not("epochs"),
  };
}

/** The length of a later stage, where the one of the run before is known. */
function stageSteps(stage: StageName, parentSteps: number | undefined): Because<number> | undefined {
  if (stage === "pretrain" || parentSteps === undefined) return undefined;
  const { share, as } = STAGE_LENGTHS[stage];
  const steps = Math.max(LEAST_STAGE_STEPS, Math.round(share * parentSteps));
  return because(steps, `${as}, of the ${n(parentSteps)} steps before, at least ${LEAST_STAGE_STEPS}`);
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
    context,
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
