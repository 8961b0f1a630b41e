/** @file From the run's configuration to what the method, the optimizer and the schedules want. */
import { dino, type Dinov2Config, dinov2, dinov3, type GramConfig, type HeadConfig, type Method, simclr } from "../../methods/index.ts";
import { Rng } from "../../core/index.ts";
import type { CropsConfig } from "../../images/index.ts";
import type { LoraConfig, ViTConfig } from "../../nn/index.ts";
import { constant, cosine, linear, type OptimizerConfig, type Schedule, teacherTemp, warmupThenConstant } from "../../optim/index.ts";
import type { CropSizes, TrainConfig } from "../config/index.ts";
import type { StepScalars } from "../stepper.ts";

/** The backbone of a run. */
export function vitOf({ model }: Pick<TrainConfig, "model">): ViTConfig {
  const { imageSizePx, patchSizePx, width, depth, heads, mlpRatio, layerNormEps, posInterpolation, posEmbedInit } = model;
  const { channels, registers, maskToken, layerScale, ffn, ffnHidden, qkvBias, keyBiasMask, norm, positions, localClsNorm } = model;
  const { ropeBase: base, ropeShift: shift, ropeJitter: jitter, ropeRescale: rescale } = model;
  const rotary = positions === "rope";
  return {
    ...{ imageSizePx, patchSizePx, width, depth, heads, mlpRatio, layerNormEps, posInterpolation, posEmbedInit },
    ...{ channels, registers, maskToken, ffn, qkvBias, keyBiasMask, norm, positions, localClsNorm },
    ...(layerScale > 0 ? { layerScale } : {}),
    ...(ffnHidden > 0 ? { ffnHidden } : {}),
    // DINOv3 calls its registers storage tokens
    ...(rotary ? { rope: { base, shift, jitter, rescale }, registerName: "storage_tokens" as const } : {}),
  };
}

/** One resolution of a run. */
type Sizes = Pick<CropSizes, "globalSizePx" | "localSizePx" | "gramSizePx">;

/** The single sizes of a run. */
function ownSizes({ crops, gram }: Pick<TrainConfig, "crops" | "gram">): Sizes {
  return { globalSizePx: crops.globalSizePx, localSizePx: crops.localSizePx, gramSizePx: gram.sizePx };
}

/** What all methods take of a configuration. */
function familyConfig(config: TrainConfig, { globalSizePx, localSizePx }: Sizes): Dinov2Config {
  const { crops, objective, model, train, mask } = config;
  const { centering, centerMomentum, sinkhornIterations, koleoWeight, koleoGroup, koleoTopK, ibotWeight, studentTemp } = objective;
  const { dropPath, dropPathKind, dropPathUniform } = model;
  const own = config.head.ibotSeparate;
  const { ibotPrototypes, ibotHidden, ibotBottleneck } = config.head;
  const head = headOf(config);
  return {
    backbone: vitOf(config),
    head,
    ...loraOf(config),
    ibotHead: own ? { ...head, prototypes: ibotPrototypes, hidden: ibotHidden, bottleneck: ibotBottleneck } : "shared",
    mask,
    crops: { globalSizePx, localSizePx, localCount: crops.localCount },
    objective: {
      ...{ centering, centerMomentum, sinkhornIterations, koleoWeight, koleoGroup, koleoTopK, ibotWeight, studentTemp },
      ...(config.method === "dinov3" ? { localWeight: "localWeight" } : {}),
    },
    ...{ dropPath, dropPathKind, dropPathUniform },
    batchSize: imagesOfStep(config),
    microBatchSize: train.batchSize,
    groupSize: train.groupSize,
  };
}

/** Adapters on every linear layer of the blocks. */
function loraOf({ init }: Pick<TrainConfig, "init">): { readonly lora?: LoraConfig } {
  if (init.loraRank === 0) return {};
  return { lora: { rank: init.loraRank, alpha: init.loraAlpha, targets: ["attn.qkv", "attn.proj", "mlp"] } };
}

function headOf({ head, model }: Pick<TrainConfig, "head" | "model">): HeadConfig {
  const { hidden, bottleneck, prototypes, layers, batchNorm, normLastLayer, lastLayer } = head;
  return { width: model.width, hidden, bottleneck, prototypes, layers, batchNorm, normLastLayer, lastLayer };
}

/** Gram anchoring, where its loss has a weight. */
function gramOf({ gram, objective }: Pick<TrainConfig, "gram" | "objective">, { globalSizePx, gramSizePx }: Sizes): { gram?: GramConfig } {
  if (objective.gramWeight === 0) return {};
  const { useEma, normalize, level, removeNegative, removeOnlyTeacherNegative, tokens } = gram;
  const sizePx = useEma || gramSizePx === 0 ? globalSizePx : gramSizePx;
  return { gram: { sizePx, useEma, normalize, level, removeNegative, removeOnlyTeacherNegative, tokens } };
}

function methodAt(config: TrainConfig, sizes: Sizes): Method {
  const family = familyConfig(config, sizes);
  switch (config.method) {
    case "dino":
      return dino(family);
    case "dinov2":
      return dinov2(family);
    case "dinov3":
      return dinov3({ ...family, ...gramOf(config, sizes) });
    case "simclr":
      return simclr({ ...family, objective: { temperature: config.objective.studentTemp } });
  }
}

/** The method of a run. */
export function methodOf(config: TrainConfig): Method {
  return methodAt(config, ownSizes(config));
}

/** The method at each of the sizes of a mixed-resolution stage; none where there is one size. */
export function variantsOf(config: TrainConfig): Method[] {
  return config.crops.sizes.map((sizes) => methodAt(config, sizes));
}

