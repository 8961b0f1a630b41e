/** @file Which preset an architecture is. */
import { sameShape } from "../../core/index.ts";
import { type BackboneConfig, backboneSpecs, CONVNEXT_PRESETS, isViT, RESNET_PRESETS, VIT_PRESETS } from "../../nn/index.ts";
import { published } from "../names/index.ts";

/** Canonical names first, as the presets are listed. */
const PRESETS: readonly (readonly [string, BackboneConfig])[] = [...VIT_PRESETS, ...CONVNEXT_PRESETS, ...RESNET_PRESETS];

/** The preset for pictures of the network's size and channels. */
function fitted(preset: BackboneConfig, config: BackboneConfig): BackboneConfig {
  const { channels = 3 } = config;
  const bare: BackboneConfig = { ...preset, channels };
  return isViT(bare) && isViT(config) ? { ...published(bare), imageSizePx: config.imageSizePx } : bare;
}

/** What shapes do not say, or quickly. */
function sizesOf(config: BackboneConfig): string {
  return isViT(config) ? `vit ${config.depth} ${config.heads} ${config.patchSizePx}` : `${config.family} ${config.depths.join()}`;
}

/** The first name of the preset that has the same parameters, whatever the size of its pictures; undefined where none has. */
export function presetNameOf(config: BackboneConfig): string | undefined {
  const specs = backboneSpecs(isViT(config) ? published(config) : config);
  const fits = (preset: BackboneConfig): boolean => {
    if (sizesOf(preset) !== sizesOf(config)) return false;
    const shapes = new Map(backboneSpecs(fitted(preset, config)).map(({ name, shape }) => [name, shape]));
    return shapes.size === specs.length && specs.every(({ name, shape }) => sameShape(shapes.get(name) ?? [-1], shape));
  };
  return PRESETS.find(([, preset]) => fits(preset))?.[0];
}
