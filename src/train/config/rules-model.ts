/** @file Rules of the pictures' side: the network, the crops and their augmentation, from the number and size of the pictures. */
import { type AugmentConfig, type CropsConfig, DINO_AUGMENT, DINO_CROPS } from "../../images/index.ts";
import { type ArchSizeName, archSize, parseArch } from "./arch.ts";
import { because, type Because, type Chooser, published, SMALL_DATA } from "./choose.ts";
import type { ModelConfig, RunFacts, UserConfig } from "./types.ts";

/** Image sizes the profile picks from: the largest that the pictures fill. */
const IMAGE_SIZES = [32, 64, 96, 128, 224] as const;
/** With this many cores or fewer, 224 px takes days; the profile stays at 96 px unless a published network is asked for. */
const FEW_CORES = 4;
const FEW_CORES_MAX_PX = 96;
/** Pictures below this are small: four local crops, no blur. */
const SMALL_PX = 64;

const n = (value: number): string => value.toLocaleString("en-US");

function multiple(value: number, of: number, least = 1): number {
  return Math.max(least, Math.round(value / of)) * of;
}

function imageSizeRule(user: UserConfig, facts: RunFacts, named: { readonly patchSizePx: number } | undefined): Because<number> {
  const global = user.crops?.globalSizePx;
  if (global !== undefined) return because(global, "the size of the global crops");
  const side = facts.medianSidePx;
  const cap = named === undefined && facts.cores <= FEW_CORES ? FEW_CORES_MAX_PX : 224;
  const fits = IMAGE_SIZES.filter((size) => size <= Math.max(side, 32) && size <= cap).at(-1) ?? 32;
  const patch = user.model?.patchSizePx ?? named?.patchSizePx ?? 1;
  const size = fits % patch === 0 ? fits : multiple(fits, patch);
  const seen = `the pictures' median side is ${n(side)} px`;
  if (fits === cap && cap < 224 && side > cap)
    return because(size, `${seen}; with ${facts.cores} cores more than ${cap} px would take days`);
  return because(size, side < 32 ? `${seen}; 32 px is the least that makes a grid of patches` : seen);
}

function patchRule(imageSizePx: number): Because<number> {
  const wanted = imageSizePx <= 40 ? 4 : imageSizePx <= 96 ? 8 : 16;
  const patch = [16, 14, 12, 10, 8, 7, 6, 5, 4].find((p) => p <= wanted && imageSizePx % p === 0) ?? wanted;
  return because(patch, `${imageSizePx} px pictures make ${Math.floor(imageSizePx / patch)} x ${Math.floor(imageSizePx / patch)} patches`);
}

function sizeRule(images: number, imageSizePx: number): Because<ArchSizeName> {
  if (images < 50_000)
    return imageSizePx <= SMALL_PX
      ? because("nano", `${n(images)} small pictures: 3-4 blocks of width 64-96 learned from the first minute in trials of this scale`)
      : because("micro", `${n(images)} pictures are few: a small network learns sooner`);
  if (images < 500_000) return because("tiny", `${n(images)} pictures are enough for ViT-Ti`);
  return because("small", `${n(images)} pictures are enough for ViT-S, DINO's default`);
}

function headsRule(width: number): Because<number> {
  const perHead = width >= 192 && width % 64 === 0 ? 64 : 32;
  return width % perHead === 0
    ? because(width / perHead, `${perHead} channels a head`)
    : because(1, `width ${width} has no heads of 32 channels`);
}

/** On CIFAR-10, 400 steps of 128: k-NN 35.8 % from sines and cosines, 31.9 % (500 steps) from DINO's random start. */
function positionRule(images: number, width: number): Because<"normal" | "sincos"> {
  return images < SMALL_DATA && width % 4 === 0
    ? because("sincos", `${n(images)} pictures are few: positions that start as sines and cosines need not be learned first`)
    : published("normal");
}

