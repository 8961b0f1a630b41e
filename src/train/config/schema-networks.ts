/** @file Networks and what they see, key by key: model, heads, crops, augmentation, masks. */
import { z } from "zod";
import type { SectionSchema } from "./schema-section.ts";
import {
  atLeast1,
  choice,
  count,
  countOrZero,
  flag,
  notNegative,
  perChannel,
  positive,
  range,
  rateBelow1,
  share,
  text,
  triple,
  wants,
} from "./schema-values.ts";

const areaRange = range(positive.max(1, wants("a number above 0 and up to 1")), "each above 0 and up to 1 (shares of the picture's area)");
const SIZES =
  "a list of { globalSizePx, localSizePx, gramSizePx, ratio }: whole pixels (gramSizePx 0 = the global size) and a share of the steps";
const sizes = z.array(
  z.strictObject(
    {
      globalSizePx: z.int(wants(SIZES)).min(1, wants(SIZES)),
      localSizePx: z.int(wants(SIZES)).min(1, wants(SIZES)),
      gramSizePx: z.int(wants(SIZES)).min(0, wants(SIZES)),
      ratio: z.number(wants(SIZES)).gt(0, wants(SIZES)).max(1, wants(SIZES)),
    },
    wants(SIZES),
  ),
  wants(SIZES),
);

export const model: SectionSchema<"model"> = z.strictObject({
  arch: text,
  family: choice("vit", "convnext", "resnet"),
  depth: count,
  width: count,
  heads: count,
  mlpRatio: positive,
  patchSizePx: count,
  imageSizePx: count,
  channels: count,
  dropPath: rateBelow1,
  dropPathKind: choice("per-sample", "subset"),
  dropPathUniform: flag,
  posInterpolation: choice("meta-offset", "size", "size-antialias"),
  posEmbedInit: choice("normal", "sincos"),
  registers: countOrZero,
  layerScale: notNegative,
  ffn: choice("mlp", "swiglu-fused", "swiglu"),
  ffnHidden: countOrZero,
  qkvBias: flag,
  keyBiasMask: flag,
  norm: choice("layernorm", "rmsnorm"),
  layerNormEps: positive,
  positions: choice("learned", "rope"),
  ropeBase: z.number(wants("a number above 1")).gt(1, wants("a number above 1")),
  ropeShift: notNegative,
  ropeJitter: atLeast1,
  ropeRescale: atLeast1,
  maskToken: flag,
  localClsNorm: flag,
});
export const crops: SectionSchema<"crops"> = z.strictObject({
  globalSizePx: count,
  localSizePx: count,
  localCount: countOrZero,
  globalScaleRange: areaRange,
  localScaleRange: areaRange,
  interpolation: choice("bicubic", "bilinear"),
  sizes,
});
export const augment: SectionSchema<"augment"> = z.strictObject({
  hflip: share,
  jitterProb: share,
  brightness: notNegative,
  contrast: notNegative,
  saturation: notNegative,
  hue: notNegative.max(0.5, wants("a number from 0 to 0.5")),
  grayscale: share,
  blur: choice("published", "intended"),
  blurProb: triple(share, "each from 0 to 1 (first global, second global, local)"),
  blurSigmaRange: range(positive, "each above 0"),
  solarizeProb: triple(share, "each from 0 to 1 (first global, second global, local)"),
  solarizeThreshold: notNegative.max(255, wants("a number from 0 to 255")),
  mean: perChannel(z.number(wants("a number")), "one a channel"),
  std: perChannel(positive, "one a channel, each above 0"),
});
export const mask: SectionSchema<"mask"> = z.strictObject({
  probability: share,
  ratioMin: share,
  ratioMax: share,
  fill: choice("under", "exact"),
  shift: flag,
});
export const head: SectionSchema<"head"> = z.strictObject({
  prototypes: count.min(2, wants("a whole number of at least 2")),
  hidden: count,
  bottleneck: count,
  layers: count,
  batchNorm: flag,
  normLastLayer: flag,
  lastLayer: choice("weight-norm", "plain"),
  ibotSeparate: flag,
  ibotPrototypes: count.min(2, wants("a whole number of at least 2")),
  ibotHidden: count,
  ibotBottleneck: count,
});