/** The crops at the run's own sizes, then at those of its variants. */
export function cropsOf(config: TrainConfig): [CropsConfig, ...CropsConfig[]] {
  const { sizes, ...crops } = config.crops;
  const wantsGram = config.method === "dinov3" && config.objective.gramWeight > 0 && !config.gram.useEma;
  const at = ({ globalSizePx, localSizePx, gramSizePx }: Sizes): CropsConfig => ({
    ...crops,
    globalSizePx,
    localSizePx,
    ...(wantsGram ? { gramSizePx: gramSizePx === 0 ? globalSizePx : gramSizePx } : {}),
  });
  return [at(ownSizes(config)), ...sizes.map(at)];
}

/** Which of the variants a step takes, drawn by their ratios; undefined where there are none. */
export function variantOfStep({ crops, seed }: Pick<TrainConfig, "crops" | "seed">, step: number): number | undefined {
  if (crops.sizes.length === 0) return undefined;
  let left = new Rng(seed).split(`sizes/${step}`).uniform(
    0,
    crops.sizes.reduce((sum, { ratio }) => sum + ratio, 0),
  );
  const at = crops.sizes.findIndex(({ ratio }) => (left -= ratio) < 0);
  return at < 0 ? crops.sizes.length - 1 : at;
}

/** Images of one optimizer step. */
export function imagesOfStep({ train }: Pick<TrainConfig, "train">): number {
  return train.batchSize * train.accumulate;
}

export function optimizerOf({ optim }: Pick<TrainConfig, "optim">): OptimizerConfig {
  const { name, betas, eps, momentum } = optim;
  if (name === "adamw") return { kind: "adamw", beta1: betas[0], beta2: betas[1], eps };
  return name === "sgd" ? { kind: "sgd", momentum } : { kind: "lars", momentum, eta: 0.001 };
}

interface Length {
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
}

/** Every scheduled value of a run of `totalSteps`, by step from 0. DINO §3.1; lengths in epochs may be fractions. */
export function scheduleScalars(config: TrainConfig, length: Length): (step: number) => StepScalars {
  const { optim, objective, init } = config;
  const stepsOf = (epochs: number): number => Math.min(length.totalSteps, Math.round(epochs * length.stepsPerEpoch));
  const { lr, weightDecay, emaMomentum } = slowScalars(config, { ...length, warmupSteps: stepsOf(config.schedule.lrWarmupEpochs) });
  const warmEpochs = objective.warmupTeacherTempEpochs;
  const temp = temperature(objective, { warmEpochs, stepsPerEpoch: length.stepsPerEpoch, warmSteps: stepsOf(warmEpochs) });
  const frozenSteps = stepsOf(optim.freezeLastLayerEpochs);
  const clip = optim.clipKind === "none" ? ({ kind: "none" } as const) : ({ kind: optim.clipKind, norm: optim.clipNorm } as const);
  const inputs = objectiveWeights(config, length);
  return (step) => ({
    lr: lr(step),
    weightDecay: weightDecay(step),
    emaMomentum: emaMomentum(step),
    teacherTemp: temp(step),
    clip,
    freezeLastLayer: step < frozenSteps,
    freezeBackbone: step < init.headWarmupSteps,
    inputs: inputs(step),
  });
}

/** Rate, weight decay and teacher momentum: cosines, or constants (DINOv3 §3.2). */
function slowScalars(
  { optim, schedule }: Pick<TrainConfig, "optim" | "schedule">,
  { totalSteps, warmupSteps }: Length & { readonly warmupSteps: number },
): { readonly lr: Schedule; readonly weightDecay: Schedule; readonly emaMomentum: Schedule } {
  if (schedule.kind === "constant")
    return {
      lr: warmupThenConstant({ value: optim.lr, warmupSteps }),
      weightDecay: constant(optim.weightDecay),
      emaMomentum: constant(schedule.momentumTeacher),
    };
  return {
    lr: cosine({ base: optim.lr, final: schedule.minLr, totalSteps, warmupSteps }),
    weightDecay: cosine({ base: optim.weightDecay, final: optim.weightDecayEnd, totalSteps }),
    emaMomentum: cosine({ base: schedule.momentumTeacher, final: schedule.momentumTeacherEnd, totalSteps }),
  };
}

/** Scalar inputs of the objectives: weights of the local crops and of Gram anchoring. */
function objectiveWeights({ objective }: Pick<TrainConfig, "objective">, { totalSteps }: Length): (step: number) => Record<string, number> {
  const { localWeight: from, localWeightEnd: to, gramWeight, gramWeightWarmupSteps: steps } = objective;
  const local = cosine({ base: from, final: to, totalSteps });
  const gram = linear({ from: 0, to: gramWeight, steps });
  return (step) => ({ localWeight: local(step), gramWeight: gram(step) });
}

/** Per epoch as DINO does, where the warm-up is whole epochs; step by step where it is a fraction (short runs). */
function temperature(
  { warmupTeacherTemp: warm, teacherTemp: final }: TrainConfig["objective"],
  { warmEpochs, stepsPerEpoch, warmSteps }: { readonly warmEpochs: number; readonly stepsPerEpoch: number; readonly warmSteps: number },
): Schedule {
  if (!Number.isInteger(warmEpochs)) return teacherTemp({ warm, final, warmupEpochs: warmSteps });
  const ofEpoch = teacherTemp({ warm, final, warmupEpochs: warmEpochs });
  return (step) => ofEpoch(Math.floor(step / stepsPerEpoch));
}
