/** @file Whose names the tensors of a ViT have, and which architecture they are of. */
import { ConfigError, FormatError, type HostTensor, type Shape } from "../../core/index.ts";
import { ropePeriods, VIT_PRESETS, type ViTConfig } from "../../nn/index.ts";
import { type Dialect, dialectOf, storedName, TABLES, vitLinks } from "./dialects.ts";
import { compareKeys, isClean, type Shapes, storedShapes } from "./links.ts";

/** Whose names these are. DINO's own and timm's are the same: they count as Meta's. Undefined for names of neither. */
export function detectDialect(names: ReadonlySet<string> | Shapes): Dialect | undefined {
  if (names.has("embeddings.cls_token")) {
    if (names.has("layer.0.norm1.weight")) return "hf-dinov3";
    return names.has("encoder.layer.0.layernorm_before.weight") ? "hf-vit" : "hf-dinov2";
  }
  if (!names.has("cls_token")) return undefined;
  if (names.has("blocks.0.gamma_1")) return "timm-rope";
  if (names.has("reg_token")) return "timm";
  return names.has("blocks.0.ls1.gamma") && !names.has("mask_token") ? "timm" : "meta";
}

export interface InferOptions {
  readonly dialect: Dialect;
  readonly file: string;
  /** Meta's buffer of rotary periods, if the file has it: it tells the size of a head. */
  readonly periods?: HostTensor | undefined;
}

type Lookup = (ours: string) => Shape | undefined;

function lookup(shapes: Shapes, dialect: Dialect): Lookup {
  return (ours) => {
    const name = storedName(dialect, ours);
    return name === undefined ? undefined : shapes.get(name);
  };
}

/** How many different blocks there are; one that is missing in between shows when keys are compared. */
function depthOf(shapes: Shapes, dialect: Dialect): number {
  const { blocks } = TABLES[dialect];
  const numbers = [...shapes.keys()].flatMap((name) => (name.startsWith(blocks) ? [/^\d+/.exec(name.slice(blocks.length))?.[0]] : []));
  return new Set(numbers.filter((n) => n !== undefined)).size;
}

function feedForward(at: Lookup): Pick<ViTConfig, "ffn" | "ffnHidden"> {
  const [joint, gate, last] = ["w12", "w1", "w3"].map((w) => at(`blocks.0.mlp.${w}.weight`)) as [Shape?, Shape?, Shape?]; // three
  const hidden = last?.[1];
  if (gate !== undefined) return { ffn: "swiglu", ffnHidden: gate[0] ?? 1 };
  if (joint !== undefined && hidden !== undefined && joint[0] === 2 * hidden) return { ffn: "swiglu-fused", ffnHidden: hidden };
  return { ffnHidden: at("blocks.0.mlp.fc1.weight")?.[0] ?? 1 };
}

function hasQkvBias(shapes: Shapes, dialect: Dialect): boolean {
  const { qkv, blocks } = TABLES[dialect];
  const names = qkv === undefined ? ["attn.qkv.bias", "attn.q_bias"] : [`${qkv[0]}.bias`];
  return names.some((name) => shapes.has(`${blocks}0.${name}`));
}

/** Learned positions are of a square grid; timm's with registers lack the class token's. */
function gridSide(tokens: number, file: string): number {
  const side = [tokens - 1, tokens].map(Math.sqrt).find(Number.isInteger);
  if (side !== undefined && side > 0) return side;
  throw new FormatError(`Cannot read weights of "${file}": its ${tokens} positions are of no square grid; only squares are known`, {
    file,
  });
}

/** Base of `base^(4i / headDim)`, i from 0; one within 1 % of 100 is 100. */
function ropeBase(periods: HostTensor): number {
  const n = periods.data.length;
  const base = Number(periods.data[n - 1]) ** (n / Math.max(1, n - 1));
  return n < 2 || Math.abs(base - 100) <= 1 ? 100 : base;
}

/** Parts that a network has or has not. */
function readExtras(at: Lookup): Partial<ViTConfig> {
  return {
    ...(at("mask_token") === undefined ? {} : { maskToken: true }),
    ...(at("blocks.0.ls1.gamma") === undefined ? {} : { layerScale: 1e-5 }),
    ...(at("local_cls_norm.weight") === undefined ? {} : { localClsNorm: true }),
    ...(at("cls_norm.weight") === undefined ? {} : { untieClsAndPatchNorms: true }),
    ...(at("norm.bias") === undefined ? { norm: "rmsnorm" } : {}),
  };
}

function readRegisters(at: Lookup, isRope: boolean): Partial<ViTConfig> {
  const tokens = at("storage_tokens") ?? at("register_tokens");
  const registers = tokens?.[1] ?? 0;
  if (registers === 0) return {};
  return { registers, registerName: isRope ? "storage_tokens" : "register_tokens" };
}

