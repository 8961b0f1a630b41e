/** @file What given weights say of a run's model section. */
import { ConfigError } from "../../core/index.ts";
import { type BackboneConfig, isViT, type ViTConfig } from "../../nn/index.ts";
import { presetNameOf } from "../../weights/index.ts";
import type { ModelConfig } from "../config/index.ts";

/** The model section of a network that a run is to begin with. Throws ConfigError for a convolutional network of sizes that have no name. */
export function modelOf(config: BackboneConfig): Partial<ModelConfig> {
  if (isViT(config)) return modelOfVit(config);
  const { family, depths, channels = 3 } = config;
  const width = family === "convnext" ? config.widths[0] : config.width;
  const name = presetNameOf(config);
  if (name !== undefined) return { arch: name, family, channels };
  throw new ConfigError(
    `Cannot begin with these weights: they are of a ${family} with ${depths.join(", ")} blocks from ${width} channels, which no preset has; give those of a published architecture`,
    { keyPath: "init.from" },
  );
}

/** What a ViT says of a run's model section. */
export function modelOfVit(vit: ViTConfig): Partial<ModelConfig> {
  const { imageSizePx, patchSizePx, width, depth, heads, mlpRatio, layerNormEps, posInterpolation, channels = 3, rope = {} } = vit;
  const { registers = 0, layerScale = 0, ffn = "mlp", ffnHidden = 0, qkvBias = true, keyBiasMask = false, norm = "layernorm" } = vit;
  const { positions = "learned", maskToken = false } = vit;
  return {
    arch: "vit",
    family: "vit",
    imageSizePx,
    patchSizePx,
    width,
    depth,
    heads,
    mlpRatio,
    layerNormEps,
    posInterpolation,
    channels,
    registers,
    layerScale,
    ffn,
    ffnHidden,
    qkvBias,
    keyBiasMask,
    norm,
    positions,
    maskToken,
    ...(positions === "rope" ? { ropeBase: rope.base ?? 100 } : {}),
  };
}
