/** @file From the run's configuration to what the method, the optimizer and the schedules want. */
import { dino, type DinoConfig, type Method } from "../../methods/index.ts";
import type { ViTConfig } from "../../nn/index.ts";
import { cosine, type OptimizerConfig, type Schedule, teacherTemp } from "../../optim/index.ts";
import type { TrainConfig } from "../config/index.ts";
import type { StepScalars } from "../stepper.ts";

/** The backbone of a run. */
export function vitOf({ model }: Pick<TrainConfig, "model">): ViTConfig {
  const { imageSizePx, patchSizePx, width, depth, heads, mlpRatio, posInterpolation, posEmbedInit } = model;
  return { imageSizePx, patchSizePx, width, depth, heads, mlpRatio, layerNormEps: 1e-6, posInterpolation, posEmbedInit };
}

export function dinoConfigOf(config: TrainConfig): DinoConfig {
  const { head, crops, objective, model, train } = config;
  const { globalSizePx, localSizePx, localCount } = crops;
  const { centering, centerMomentum, sinkhornIterations, koleoWeight, studentTemp } = objective;
  return {
    backbone: vitOf(config),
    head: { ...head, width: model.width },
    crops: { globalSizePx, localSizePx, localCount },
    objective: { centering, centerMomentum, sinkhornIterations, koleoWeight, studentTemp },
    dropPath: model.dropPath,
    batchSize: imagesOfStep(config),
    microBatchSize: train.batchSize,
    groupSize: train.groupSize,
  };
}

/** The method of a run. */
export function methodOf(config: TrainConfig): Method {
  return dino(dinoConfigOf(config));
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

/** Every scheduled value of a run of `totalSteps`, by step from 0. DINO §3.1; lengths in epochs may be fractions. */
export function scheduleScalars(
  config: TrainConfig,
  { stepsPerEpoch, totalSteps }: { readonly stepsPerEpoch: number; readonly totalSteps: number },
): (step: number) => StepScalars {
  const { optim, schedule, objective } = config;
  const stepsOf = (epochs: number): number => Math.min(totalSteps, Math.round(epochs * stepsPerEpoch));
  const lr = cosine({ base: optim.lr, final: schedule.minLr, totalSteps, warmupSteps: stepsOf(schedule.lrWarmupEpochs) });
  const weightDecay = cosine({ base: optim.weightDecay, final: optim.weightDecayEnd, totalSteps });
  const emaMomentum = cosine({ base: schedule.momentumTeacher, final: schedule.momentumTeacherEnd, totalSteps });
  const warmEpochs = objective.warmupTeacherTempEpochs;
  const temp = temperature(objective, { warmEpochs, stepsPerEpoch, warmSteps: stepsOf(warmEpochs) });
  const frozenSteps = stepsOf(optim.freezeLastLayerEpochs);
  const clip = optim.clipKind === "none" ? ({ kind: "none" } as const) : ({ kind: optim.clipKind, norm: optim.clipNorm } as const);
  return (step) => ({
    lr: lr(step),
    weightDecay: weightDecay(step),
    emaMomentum: emaMomentum(step),
    teacherTemp: temp(step),
    clip,
    freezeLastLayer: step < frozenSteps,
  });
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
