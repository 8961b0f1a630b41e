/** @file What given weights say of a run's model section. */
import { ConfigError, sameShape } from "../../core/index.ts";
import { type BackboneConfig, CONVNEXT_PRESETS, isViT, RESNET_PRESETS } from "../../nn/index.ts";
import type { ModelConfig } from "../config/index.ts";
import { modelOfVit } from "./method-config.ts";

/** The model section of a network that a run is to begin with. Throws ConfigError for a convolutional network of sizes that have no name. */
export function modelOf(config: BackboneConfig): Partial<ModelConfig> {
  if (isViT(config)) return modelOfVit(config);
  const { family, depths, channels = 3 } = config;
  const sizes = family === "convnext" ? config.widths : [config.width];
  const name = [...CONVNEXT_PRESETS, ...RESNET_PRESETS].find(([, preset]) => {
    if (preset.family !== family || !sameShape(preset.depths, depths)) return false;
    if (preset.family === "convnext") return sameShape(preset.widths, sizes);
    return preset.width === sizes[0] && config.family === "resnet" && preset.block === config.block;
  })?.[0];
  if (name !== undefined) return { arch: name, family, channels };
  throw new ConfigError(
    `Cannot begin with these weights: they are of a ${family} with ${depths.join(", ")} blocks from ${sizes[0]} channels, which no preset has; give those of a published architecture`,
    { keyPath: "init.from" },
  );
}
