/** @file What is learned and how fast, as plain data: objective, Gram anchoring, optimizer, schedules, weights to begin with. */

export interface ObjectiveConfig {
  readonly centering: "ema" | "sinkhorn";
  readonly centerMomentum: number;
  readonly sinkhornIterations: number;
  /** 0 = no KoLeo. */
  readonly koleoWeight: number;
  /** Images among which KoLeo looks for neighbours; divides `train.batchSize`. */
  readonly koleoGroup: number;
  /** Nearest neighbours that KoLeo pushes away. */
  readonly koleoTopK: number;
  /** Weight of the masked patches' loss; 0 = no iBOT. */
  readonly ibotWeight: number;
  /** Weight of the local crops' share of DINO's loss (of the class tokens' cosines) at the first step; a cosine leads to `localWeightEnd`. */
  readonly localWeight: number;
  readonly localWeightEnd: number;
  /** Distillation by features: weight of the class tokens' cosines, and of the patch tokens'; 0 = none. */
  readonly clsWeight: number;
  readonly patchWeight: number;
  /** Weight of the mean squared difference of Gram matrices; 0 = no Gram anchoring. */
  readonly gramWeight: number;
  /** Steps in which the Gram loss's weight rises linearly from 0. */
  readonly gramWeightWarmupSteps: number;
  /** Also SimCLR's temperature. */
  readonly studentTemp: number;
  readonly teacherTemp: number;
  readonly warmupTeacherTemp: number;
  readonly warmupTeacherTempEpochs: number;
}

/** Gram anchoring (DINOv3 spec §3.6); used where `objective.gramWeight` is above 0. */
export interface GramSectionConfig {
  /** Weights of the Gram teacher; null = chosen of the run that this one goes on from: an early teacher, or its Gram teacher. */
  readonly teacher: string | null;
  /** Side of the Gram teacher's crops; 0 = the global size. */
  readonly sizePx: number;
  /** The moving teacher itself is the Gram teacher. */
  readonly useEma: boolean;
  /** Steps of this run, counted from 1: the Gram teacher becomes a copy of the moving teacher at the first multiple of `updateEverySteps` from here on. */
  readonly firstUpdateStep: number;
  /** 0 = never. */
  readonly updateEverySteps: number;
  readonly maxUpdates: number;
  /** Patch features are L2-normalised before their products. */
  readonly normalize: boolean;
  /** `image`: one Gram matrix an image; `batch`: one of all patches of a micro-batch. */
  readonly level: "image" | "batch";
  /** Negative similarities of student and teacher count as 0. */
  readonly removeNegative: boolean;
  /** Negative similarities of the teacher count as 0. */
  readonly removeOnlyTeacherNegative: boolean;
  /** Patches that are compared; other than `all` with `level: "batch"` only. */
  readonly tokens: "all" | "masked" | "unmasked";
}

export interface OptimConfig {
  readonly name: "adamw" | "sgd" | "lars";
  /** The peak learning rate as used: already scaled by the batch. */
  readonly lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  readonly weightDecayEnd: number;
  /** What is not decayed: `dino`: biases and 1-D tensors; `dinov2`: biases, norms and LayerScale. */
  readonly decayRule: "dino" | "dinov2";
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
  /** Of learning rate, weight decay and teacher momentum. `constant`: their first values, the rate after its warm-up (DINOv3). */
  readonly kind: "cosine" | "constant";
  readonly lrWarmupEpochs: number;
  readonly minLr: number;
  readonly momentumTeacher: number;
  readonly momentumTeacherEnd: number;
}

/** Weights to begin with. */
export interface InitConfig {
  /** A run, a weights file or a model folder; null = random weights. */
  readonly from: string | null;
  readonly allowPartial: boolean;
  /** Rank of low-rank adapters, which then are all of the backbone that learns; 0 = the whole backbone learns. */
  readonly loraRank: number;
  /** Adapters are added times loraAlpha / loraRank. */
  readonly loraAlpha: number;
  /** First steps, in which only the heads learn. */
  readonly headWarmupSteps: number;
}
