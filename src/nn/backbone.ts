/** @file Any backbone behind one face: parameters, state, and features of images. */
import type { Tensor } from "../engine/trace/index.ts";
import type { Params, ParamSpec } from "./params.ts";
import { applyViT, type ViTConfig, vitFeatures, type ViTOptions, vitSpecs } from "./vit.ts";

export type BackboneConfig = ViTConfig;

export interface BackboneOptions extends ViTOptions {
  readonly config: BackboneConfig;
  /** Whether patch tokens are wanted. Without them the last block works for the class token alone. */
  readonly patches: boolean;
}

/** Final-normed features: class token `[b, d]`, patch tokens `[b, p, d]`. */
export interface BackboneFeatures {
  readonly cls: Tensor;
  readonly patches: Tensor | undefined;
}

/** Parameters under their published names. */
export function backboneSpecs(config: BackboneConfig): ParamSpec[] {
  return vitSpecs(config);
}

/** Running statistics; none where the backbone has no batch norm. */
export function backboneState(_config: BackboneConfig): ParamSpec[] {
  return [];
}

/** Images `[b, channels, y, x]` -> features. */
export function backboneFeatures(params: Params, images: Tensor, { patches, ...options }: BackboneOptions): BackboneFeatures {
  if (!patches) return { cls: applyViT(params, images, { ...options, output: "cls" }), patches: undefined };
  const { cls, patches: tokens } = vitFeatures(params, images, options);
  return { cls, patches: tokens };
}
