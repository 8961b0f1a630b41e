/** @file Presets of DINO's ViT: data, never a subclass. DINO spec §1.6. */
import { ConfigError, nameHint } from "../core/index.ts";
import type { ViTConfig } from "./vit.ts";

type Size = Pick<ViTConfig, "width" | "depth" | "heads">;

export const VIT_SIZES: { readonly [K in "tiny" | "small" | "base"]: Size } = {
  tiny: { width: 192, depth: 12, heads: 3 },
  small: { width: 384, depth: 12, heads: 6 },
  base: { width: 768, depth: 12, heads: 12 },
};

function dinoVit(size: Size, patchSizePx: number): ViTConfig {
  return {
    ...size,
    imageSizePx: 224,
    patchSizePx,
    mlpRatio: 4,
    layerNormEps: 1e-6,
    posInterpolation: "size",
  };
}

/** Canonical names and the aliases people type. */
export const VIT_PRESETS: ReadonlyMap<string, ViTConfig> = new Map(
  Object.entries(VIT_SIZES).flatMap(([name, size]) =>
    [16, 8].flatMap((patch) => {
      const config = dinoVit(size, patch);
      return [`dino_vit${name.charAt(0)}${patch}`, `vit_${name}_patch${patch}`, `vit_${name}_patch${patch}_224`].map(
        (id) => [id, config] as const,
      );
    }),
  ),
);

/** A preset by name; throws ConfigError with the nearest name. */
export function vitPreset(name: string): ViTConfig {
  const config = VIT_PRESETS.get(name);
  if (config === undefined)
    throw new ConfigError(`Cannot find model "${name}": there is no such preset; ${nameHint(name, VIT_PRESETS.keys())}`, {
      keyPath: "model.arch",
    });
  return config;
}
