/** @file Any backbone behind one face: parameters, state, and features of images. */
import { reshape, slice, type Tensor } from "../engine/trace/index.ts";
import type { Params, ParamSpec } from "./params.ts";
import { applyViT, type ViTConfig, type ViTOptions, vitSpecs } from "./vit.ts";

export type BackboneConfig = ViTConfig;

export interface BackboneOptions extends Omit<ViTOptions, "output"> {
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
  const tokens = applyViT(params, images, { ...options, output: "tokens" });
  const [b = 1, t = 1, d = 1] = tokens.shape;
  return { cls: reshape(slice(tokens, 1, [0, 1]), [b, d]), patches: slice(tokens, 1, [1, t]) };
}
