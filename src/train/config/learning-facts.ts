/** @file What the rules of learning know of the run, and how they bound lengths by it. */
import { because, type Because, published } from "./choose.ts";
import type { MethodName, ModelConfig, StageName, TrainConfig } from "./types.ts";

/** Below this many images in a step EMA centring is unsteady. */
export const SMALL_BATCH = 256;
/** Below this many steps a run is short. */
export const SHORT_RUN_STEPS = 20_000;
/** DINO's heads for networks up to this width are smaller. */
export const NARROW = 192;

/** What the rules know of the run. `totalSteps` is a guess while a run in minutes has not measured its speed. */
export interface LearningFacts {
  readonly method: MethodName;
  readonly stage: StageName;
  readonly model: ModelConfig;
  readonly images: number;
  /** Images in one optimizer step, in one micro-batch, and in one group of those. */
  readonly totalBatch: number;
  readonly batchSize: number;
  readonly groupSize: number;
  readonly totalSteps: number;
  readonly epochs: number;
  /** Side of the global crops. */
  readonly globalSizePx: number;
  /** Students are held to a frozen teacher's features. */
  readonly byFeatures: boolean;
  /** The run that this one goes on from. */
  readonly parent: TrainConfig | undefined;
}

/** The run whose values a stage after the first takes over. */
export function runBefore({ stage, parent }: Pick<LearningFacts, "stage" | "parent">): TrainConfig | undefined {
  return stage === "pretrain" ? undefined : parent;
}

/** A number as people read it. */
export function n(value: number): string {
  return value.toLocaleString("en-US");
}

/** Three digits are enough. */
export function tidy(value: number): number {
  return Number(value.toPrecision(3));
}

/** A length in epochs that a method publishes, or a share of the run where the run is too short for it. */
export function atMost(
  usual: number,
  part: number,
  { epochs, method }: { readonly epochs: number; readonly method?: MethodName },
): Because<number> {
  const most = part * epochs;
  return usual <= most
    ? published(usual, method)
    : because(tidy(most), `${usual} epochs by default, but at most ${Math.round(100 * part)} % of ${tidy(epochs)} epochs`);
}
