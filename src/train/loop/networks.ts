/** @file The networks of a run, from its configuration. */
import { type BackboneConfig, convnextPreset, gridSideOf, resnetPreset, type ViTConfig } from "../../nn/index.ts";
import type { ModelConfig, StudentModel, TrainConfig } from "../config/index.ts";

/** The backbone that a model section describes. */
export function backboneOf(model: ModelConfig): BackboneConfig {
  if (model.family === "convnext") return { ...convnextPreset(model.arch), channels: model.channels };
  return model.family === "resnet" ? { ...resnetPreset(model.arch), channels: model.channels } : vitOf({ model });
}

/** The backbone of a run. */
export function vitOf({ model }: Pick<TrainConfig, "model">): ViTConfig {
  const { imageSizePx, patchSizePx, width, depth, heads, mlpRatio, layerNormEps, posInterpolation, posEmbedInit } = model;
  const { channels, registers, maskToken, layerScale, ffn, ffnHidden, qkvBias, keyBiasMask, norm, positions, localClsNorm } = model;
  const { ropeBase: base, ropeShift: shift, ropeJitter: jitter, ropeRescale: rescale } = model;
  const rotary = positions === "rope";
  return {
    imageSizePx,
    patchSizePx,
    width,
    depth,
    heads,
    mlpRatio,
    layerNormEps,
    posInterpolation,
    posEmbedInit,
    channels,
    registers,
    maskToken,
    ffn,
    qkvBias,
    keyBiasMask,
    norm,
    positions,
    localClsNorm,
    ...(layerScale > 0 ? { layerScale } : {}),
    ...(ffnHidden > 0 ? { ffnHidden } : {}),
    // DINOv3 calls its registers storage tokens
    ...(rotary ? { rope: { base, shift, jitter, rescale }, registerName: "storage_tokens" as const } : {}),
  };
}

/** The configuration as those want it who look at what is trained: with the first student's network in the place of its teacher's. */
export function watchedConfig(config: TrainConfig): TrainConfig {
  const [first] = trainedModels(config);
  return first === undefined ? config : { ...config, model: first.model };
}

/** Patches along a side of a global crop. */
export function gridOf({ model, crops }: Pick<TrainConfig, "model" | "crops">): number {
  return gridSideOf(backboneOf(model), crops.globalSizePx);
}

/** Networks that a run trains, in the order of its learners. */
export function trainedModels({ model, distill: { students } }: Pick<TrainConfig, "model" | "distill">): readonly StudentModel[] {
  return students.length === 0 ? [{ name: "student", model }] : students;
}
