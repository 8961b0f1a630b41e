/** @file `config.json` of ViTs and ConvNeXts as timm saves them, for the architectures that timm has a name for. */
import { ConfigError, sameShape } from "../../core/index.ts";
import { CONVNEXT_PRESETS, type ConvNeXtConfig, ropePeriods, VIT_PRESETS, type ViTConfig, vitSpecs } from "../../nn/index.ts";
import { published } from "../names/index.ts";
import { timmConfig } from "./timm-config.ts";

/** Architectures of timm: those it has released weights of, and the one that only trains. */
const NAMES: readonly string[] = [
  "vit_tiny_patch16_224",
  ...new Set([...VIT_PRESETS.keys()].filter((name) => /^vit_.*\./.test(name)).map((name) => name.replace(/\..*$/, ""))),
];

const rotary = ({ positions, rope = {}, width, heads }: ViTConfig): readonly number[] =>
  positions === "rope" ? [...ropePeriods(rope, width / heads)] : [];

/** Whether two ViTs compute the same of the same tensors; timm stores no mask token, and its register tokens have one name. */
function computesSame(a: ViTConfig, b: ViTConfig): boolean {
  const plain = (config: ViTConfig): Map<string, readonly number[]> => {
    const bare = { ...published(config), maskToken: false };
    return new Map(vitSpecs(bare).map(({ name, shape }) => [name.replace("register_tokens", "storage_tokens"), shape]));
  };
  const [one, two] = [plain(a), plain(b)];
  const shapesFit = one.size === two.size && [...one].every(([name, shape]) => sameShape(two.get(name) ?? [-1], shape));
  return shapesFit && a.heads === b.heads && a.layerNormEps === b.layerNormEps && rotary(a).join() === rotary(b).join();
}

/** timm's name of a ViT, whatever the size of its pictures and their channels. Throws ConfigError where it has none. */
export function timmArchitecture(config: ViTConfig): string {
  const { imageSizePx, channels = 3 } = config;
  const found = NAMES.find((name) => {
    const preset = VIT_PRESETS.get(name);
    return preset?.patchSizePx === config.patchSizePx && computesSame({ ...preset, imageSizePx, channels }, config);
  });
  if (found !== undefined) return found;
  throw new ConfigError(
    `Cannot write a folder for timm: it has no name for a ViT of width ${config.width}, depth ${config.depth} and patches of ${config.patchSizePx} px as this one is; write its tensors alone (a file FILE.safetensors), or a folder for Hugging Face`,
    { keyPath: "to" },
  );
}

/** `config.json` of a ViT without a classifier; its features are the class token's. Throws ConfigError for what timm has no words for. */
export function vitToTimmConfig(config: ViTConfig, processor: object): object {
  const { imageSizePx, channels = 3, positions, width } = config;
  const isFixed = positions !== "rope"; // a grid of learned positions is of one size of picture
  // timm's networks with rotary positions average all tokens unless they are told otherwise
  const args = isFixed ? {} : { global_pool: "token" };
  const words = { pool: "token", firstConv: "patch_embed.proj", classifier: "head" } as const;
  const fixedPx = isFixed ? imageSizePx : undefined;
  return timmConfig({ ...words, architecture: timmArchitecture(config), features: width, args, channels, processor, fixedPx });
}

/** `config.json` of a ConvNeXt without a classifier. Throws ConfigError for a processor that timm has no words for. */
export function convnextToTimmConfig(config: ConvNeXtConfig, processor: object): object {
  const { depths, widths, channels = 3 } = config;
  const known = [...CONVNEXT_PRESETS].find(
    ([name, preset]) => /^convnext_[a-z]+$/.test(name) && sameShape(preset.depths, depths) && sameShape(preset.widths, widths),
  );
  const args = known === undefined ? { depths, dims: widths } : {};
  const words = { pool: "avg", firstConv: "stem.0", classifier: "head.fc" } as const;
  return timmConfig({ ...words, architecture: known?.[0] ?? "convnext_tiny", features: widths[3], args, channels, processor });
}