/** Settles the network. Throws ConfigError for a preset that does not exist. */
export function settleModel(choose: Chooser<ModelConfig>, options: { readonly user: UserConfig; readonly facts: RunFacts }): ModelConfig {
  const { user, facts } = options;
  const named = user.model?.arch === undefined ? undefined : parseArch(user.model.arch);
  const imageSizePx = choose("imageSizePx", () => imageSizeRule(user, facts, named));
  const patchSizePx = choose("patchSizePx", () =>
    named === undefined ? patchRule(imageSizePx) : because(named.patchSizePx, "the preset's"),
  );
  const picked = named === undefined ? sizeRule(facts.images, imageSizePx) : because(named.size, "the preset's");
  const size = archSize(picked.value);
  const free = choose.isSet("width") || choose.isSet("depth") || choose.isSet("heads");
  const preset = `vit_${picked.value}_patch${patchSizePx}`;
  const arch = choose("arch", () => (free ? because("vit", `your own sizes over ${preset}`) : because(preset, picked.reason)));
  const width = choose("width", () => because(size.width, picked.reason));
  const depth = choose("depth", () => because(size.depth, picked.reason));
  return {
    arch,
    depth,
    width,
    heads: choose("heads", () => (width === size.width ? because(size.heads, picked.reason) : headsRule(width))),
    mlpRatio: choose("mlpRatio", () => published(4)),
    patchSizePx,
    imageSizePx,
    dropPath: choose("dropPath", () => (depth <= 6 ? because(0, `${depth} blocks are too few to drop any`) : published(0.1))),
    posInterpolation: choose("posInterpolation", () =>
      because("size", "what Hugging Face computes for DINO's ViT, so exports agree everywhere"),
    ),
    posEmbedInit: choose("posEmbedInit", () => positionRule(facts.images, width)),
  };
}

/** Settles the crops: the published ones at 224 px, scaled down with the pictures. */
export function settleCrops(choose: Chooser<CropsConfig>, model: ModelConfig): CropsConfig {
  const { imageSizePx, patchSizePx } = model;
  const small = imageSizePx <= SMALL_PX;
  const globalSizePx = choose("globalSizePx", () => because(imageSizePx, "the network's image size"));
  const localRule = (): Because<number> =>
    globalSizePx === 224 && 96 % patchSizePx === 0
      ? published(96)
      : because(multiple(globalSizePx / 2, patchSizePx, 2), `about half of ${globalSizePx} px, in whole patches of ${patchSizePx}`);
  return {
    globalSizePx,
    localSizePx: choose("localSizePx", localRule),
    localCount: choose("localCount", () =>
      small ? because(4, `${imageSizePx} px pictures show little that is new in more crops`) : published(DINO_CROPS.localCount),
    ),
    globalScaleRange: choose("globalScaleRange", () => published(DINO_CROPS.globalScaleRange)),
    localScaleRange: choose("localScaleRange", () =>
      small ? because([0.1, 0.4] as const, `5 % of a ${imageSizePx} px picture is a few pixels`) : published(DINO_CROPS.localScaleRange),
    ),
    interpolation: choose("interpolation", () => published(DINO_CROPS.interpolation)),
  };
}

/** Settles the augmentation: the published one, without blur where it would leave nothing. */
export function settleAugment(choose: Chooser<AugmentConfig>, crops: CropsConfig): AugmentConfig {
  const px = crops.globalSizePx;
  const plain = <K extends keyof AugmentConfig>(key: K): AugmentConfig[K] => choose(key, () => published(DINO_AUGMENT[key]));
  return {
    hflip: plain("hflip"),
    jitterProb: plain("jitterProb"),
    brightness: plain("brightness"),
    contrast: plain("contrast"),
    saturation: plain("saturation"),
    hue: plain("hue"),
    grayscale: plain("grayscale"),
    blurProb: choose("blurProb", () =>
      px <= SMALL_PX ? because([0, 0, 0] as const, `a blur of up to 2 px wipes out ${px} px crops`) : published(DINO_AUGMENT.blurProb),
    ),
    blurSigmaRange: plain("blurSigmaRange"),
    solarizeProb: plain("solarizeProb"),
    solarizeThreshold: plain("solarizeThreshold"),
    mean: plain("mean"),
    std: plain("std"),
  };
}
