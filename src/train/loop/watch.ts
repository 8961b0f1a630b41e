/** @file What a step is measured by: a line of metrics, and alarms. */
import type { Loader } from "../../data/index.ts";
import type { TrainConfig } from "../config/index.ts";
import { watchedConfig } from "./networks.ts";
import { type Alarm, CollapseMonitor } from "../alarms.ts";
import { effectiveRank, featureStd, klFromLoss } from "../monitors.ts";
import type { MetricsLine } from "../run/index.ts";
import type { StepResult, StepScalars } from "../stepper.ts";

/** Steps between two looks at the features: they cost an eigenvalue problem. */
const FEATURES_EVERY = 20;

/** Rows whose rank is measured at most. */
const MAX_ROWS = 128;

/** Turns steps into lines of metrics and alarms. */
export class Watch {
  readonly #monitor: CollapseMonitor;
  readonly #config: TrainConfig;

  constructor(config: TrainConfig, totalSteps: number) {
    this.#config = config;
    const prototypes = config.distill.objective === "features" ? Infinity : config.head.prototypes;
    this.#monitor = new CollapseMonitor({ prototypes, quietSteps: Math.min(100, Math.ceil(totalSteps / 5)) });
  }

  read(
    step: number,
    result: StepResult,
    {
      scalars,
      ms,
      loader,
      stepsPerEpoch,
    }: { readonly scalars: StepScalars; readonly ms: number; readonly loader: Pick<Loader, "waitedMs">; readonly stepsPerEpoch: number },
  ): { readonly line: MetricsLine; readonly alarms: readonly Alarm[] } {
    const { train, distill } = this.#config;
    const { width } = watchedConfig(this.#config).model;
    const crossEntropy = crossEntropyOf(result.parts, distill.students.length);
    const looks = step % FEATURES_EVERY === 0 || step === 1;
    const rows = Math.min(MAX_ROWS, result.features.length / width);
    const features = { data: result.features, rows, width };
    const rank = looks ? { featureStd: featureStd(features), effectiveRank: effectiveRank(features), fullRank: Math.min(rows, width) } : {};
    // without prototypes what is watched is the loss and the features
    const isPlain = !hasPrototypes(this.#config);
    const alarms = this.#monitor.read({
      step,
      ...(isPlain ? { crossEntropy: result.loss } : { crossEntropy, teacherEntropy: result.targetEntropy }),
      ...rank,
    });
    const line: MetricsLine = {
      step,
      epoch: step / stepsPerEpoch,
      loss: result.loss,
      ...result.parts,
      lr: scalars.lr,
      weightDecay: scalars.weightDecay,
      emaMomentum: scalars.emaMomentum,
      teacherTemp: scalars.teacherTemp,
      gradNorm: result.optimizer.globalNorm,
      ...(isPlain ? {} : this.#ofTeacher(result, crossEntropy)),
      ...rank,
      stepMs: Math.round(ms),
      imagesPerSecond: (1000 * train.batchSize * train.accumulate) / ms,
      waitedMs: Math.round(loader.waitedMs),
    };
    return { line, alarms: distill.objective === "features" ? alarms.map(forFeatures) : alarms };
  }

  /** What the teacher's distributions show, of crops and of masked patches. */
  #ofTeacher({ teacherEntropy, targetEntropy, watched, prototypes }: StepResult, crossEntropy: number): Omit<MetricsLine, "step"> {
    return {
      teacherEntropy,
      targetEntropy,
      ...watched,
      kl: klFromLoss(crossEntropy, targetEntropy),
      prototypeUsage: marginalOf(prototypes, this.#config.head.prototypes),
    };
  }
}

/** An alarm with what helps students of features: they have neither KoLeo nor centring. */
function forFeatures(alarm: Alarm): Alarm {
  if (alarm.name === "not-finite") return alarm;
  const seen = alarm.text.slice(0, alarm.text.lastIndexOf("; "));
  return { ...alarm, text: `${seen}; lower optim.lr, or take more images a step (train.batchSize)` };
}

/** Whether the teacher names prototypes. */
function hasPrototypes({ method, distill }: Pick<TrainConfig, "method" | "distill">): boolean {
  return distill.objective === "prototypes" && method !== "simclr";
}

/** DINO's loss: the shares of all resolution groups; of several students the mean. */
function crossEntropyOf(parts: StepResult["parts"], students: number): number {
  const shares = Object.entries(parts).filter(([name]) => name.endsWith("globals") || name.endsWith("locals"));
  return shares.reduce((sum, [, value]) => sum + value, 0) / Math.max(1, students);
}

/** Share of the prototypes chosen by some row, of those that could be. */
function marginalOf(prototypes: Int32Array, k: number): number {
  return new Set(prototypes).size / Math.max(1, Math.min(k, prototypes.length));
}
