/** @file For tests of graphs: small networks of all families, and folders or files of them. */
import { join } from "node:path";
import type { BackboneConfig, ViTConfig } from "../../nn/index.ts";
import { writeModelFolder, writeSafetensors } from "../../weights/index.ts";
import { randomBackbone } from "../../weights/testing/random-weights.ts";
import { SMALL_VIT } from "../../nn/testing/small-vit.ts";

export const V1: ViTConfig = SMALL_VIT;
export const V2: ViTConfig = { ...V1, registers: 4, maskToken: true, layerScale: 1, posInterpolation: "size-antialias" };
export const V3: ViTConfig = {
  ...V1,
  positions: "rope",
  registers: 4,
  registerName: "storage_tokens",
  layerScale: 1,
  maskToken: true,
  keyBiasMask: true,
  ffn: "swiglu",
  ffnHidden: 24,
  rope: { base: 100, normalize: "separate" },
};

/** Weights by Meta's names, all of them with an effect. */
export const weightsInUse = (config: BackboneConfig): ReturnType<typeof randomBackbone> => randomBackbone(config, 3);

/** Writes a network below `root`; a ResNet as a file, for a folder of timm's has the published widths only. Gives its path. */
export async function writeNetwork(root: string, name: string, config: BackboneConfig): Promise<string> {
  const tensors = weightsInUse(config);
  if ("family" in config && config.family === "resnet") {
    const path = join(root, `${name}.safetensors`);
    await writeSafetensors(path, tensors);
    return path;
  }
  const path = join(root, name);
  await writeModelFolder(path, { config, tensors });
  return path;
}
