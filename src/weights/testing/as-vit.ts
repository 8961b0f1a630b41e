/** @file For tests of vision transformers: an opened network as one. */
import { InternalError } from "../../core/index.ts";
import { type BackboneConfig, isViT, type ViTConfig } from "../../nn/index.ts";

/** Throws InternalError for another family. */
export function asViT(config: BackboneConfig): ViTConfig {
  if (isViT(config)) return config;
  throw new InternalError(`Cannot compare networks: this one is a ${config.family}, a ViT was written`);
}
