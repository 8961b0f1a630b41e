/** @file Presets of DINOv3's ConvNeXt: data; no weights are made. DINOv3 spec §3.3. */
import { ConfigError, nameHint } from "../core/index.ts";
import type { ConvNeXtConfig } from "./convnext.ts";

const SIZES: { readonly [K in "tiny" | "small" | "base" | "large"]: Pick<ConvNeXtConfig, "depths" | "widths"> } = {
  tiny: { depths: [3, 3, 9, 3], widths: [96, 192, 384, 768] },
  small: { depths: [3, 3, 27, 3], widths: [96, 192, 384, 768] },
  base: { depths: [3, 3, 27, 3], widths: [128, 256, 512, 1024] },
  large: { depths: [3, 3, 27, 3], widths: [192, 384, 768, 1536] },
};

/** Canonical names (`dinov3_convnext_tiny`) and those of Hugging Face and timm. */
export const CONVNEXT_PRESETS: ReadonlyMap<string, ConvNeXtConfig> = new Map(
  Object.entries(SIZES).flatMap(([name, size]) => {
    const config: ConvNeXtConfig = { family: "convnext", ...size };
    return [
      `dinov3_convnext_${name}`,
      `convnext_${name}`,
      `convnext_${name}.dinov3_lvd1689m`,
      `facebook/dinov3-convnext-${name}-pretrain-lvd1689m`,
    ].map((id) => [id, config] as const);
  }),
);

/** A preset by name; throws ConfigError with the nearest name. */
export function convnextPreset(name: string): ConvNeXtConfig {
  const config = CONVNEXT_PRESETS.get(name);
  if (config === undefined)
    throw new ConfigError(`Cannot find model "${name}": there is no such preset; ${nameHint(name, CONVNEXT_PRESETS.keys())}`, {
      keyPath: "model.arch",
    });
  return config;
}
