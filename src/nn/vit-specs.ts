/** @file The parameters of a ViT under their published key names, and how they start. DINO spec §1.6, §2.3, §3.1. */
import { ffnLayers } from "./ffn.ts";
import { type Init, linearSpecs, normSpecs, type ParamSpec } from "./params.ts";
import { checkViT, type ViTConfig } from "./vit-config.ts";

/** Norm parameters: `rmsnorm` has no bias. */
function normsOf(config: ViTConfig, name: string): ParamSpec[] {
  const specs = normSpecs(name, config.width);
  return config.norm === "rmsnorm" ? specs.slice(0, 1) : specs;
}

function tokenSpecs(config: ViTConfig): ParamSpec[] {
  const { width, imageSizePx, patchSizePx, registers = 0, tokenInitStd, positions = "learned", posEmbedInit = "normal" } = config;
  const { registerName = "register_tokens", maskToken = false } = config;
  const side = imageSizePx / patchSizePx;
  const drawn: Init = { kind: "truncNormal", std: 0.02 };
  const token: Init = tokenInitStd === undefined ? drawn : { kind: "normal", std: tokenInitStd };
  const place: Init = posEmbedInit === "sincos" ? { kind: "sincos", side, width } : drawn;
  return [
    { name: "cls_token", shape: [1, 1, width], init: token },
    ...(positions === "learned" ? [{ name: "pos_embed", shape: [1, 1 + side ** 2, width], init: place }] : []),
    ...(registers > 0 ? [{ name: registerName, shape: [1, registers, width], init: token }] : []),
    ...(maskToken ? [{ name: "mask_token", shape: [1, width], init: { kind: "zeros" } as const }] : []),
  ];
}

function patchSpecs({ width, channels = 3, patchSizePx }: ViTConfig): ParamSpec[] {
  const conv: Init = { kind: "uniform", bound: 1 / Math.sqrt(channels * patchSizePx ** 2) }; // torch's default for convolutions
  return [
    { name: "patch_embed.proj.weight", shape: [width, channels, patchSizePx, patchSizePx], init: conv },
    { name: "patch_embed.proj.bias", shape: [width], init: conv },
  ];
}

function scaleSpecs({ layerScale, width }: ViTConfig, name: string): ParamSpec[] {
  if (layerScale === undefined) return [];
  return [{ name: `${name}.gamma`, shape: [width], init: { kind: "constant", value: layerScale } }];
}

function blockSpecs(config: ViTConfig, block: string): ParamSpec[] {
  const { width, qkvBias = true } = config;
  return [
    ...normsOf(config, `${block}.norm1`),
    ...linearSpecs(`${block}.attn.qkv`, { in: width, out: 3 * width, bias: qkvBias }),
    ...linearSpecs(`${block}.attn.proj`, { in: width, out: width }),
    ...scaleSpecs(config, `${block}.ls1`),
    ...normsOf(config, `${block}.norm2`),
    ...ffnLayers(config).flatMap((layer) => linearSpecs(`${block}.mlp.${layer.name}`, layer)),
    ...scaleSpecs(config, `${block}.ls2`),
  ];
}

/** Every parameter with its published key name; buffers (`bias_mask`, `rope_embed.periods`) are none. Throws ConfigError. */
export function vitSpecs(config: ViTConfig): ParamSpec[] {
  checkViT(config);
  return [
    ...tokenSpecs(config),
    ...patchSpecs(config),
    ...Array.from({ length: config.depth }, (_, i) => blockSpecs(config, `blocks.${i}`)).flat(),
    ...normsOf(config, "norm"),
    ...(config.localClsNorm === true ? normsOf(config, "local_cls_norm") : []),
    ...(config.untieClsAndPatchNorms === true ? normsOf(config, "cls_norm") : []),
  ];
}
