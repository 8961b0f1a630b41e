/**
 * @file Presets of the DINO family's ViTs: data, never a subclass; no weights are made. DINO spec §1.6, §2.3, §3.1.
 *
 * Canonical ids are ours; Meta's, Hugging Face's and timm's names are aliases. `posInterpolation` is what Hugging Face computes for the
 * architecture, so that exports of models trained from a preset agree everywhere; weights of another source may want another.
 */
import { ConfigError, nameHint } from "../core/index.ts";
import type { ViTConfig } from "./vit-config.ts";

type Size = Pick<ViTConfig, "width" | "depth" | "heads">;

export const VIT_SIZES: { readonly [K in "tiny" | "small" | "base"]: Size } = {
  tiny: { width: 192, depth: 12, heads: 3 },
  small: { width: 384, depth: 12, heads: 6 },
  base: { width: 768, depth: 12, heads: 12 },
};
const LARGE: Size = { width: 1024, depth: 24, heads: 16 };
const HUGE: Size = { width: 1280, depth: 32, heads: 20 };
const GIANT: Size = { width: 1536, depth: 40, heads: 24 };
const SEVEN_BILLION: Size = { width: 4096, depth: 40, heads: 32 };

/** A configuration and all its names, the canonical one first. */
type Named = readonly [names: readonly string[], config: ViTConfig];

function dinoVit(size: Size, patchSizePx: number): ViTConfig {
  return { ...size, imageSizePx: 224, patchSizePx, mlpRatio: 4, layerNormEps: 1e-6, posInterpolation: "size" };
}

const DINO: readonly Named[] = Object.entries(VIT_SIZES).flatMap(([name, size]) =>
  [16, 8, 14].map((patch): Named => {
    const short = `vit${name.charAt(0)}${patch}`;
    const long = `vit_${name}_patch${patch}`;
    const published = name !== "tiny" && patch !== 14 ? [`facebook/dino-${short}`, `${long}_224.dino`] : [];
    return [[`dino_${short}`, long, `${long}_224`, ...published], dinoVit(size, patch)];
  }),
);

/** SwiGLU of a given hidden width; `mlpRatio` then says the same. */
function gated(ffn: "swiglu" | "swiglu-fused", { width }: Size, hidden: number): Pick<ViTConfig, "ffn" | "ffnHidden" | "mlpRatio"> {
  return { ffn, ffnHidden: hidden, mlpRatio: hidden / width };
}

function dinov2Vit(size: Size, rest: Partial<ViTConfig>): ViTConfig {
  return {
    ...dinoVit(size, 14),
    imageSizePx: 518,
    maskToken: true,
    tokenInitStd: 1e-6,
    layerScale: 1e-5,
    ...rest,
  };
}

/** Positions of models with registers are resized with antialias, by Meta and by Hugging Face. */
const WITH_REGISTERS = { registers: 4, posInterpolation: "size-antialias" } as const;

const DINOV2: readonly Named[] = (
  [
    ["small", VIT_SIZES.small, {}],
    ["base", VIT_SIZES.base, {}],
    ["large", LARGE, {}],
    ["giant", GIANT, gated("swiglu-fused", GIANT, 4096)],
  ] as const
).flatMap(([name, size, ffn]): Named[] => {
  const id = `dinov2_vit${name.charAt(0)}14`;
  const timm = (kind: string): string[] => [`vit_${name}_patch14_${kind}`, `vit_${name}_patch14_${kind}.lvd142m`];
  return [
    [[id, `facebook/dinov2-${name}`, ...timm("dinov2")], dinov2Vit(size, ffn)],
    [
      [`${id}_reg`, `${id}_reg4`, `facebook/dinov2-with-registers-${name}`, ...timm("reg4_dinov2")],
      dinov2Vit(size, { ...ffn, ...WITH_REGISTERS }),
    ],
  ];
});

