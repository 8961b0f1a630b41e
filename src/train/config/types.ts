/** @file The configuration of a training run as plain data: every value that decides what a run does. */
import type { GramSectionConfig, InitConfig, ObjectiveConfig, OptimConfig, ScheduleConfig } from "./types-learning.ts";
import type { HeadConfig, ModelConfig } from "./types-network.ts";
import type { AugmentSectionConfig, CropsSectionConfig, MaskSectionConfig } from "./types-views.ts";

export type { GramSectionConfig, InitConfig, ObjectiveConfig, OptimConfig, ScheduleConfig } from "./types-learning.ts";
export type { HeadConfig, ModelConfig } from "./types-network.ts";
export type { AugmentSectionConfig, CropSizes, CropsSectionConfig, MaskSectionConfig } from "./types-views.ts";

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

/** Patch k-NN on labelled masks during training. */
export interface DenseConfig {
  /** Images with masks whose patches vote; null = none. */
  readonly train: string | null;
  /** Images with masks whose patches are classified; null = the data set's own split. */
  readonly test: string | null;
  readonly everyEpochs: number;
  readonly k: number;
  readonly imageSizePx: number;
}

/** A student of a frozen teacher. */
export interface StudentModel {
  readonly name: string;
  readonly model: ModelConfig;
}

/** Distillation: the network, crops, masks and heads of the configuration are the teacher's. */
export interface DistillConfig {
  /** A run whose last teacher is the frozen teacher, or weights without heads; null = the run's teacher is its own moving average. */
  readonly teacher: string | null;
  /** What students are held to: the teacher's prototypes, which want its heads, or its features. */
  readonly objective: "prototypes" | "features";
  readonly students: readonly StudentModel[];
}

export type MethodName = "dino" | "dinov2" | "dinov3" | "simclr";
/** `gram` and `highres` go on from a run of DINOv3. */
export type StageName = "pretrain" | "gram" | "highres";

/** Every value that decides a run, nothing left open but the length of a run given in minutes. */
export interface TrainConfig {
  readonly seed: number;
  readonly method: MethodName;
  readonly stage: StageName;
  readonly model: ModelConfig;
  readonly crops: CropsSectionConfig;
  readonly augment: AugmentSectionConfig;
  readonly mask: MaskSectionConfig;
  readonly head: HeadConfig;
  readonly objective: ObjectiveConfig;
  readonly gram: GramSectionConfig;
  readonly optim: OptimConfig;
  readonly schedule: ScheduleConfig;
  readonly train: TrainSectionConfig;
  readonly init: InitConfig;
  readonly distill: DistillConfig;
  readonly data: DataConfig;
  readonly checkpoint: CheckpointConfig;
  readonly log: LogConfig;
  readonly knn: KnnConfig;
  readonly dense: DenseConfig;
}

/** The keys of TrainConfig that hold no further keys. */
export type TopName = "seed" | "method" | "stage";

/** The names of the sections: the keys of TrainConfig that hold further keys. */
export type SectionName = Exclude<keyof TrainConfig, TopName>;

/** What a user may say: any part of any section. */
export type UserConfig = {
  readonly [S in keyof TrainConfig]?: TrainConfig[S] extends object
    ? { readonly [K in keyof TrainConfig[S]]?: TrainConfig[S][K] | undefined } | undefined
    : TrainConfig[S] | undefined;
};

/** What a look at pictures of bands shows. */
export interface BandFacts {
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly images: number;
}

/** The frozen teacher of a distillation, as far as the rules go by it. */
export interface TeacherFacts {
  readonly objective: DistillConfig["objective"];
  /** Why students are held to that. */
  readonly why: string;
  /** Of a teacher by features: the method of its kind, the side of its pictures, and the numbers they are normalised by, where they are known. */
  readonly method?: MethodName;
  readonly sizePx?: number;
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
}

/** What is known of the data and the machine before a run. */
export interface RunFacts {
  readonly images: number;
  /** Median of the shorter sides of (a sample of) the pictures. */
  readonly medianSidePx: number;
  readonly cores: number;
  readonly memoryBytes: number;
  /** Steps that `train.minutes` come to, once the speed was measured. */
  readonly measuredSteps?: number;
  /** The run that this one goes on from, where there is one. */
  readonly parent?: TrainConfig;
  /** Steps that it made. */
  readonly parentSteps?: number;
  /** Pictures of other than three channels: their mean and deviation as measured on `images` of them, one number a channel. */
  readonly bands?: BandFacts;
  /** What the weights to begin with (of a distillation by features: the teacher's) say of their network, where they come from no run of ours. */
  readonly initModel?: Partial<ModelConfig>;
  /** The frozen teacher, where there is one. */
  readonly teacher?: TeacherFacts;
}

/** A configuration with the reason of every value, by dotted key path. */
export interface ResolvedConfig {
  readonly config: TrainConfig;
  readonly reasons: Readonly<Record<string, string>>;
  /** What is allowed and unwise; absent in a configuration that was read back. */
  readonly warnings?: readonly string[];
}
