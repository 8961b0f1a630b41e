/** @file The networks that have names of their own: the presets of `nn`, with what sets each apart from its line. */
import {
  type BackboneConfig,
  backboneDepth,
  backboneWidth,
  CONVNEXT_PRESETS,
  type ConvNeXtConfig,
  isViT,
  patchSizeOf,
  RESNET_PRESETS,
  type ResNetConfig,
  VIT_PRESETS,
  type ViTConfig,
} from "../../nn/index.ts";
import { type ArchLine, INGREDIENTS, type Ingredients } from "./ingredients.ts";

export interface ArchSize {
  readonly depth: number;
  readonly width: number;
  readonly heads: number;
}

/** A network that a name stands for. */
export interface Arch {
  /** Its own name, where the one given is an alias. */
  readonly name: string;
  /** Undefined for a bare ViT size, which takes the method's ingredients. */
  readonly line: ArchLine | undefined;
  readonly size: ArchSize;
  readonly patchSizePx: number;
  /** Side of the picture its published weights are for. */
  readonly imageSizePx?: number;
  /** Ingredients that are not its line's. */
  readonly own: Partial<Ingredients>;
}

function lineOfVit({ positions, layerScale }: ViTConfig): ArchLine {
  if (positions === "rope") return "dinov3";
  return layerScale === undefined ? "dino" : "dinov2";
}

/** What a preset says of its ingredients. */
function ingredientsOf(config: ViTConfig): Partial<Ingredients> {
  const { mlpRatio, posInterpolation, layerNormEps, channels, registers, layerScale, ffn, ffnHidden } = config;
  const { qkvBias, keyBiasMask, norm, positions, maskToken, localClsNorm, rope } = config;
  const said: { readonly [K in keyof Ingredients]?: Ingredients[K] | undefined } = {
    mlpRatio,
    posInterpolation,
    layerNormEps,
    channels,
    registers,
    layerScale,
    ffn,
    ffnHidden,
    qkvBias,
    keyBiasMask,
    norm,
    positions,
    maskToken,
    localClsNorm,
    ropeBase: rope?.base,
    ropeShift: rope?.shift,
    ropeJitter: rope?.jitter,
    ropeRescale: rope?.rescale,
  };
  return withoutUndefined(said);
}

function withoutUndefined<T extends object>(value: { readonly [K in keyof T]?: T[K] | undefined }): Partial<T> {
  // only what is undefined is taken out
  return Object.fromEntries(Object.entries(value).filter(([, x]) => x !== undefined)) as Partial<T>;
}

function ownOf(config: ViTConfig, line: ArchLine): Partial<Ingredients> {
  const usual = new Map<string, unknown>(Object.entries(INGREDIENTS[line]));
  // a part of the ingredients is still a part of them
  return Object.fromEntries(Object.entries(ingredientsOf(config)).filter(([key, x]) => usual.get(key) !== x)) as Partial<Ingredients>;
}

function archOf(name: string, config: BackboneConfig): Arch {
  const size = { depth: backboneDepth(config), width: backboneWidth(config), heads: isViT(config) ? config.heads : 1 };
  const patchSizePx = patchSizeOf(config);
  if (!isViT(config)) return { name, line: config.family, size, patchSizePx, imageSizePx: 224, own: {} };
  const line = lineOfVit(config);
  return { name, line, size, patchSizePx, imageSizePx: config.imageSizePx, own: ownOf(config, line) };
}

/** Presets by every name; names of one network share its entry, whose own name is the first. */
function tableOf(presets: ReadonlyMap<string, BackboneConfig>): [string, Arch][] {
  const seen = new Map<BackboneConfig, Arch>();
  return [...presets].map(([name, config]) => {
    const arch = seen.get(config) ?? archOf(name, config);
    seen.set(config, arch);
    return [name, arch];
  });
}

/** The networks that have names of their own, by each of their names. */
export const NAMED_ARCHS: ReadonlyMap<string, Arch> = new Map([
  ...tableOf(VIT_PRESETS),
  ...tableOf(CONVNEXT_PRESETS),
  ...tableOf(RESNET_PRESETS),
]);

/** A convolutional network by one of its names. */
export function stagedConfig(arch: string): ConvNeXtConfig | ResNetConfig | undefined {
  return CONVNEXT_PRESETS.get(arch) ?? RESNET_PRESETS.get(arch);
}
