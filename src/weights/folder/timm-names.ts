/** @file `config.json` of ViTs and ConvNeXts as timm saves them, for the architectures that timm has a name for. */
import { ConfigError, sameShape } from "../../core/index.ts";
import { CONVNEXT_PRESETS, type ConvNeXtConfig, ropePeriods, VIT_PRESETS, type ViTConfig, vitSpecs } from "../../nn/index.ts";
import { published } from "../names/index.ts";
import { timmInput } from "./timm-config.ts";

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
  const { imageSizePx: px, channels = 3, positions, width } = config;
  const isFixed = positions !== "rope"; // a grid of learned positions is of one size of picture
  // timm's networks with rotary positions average all tokens unless they are told otherwise
  const args = { ...(isFixed ? {} : { global_pool: "token" }), ...(channels === 3 ? {} : { in_chans: channels }) };
  return {
    architecture: timmArchitecture(config),
    num_classes: 0,
    num_features: width,
    global_pool: "token",
    ...(Object.keys(args).length === 0 ? {} : { model_args: args }),
    pretrained_cfg: {
      ...timmInput(processor, channels),
      ...(isFixed ? { input_size: [channels, px, px] } : {}),
      num_classes: 0,
      fixed_input_size: isFixed,
      custom_load: false,
      first_conv: "patch_embed.proj",
      classifier: "head",
    },
  };
}

/** `config.json` of a ConvNeXt without a classifier. Throws ConfigError for a processor that timm has no words for. */
export function convnextToTimmConfig(config: ConvNeXtConfig, processor: object): object {
  const { depths, widths, channels = 3 } = config;
  const known = [...CONVNEXT_PRESETS].find(
    ([name, preset]) => /^convnext_[a-z]+$/.test(name) && preset.depths.join() === depths.join() && preset.widths.join() === widths.join(),
  );
  const args = { ...(known === undefined ? { depths, dims: widths } : {}), ...(channels === 3 ? {} : { in_chans: channels }) };
  return {
    architecture: known?.[0] ?? "convnext_tiny",
    num_classes: 0,
    num_features: widths[3],
    global_pool: "avg",
    ...(Object.keys(args).length === 0 ? {} : { model_args: args }),
    pretrained_cfg: {
      ...timmInput(processor, channels),
      num_classes: 0,
      fixed_input_size: false,
      custom_load: false,
      first_conv: "stem.0",
      classifier: "head.fc",
    },
  };
}