function dinov3Vit(size: Size, rest: Partial<ViTConfig>): ViTConfig {
  return {
    ...dinoVit(size, 16),
    layerNormEps: 1e-5,
    registers: 4,
    registerName: "storage_tokens",
    maskToken: true,
    tokenInitStd: 0.02,
    layerScale: 1e-5,
    keyBiasMask: true,
    positions: "rope",
    rope: { base: 100, normalize: "separate", rescale: 2 },
    ...rest,
  };
}

interface DinoV3Entry {
  /** Our id, and Meta's where it differs. */
  readonly ids: readonly [string, ...string[]];
  readonly config: ViTConfig;
  /** Meta's name of the architecture in the names on Hugging Face, and timm's; those not published there have none. */
  readonly hub?: { readonly meta: string; readonly timm: string; readonly data: readonly string[] };
}

const LVD = "lvd1689m";
const SAT = "sat493m";

const DINOV3_ENTRIES: readonly DinoV3Entry[] = [
  {
    ids: ["dinov3_vits16"],
    config: dinov3Vit(VIT_SIZES.small, {}),
    hub: { meta: "vits16", timm: "small", data: [LVD] },
  },
  {
    ids: ["dinov3_vitsplus16", "dinov3_vits16plus"],
    config: dinov3Vit(VIT_SIZES.small, gated("swiglu", VIT_SIZES.small, 1536)),
    hub: { meta: "vits16plus", timm: "small_plus", data: [LVD] },
  },
  {
    ids: ["dinov3_vitb16"],
    config: dinov3Vit(VIT_SIZES.base, {}),
    hub: { meta: "vitb16", timm: "base", data: [LVD] },
  },
  {
    ids: ["dinov3_vitl16"],
    config: dinov3Vit(LARGE, {}),
    hub: { meta: "vitl16", timm: "large", data: [LVD, SAT] },
  },
  { ids: ["dinov3_vitl16_sat"], config: dinov3Vit(LARGE, { localClsNorm: true }) },
  { ids: ["dinov3_vitlplus16", "dinov3_vitl16plus"], config: dinov3Vit(LARGE, gated("swiglu", LARGE, 4096)) },
  {
    ids: ["dinov3_vithplus16", "dinov3_vith16plus"],
    config: dinov3Vit(HUGE, gated("swiglu", HUGE, 5120)),
    hub: { meta: "vith16plus", timm: "huge_plus", data: [LVD] },
  },
  {
    ids: ["dinov3_vit7b16"],
    config: dinov3Vit(SEVEN_BILLION, { ...gated("swiglu", SEVEN_BILLION, 8192), qkvBias: false, localClsNorm: true }),
    hub: { meta: "vit7b16", timm: "7b", data: [LVD, SAT] },
  },
];

/**
 * Hugging Face and timm leave out the norm of local crops, which only training reads. timm has a second form of each model, named `qkvb`,
 * that keeps the biases of queries and values; the first one has none.
 */
function dinov3Names({ ids, config, hub }: DinoV3Entry): Named[] {
  if (hub === undefined) return [[ids, config]];
  const { localClsNorm: _, ...published } = config;
  const timm = (form: string): string[] => [form, ...hub.data.map((data) => `${form}.${data}`)];
  const form = `vit_${hub.timm}_patch16_dinov3`;
  return [
    [ids, config],
    [hub.data.map((data) => `facebook/dinov3-${hub.meta}-pretrain-${data}`), published],
    [timm(form), { ...published, qkvBias: false }],
    ...(config.qkvBias === false ? [] : [[timm(`${form}_qkvb`), published] as const]),
  ];
}

/** Canonical names and the aliases people type. */
export const VIT_PRESETS: ReadonlyMap<string, ViTConfig> = new Map(
  [...DINO, ...DINOV2, ...DINOV3_ENTRIES.flatMap(dinov3Names)].flatMap(([names, config]) => names.map((name) => [name, config] as const)),
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