function readRope(periods: HostTensor | undefined): Partial<ViTConfig> {
  return { positions: "rope", keyBiasMask: true, rope: { base: periods === undefined ? 100 : ropeBase(periods) } };
}

/** A ViT but for its heads, of which shapes say nothing. */
type Headless = Omit<ViTConfig, "heads">;

/** What the shapes say. */
function readShapes(shapes: Shapes, { dialect, file, periods }: InferOptions): Headless {
  const at = lookup(shapes, dialect);
  const [width = 1, channels = 3, patchSizePx = 1] = at("patch_embed.proj.weight") ?? [];
  const places = at("pos_embed");
  const isRope = places === undefined;
  const ffn = feedForward(at);
  return {
    imageSizePx: isRope ? 224 : gridSide(places[1] ?? 0, file) * patchSizePx,
    patchSizePx,
    width,
    depth: depthOf(shapes, dialect),
    mlpRatio: (ffn.ffnHidden ?? width) / width,
    layerNormEps: isRope ? 1e-5 : 1e-6,
    posInterpolation: "size",
    ...(channels === 3 ? {} : { channels }),
    ...ffn,
    ...readRegisters(at, isRope),
    ...(hasQkvBias(shapes, dialect) ? {} : { qkvBias: false }),
    ...readExtras(at),
    ...(isRope ? readRope(periods) : {}),
  };
}

/** The preset of these shapes at this size of positions. */
function matchingPreset(shapes: Shapes, read: Headless, dialect: Dialect): ViTConfig | undefined {
  for (const preset of new Set(VIT_PRESETS.values())) {
    if (preset.width !== read.width || preset.depth !== read.depth || preset.patchSizePx !== read.patchSizePx) continue;
    if (dialectOf(TABLES[dialect].naming, preset) !== dialect) continue;
    if (preset.localClsNorm === true && dialect !== "meta") continue; // the published form is a preset too
    const config: ViTConfig = {
      ...preset,
      ...(preset.positions === "rope" ? {} : { imageSizePx: read.imageSizePx }),
      ...(read.channels === undefined ? {} : { channels: read.channels }),
    };
    if (isClean(compareKeys(shapes, storedShapes(vitLinks(config, dialect)), TABLES[dialect].ignored))) return config;
  }
  return undefined;
}

function headsOf({ width, depth }: Headless, { periods, file }: InferOptions): number {
  if (periods !== undefined) return width / (4 * periods.data.length);
  const known = [...VIT_PRESETS.values()].find((p) => p.width === width && p.depth === depth);
  if (known !== undefined) return known.heads;
  throw new ConfigError(
    `Cannot open "${file}": weights of width ${width} and depth ${depth} do not say how many heads they have; name their architecture (--arch)`,
    { keyPath: "arch" },
  );
}

/**
 * The architecture that shapes are of: a preset of the family where one fits, else what the shapes say, with the heads from rotary periods
 * or from a preset of this width and depth. Position interpolation is left at `size`. Throws ConfigError where the heads are not known, and
 * FormatError for positions of no square.
 */
export function inferViT(shapes: Shapes, options: InferOptions): ViTConfig {
  const read = readShapes(shapes, options);
  return matchingPreset(shapes, read, options.dialect) ?? { ...read, heads: headsOf(read, options) };
}

/** A named architecture with the size at which these positions are stored, and their channels. */
export function adjustToShapes(config: ViTConfig, shapes: Shapes, { dialect, file }: InferOptions): ViTConfig {
  const at = lookup(shapes, dialect);
  const channels = at("patch_embed.proj.weight")?.[1] ?? 3;
  const places = config.positions === "rope" ? undefined : at("pos_embed");
  return {
    ...config,
    ...(channels === (config.channels ?? 3) ? {} : { channels }),
    ...(places === undefined ? {} : { imageSizePx: gridSide(places[1] ?? 0, file) * config.patchSizePx }),
  };
}

/** Throws FormatError where stored rotary periods are not those of the configuration (to 1 %: some are stored as bfloat16). */
export function checkPeriods(config: ViTConfig, periods: HostTensor, file: string): void {
  const wanted = config.positions === "rope" ? ropePeriods(config.rope ?? {}, config.width / config.heads) : [];
  const fits = wanted.length === periods.data.length && wanted.every((p, i) => Math.abs(Number(periods.data[i]) / p - 1) <= 0.01);
  if (fits) return;
  throw new FormatError(
    `Cannot read weights of "${file}": its ${periods.data.length} rotary periods are not those of this architecture; choose the architecture of these weights`,
    { file },
  );
}
