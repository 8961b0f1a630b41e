/** @file Presets of ResNet: data; no weights are made. DINO spec §1.7. */
import { ConfigError, nameHint } from "../core/index.ts";
import type { ResNetConfig } from "./resnet.ts";

/** Names as in torchvision and timm, and that of DINO's released network. */
export const RESNET_PRESETS: ReadonlyMap<string, ResNetConfig> = new Map(
  (
    [
      [["resnet18"], { family: "resnet", block: "basic", depths: [2, 2, 2, 2], width: 64 }],
      [["resnet50", "dino_resnet50"], { family: "resnet", block: "bottleneck", depths: [3, 4, 6, 3], width: 64 }],
    ] as const
  ).flatMap(([names, config]) => names.map((name): [string, ResNetConfig] => [name, config])),
);

/** A preset by name; throws ConfigError with the nearest name. */
export function resnetPreset(name: string): ResNetConfig {
  const config = RESNET_PRESETS.get(name);
  if (config === undefined)
    throw new ConfigError(`Cannot find model "${name}": there is no such preset; ${nameHint(name, RESNET_PRESETS.keys())}`, {
      keyPath: "model.arch",
    });
  return config;
}
