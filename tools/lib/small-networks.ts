/** @file Small networks of every class that transformers has and we export, and their weights. */
import type { HostTensor } from "../../src/core/index.ts";
import type { ConvNeXtConfig, ViTConfig } from "../../src/nn/index.ts";
import type { WritableConfig } from "../../src/weights/index.ts";
import { randomBackbone } from "../../src/weights/testing/random-weights.ts";

export const V1: ViTConfig = {
  imageSizePx: 112,
  patchSizePx: 14,
  width: 48,
  depth: 3,
  heads: 3,
  mlpRatio: 4,
  layerNormEps: 1e-6,
  posInterpolation: "size",
};
export const V2: ViTConfig = { ...V1, layerScale: 1, maskToken: true };
export const V2_REGISTERS: ViTConfig = { ...V2, registers: 4, posInterpolation: "size-antialias" };
export const V3: ViTConfig = {
  ...V2,
  layerNormEps: 1e-5,
  positions: "rope",
  registers: 4,
  registerName: "storage_tokens",
  keyBiasMask: true,
  rope: { base: 100, rescale: 2 },
};
export const CONVNEXT: ConvNeXtConfig = { family: "convnext", depths: [1, 2, 2, 1], widths: [12, 20, 28, 36] };

type SmallClass = "ViTModel" | "Dinov2Model" | "Dinov2WithRegistersModel" | "DINOv3ViTModel" | "DINOv3ConvNextModel";

/** By their classes. */
export const SMALL_NETWORKS: { readonly [K in SmallClass]: WritableConfig } = {
  ViTModel: V1,
  Dinov2Model: V2,
  Dinov2WithRegistersModel: V2_REGISTERS,
  DINOv3ViTModel: { ...V3, patchSizePx: 16 },
  DINOv3ConvNextModel: CONVNEXT,
};

/** Weights that are all in use: about what training gives, norms near one. */
export function smallWeights(config: WritableConfig, { std }: { readonly std: number } = { std: 0.2 }): Map<string, HostTensor> {
  return randomBackbone(config, 1, std);
}
