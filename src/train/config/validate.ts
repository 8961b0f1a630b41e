/** @file What no single key can tell: values that contradict each other, the data or the patch grid. */
import { ConfigError } from "../../core/index.ts";
import { assertFitsMemory } from "./fit-memory.ts";
import type { RunFacts, TrainConfig } from "./types.ts";
import { checkGram } from "./validate-gram.ts";
import { checkLearning } from "./validate-learning.ts";
import { checkMask } from "./validate-mask.ts";
import { checkNetwork } from "./validate-network.ts";
import { checkSameNetwork } from "./validate-stage.ts";

function checkBatch({ train }: TrainConfig, images: number): void {
  const total = train.batchSize * train.accumulate;
  if (total > images) {
    const sum =
      train.accumulate > 1
        ? `train.batchSize ${train.batchSize} x train.accumulate ${train.accumulate}`
        : `train.batchSize ${train.batchSize}`;
    throw new ConfigError(
      `Cannot use ${sum}: one step needs ${total} images and the data has ${images}; use ${images} or fewer, or add images`,
      {
        keyPath: "train.batchSize",
      },
    );
  }
  if (train.batchSize % train.groupSize !== 0)
    throw new ConfigError(
      `Cannot use train.groupSize ${train.groupSize}: a micro-batch of ${train.batchSize} does not divide into it; use ${train.batchSize} or a divisor`,
      {
        keyPath: "train.groupSize",
      },
    );
}

interface RunLength {
  readonly epochs: number;
  readonly totalSteps: number;
}

function checkLengths(config: TrainConfig, { epochs, totalSteps }: RunLength): void {
  const lengths = {
    "schedule.lrWarmupEpochs": config.schedule.lrWarmupEpochs,
    "objective.warmupTeacherTempEpochs": config.objective.warmupTeacherTempEpochs,
    "optim.freezeLastLayerEpochs": config.optim.freezeLastLayerEpochs,
  };
  for (const [keyPath, value] of Object.entries(lengths))
    if (value > epochs)
      throw new ConfigError(
        `Cannot use ${keyPath} ${value}: the run has ${Number(epochs.toPrecision(3))} epochs; shorten it or train longer`,
        { keyPath },
      );
  const steps = {
    "objective.gramWeightWarmupSteps": config.objective.gramWeightWarmupSteps,
    "init.headWarmupSteps": config.init.headWarmupSteps,
  };
  const copied = config.objective.gramWeight > 0 && config.stage === "pretrain" && config.gram.teacher === null && !config.gram.useEma;
  if (copied && config.gram.firstUpdateStep > totalSteps)
    throw new ConfigError(
      `Cannot use gram.firstUpdateStep ${config.gram.firstUpdateStep}: the run has ${totalSteps} steps and would never be anchored; make it earlier or train longer`,
      { keyPath: "gram.firstUpdateStep" },
    );
  for (const [keyPath, value] of Object.entries(steps))
    if (value > totalSteps)
      throw new ConfigError(`Cannot use ${keyPath} ${value}: the run has ${totalSteps} steps; shorten it or train longer`, { keyPath });
}

/** The least micro-batch that KoLeo allows. */
function withNeighbours(config: TrainConfig): TrainConfig {
  const { train, objective } = config;
  return objective.koleoWeight === 0 ? config : { ...config, train: { ...train, batchSize: Math.max(2, train.batchSize) } };
}

/** Throws ConfigError for a configuration whose values do not go together, or not with the run that a stage goes on from. */
export function checkConsistent(config: TrainConfig, { facts, ...length }: RunLength & { readonly facts: RunFacts }): void {
  const { parent } = facts;
  if (config.stage !== "pretrain" && parent !== undefined) checkSameNetwork(config, parent);
  checkNetwork(config);
  checkBatch(config, facts.images);
  // larger crops than the machine can hold have no batch that the rest could be checked with
  if (config.crops.sizes.length > 0) assertFitsMemory(withNeighbours(config), facts.memoryBytes);
  checkLearning(config);
  checkMask(config);
  checkGram(config, parent);
  // before a run in minutes knows its steps its epochs are a guess
  if (config.train.minutes === null || config.train.steps !== null) checkLengths(config, length);
}
