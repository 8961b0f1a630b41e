/** @file The configuration of a training run as plain data: every value that decides what a run does. */
import type { AugmentConfig, CropsConfig } from "../../images/index.ts";

export interface ModelConfig {
  /** `vit` for free sizes, or the preset the sizes came from. */
  readonly arch: string;
  readonly depth: number;
  readonly width: number;
  readonly heads: number;
  readonly mlpRatio: number;
  readonly patchSizePx: number;
  /** Side of the position embedding's native picture. */
  readonly imageSizePx: number;
  /** Rate of the last block; it grows linearly from 0. Student only. */
  readonly dropPath: number;
  readonly posInterpolation: "meta-offset" | "size" | "size-antialias";
  readonly posEmbedInit: "normal" | "sincos";
}

export interface HeadConfig {
  readonly prototypes: number;
  readonly hidden: number;
  readonly bottleneck: number;
  readonly layers: number;
  readonly batchNorm: boolean;
  readonly normLastLayer: boolean;
}

export interface ObjectiveConfig {
  readonly centering: "ema" | "sinkhorn";
  readonly centerMomentum: number;
  readonly sinkhornIterations: number;
  /** 0 = no KoLeo. */
  readonly koleoWeight: number;
  readonly studentTemp: number;
  readonly teacherTemp: number;
  readonly warmupTeacherTemp: number;
  readonly warmupTeacherTempEpochs: number;
}

export interface OptimConfig {
  readonly name: "adamw" | "sgd" | "lars";
  /** The peak learning rate as used: already scaled by the batch. */
  readonly lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  readonly weightDecayEnd: number;
  readonly clipNorm: number;
  readonly clipKind: "none" | "per-parameter" | "global" | "per-module";
  /** SGD and LARS only. */
  readonly momentum: number;
  /** May be a fraction of an epoch, as every length in epochs. */
  readonly freezeLastLayerEpochs: number;
  readonly layerDecay: number;
  readonly patchEmbedLrScale: number;
}

export interface ScheduleConfig {
  readonly lrWarmupEpochs: number;
  readonly minLr: number;
  readonly momentumTeacher: number;
  readonly momentumTeacherEnd: number;
}

/** Exactly one of `epochs`, `steps`, `minutes` is the length; a run given in minutes keeps them and gets its `steps` after its speed is measured. */
export interface TrainLengthConfig {
  readonly epochs: number | null;
  readonly steps: number | null;
  readonly minutes: number | null;
}

export interface TrainSectionConfig extends TrainLengthConfig {
  /** Images in one micro-batch. */
  readonly batchSize: number;
  /** Micro-batches in one optimizer step. */
  readonly accumulate: number;
  readonly checkpointing: boolean;
  readonly threads: number;
  /** Images that share drop-path subsets and a KoLeo group. */
  readonly groupSize: number;
}

export interface DataConfig {
  readonly path: string;
  readonly decode: "python" | "managed";
  readonly alpha: "drop" | "white" | "black";
  readonly workers: number;
  /** Memory for decoded pictures; 0 = decode each time. */
  readonly cacheMb: number;
}

export interface CheckpointConfig {
  readonly everySteps: number;
  readonly keepLast: number;
  /** Shares of the run after which the teacher is kept for good. */
  readonly milestones: readonly number[];
}

export interface LogConfig {
  readonly everySteps: number;
  readonly tensorboard: boolean;
  /** 0 = no pictures. */
  readonly imagesEverySteps: number;
}

export interface KnnConfig {
  /** Labelled images that vote; null = no k-NN during training. */
  readonly train: string | null;
  /** Labelled images that are classified; null = every fifth image of `train` is held out. */
  readonly test: string | null;
  readonly everyEpochs: number;
  readonly k: number;
  readonly temperature: number;
}

/** Every value that decides a run, nothing left open but the length of a run given in minutes. */
export interface TrainConfig {
  readonly seed: number;
  readonly method: "dino";
  readonly model: ModelConfig;
  readonly crops: CropsConfig;
  readonly augment: AugmentConfig;
  readonly head: HeadConfig;
  readonly objective: ObjectiveConfig;
  readonly optim: OptimConfig;
  readonly schedule: ScheduleConfig;
  readonly train: TrainSectionConfig;
  readonly data: DataConfig;
  readonly checkpoint: CheckpointConfig;
  readonly log: LogConfig;
  readonly knn: KnnConfig;
}

/** The names of the sections: the keys of TrainConfig that hold further keys. */
export type SectionName = Exclude<keyof TrainConfig, "seed" | "method">;

/** What a user may say: any part of any section. */
export type UserConfig = {
  readonly [S in keyof TrainConfig]?: TrainConfig[S] extends object
    ? { readonly [K in keyof TrainConfig[S]]?: TrainConfig[S][K] | undefined } | undefined
    : TrainConfig[S] | undefined;
};

/** What is known of the data and the machine before a run. */
export interface RunFacts {
  readonly images: number;
  /** Median of the shorter sides of (a sample of) the pictures. */
  readonly medianSidePx: number;
  readonly cores: number;
  readonly memoryBytes: number;
  /** Steps that `train.minutes` come to, once the speed was measured. */
  readonly measuredSteps?: number;
}

/** A configuration with the reason of every value, by dotted key path. */
export interface ResolvedConfig {
  readonly config: TrainConfig;
  readonly reasons: Readonly<Record<string, string>>;
}
