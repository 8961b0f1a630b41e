/** @file Any backbone behind one face: its sizes, parameters, state, and features of images. */
import type { Tensor } from "../engine/trace/index.ts";
import type { BatchNormState } from "./batch-norm.ts";
import { CONVNEXT_STRIDE_PX, type ConvNeXtConfig, convnextFeatures, convnextSpecs } from "./convnext.ts";
import type { Params, ParamSpec } from "./params.ts";
import { RESNET_STRIDE_PX, type ResNetConfig, resnetFeatures, resnetSpecs, resnetState, resnetWidth } from "./resnet.ts";
import { applyViT, type ViTConfig, vitFeatures, type ViTOptions, vitSpecs } from "./vit.ts";

export type BackboneConfig = ViTConfig | ConvNeXtConfig | ResNetConfig;

export interface BackboneOptions extends ViTOptions, BatchNormState {
  readonly config: BackboneConfig;
  /** Whether patch tokens are wanted. Without them a ViT's last block works for the class token alone. */
  readonly patches: boolean;
}

/** Final-normed features: class token `[b, d]`, patch tokens `[b, p, d]`, row by row. */
export interface BackboneFeatures {
  readonly cls: Tensor;
  readonly patches: Tensor | undefined;
}

export function isViT(config: BackboneConfig): config is ViTConfig {
  return !("family" in config);
}

/** Numbers in a feature. */
export function backboneWidth(config: BackboneConfig): number {
  if (isViT(config)) return config.width;
  return config.family === "convnext" ? config.widths[3] : resnetWidth(config);
}

/** Blocks, counted over all stages. */
export function backboneDepth(config: BackboneConfig): number {
  return isViT(config) ? config.depth : config.depths.reduce((a, b) => a + b, 0);
}

/** Pixels of a picture along a side of a patch: a ViT's patch, the stride of a convolutional network's last map. */
export function patchSizeOf(config: BackboneConfig): number {
  if (isViT(config)) return config.patchSizePx;
  return config.family === "convnext" ? CONVNEXT_STRIDE_PX : RESNET_STRIDE_PX;
}

/** Patches along a side of a square picture. */
export function gridSideOf(config: BackboneConfig, sizePx: number): number {
  const side = sizePx / patchSizeOf(config);
  if (isViT(config)) return side;
  return config.family === "convnext" ? Math.floor(side) : Math.ceil(side);
}

/** Parameters under their published names. */
export function backboneSpecs(config: BackboneConfig): ParamSpec[] {
  if (isViT(config)) return vitSpecs(config);
  return config.family === "convnext" ? convnextSpecs(config) : resnetSpecs(config);
}

/** Running statistics; none where the backbone has no batch norm. */
export function backboneState(config: BackboneConfig): ParamSpec[] {
  return !isViT(config) && config.family === "resnet" ? resnetState(config) : [];
}

/** Images `[b, channels, y, x]` -> features. */
export function backboneFeatures(params: Params, images: Tensor, { patches, config, ...options }: BackboneOptions): BackboneFeatures {
  if (isViT(config)) {
    if (!patches) return { cls: applyViT(params, images, { ...options, config, output: "cls" }), patches: undefined };
    const { cls, patches: tokens } = vitFeatures(params, images, { ...options, config });
    return { cls, patches: tokens };
  }
  if (config.family === "resnet") return resnetFeatures(params, images, { config, ...options });
  const { dropPath } = options;
  const keep = (block: number): Tensor | undefined => {
    const drop = dropPath?.(block, "mlp");
    if (drop !== undefined && "rows" in drop)
      throw new RangeError("Cannot drop to a subset: a ConvNeXt takes keep factors; use drop path per sample");
    return drop;
  };
  return convnextFeatures(params, images, { config, ...(dropPath === undefined ? {} : { dropPath: keep }) });
}
