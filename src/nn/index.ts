/** @file Models: layers, DINO's ViT, heads, presets. A model is a list of parameters and a pure function. */
export {
  type BackboneConfig,
  backboneDepth,
  backboneFeatures,
  type BackboneFeatures,
  type BackboneOptions,
  backboneSpecs,
  backboneState,
  backboneWidth,
  gridSideOf,
  isViT,
  patchSizeOf,
} from "./backbone.ts";
export {
  applyDinoHead,
  applyHeadTrunk,
  applyLastLayer,
  type DinoHeadConfig,
  dinoHeadSpecs,
  dinoHeadState,
  type HeadOptions,
} from "./dino-head.ts";
export { batchNorm, batchNormSpecs, type BatchNormState, batchNormState } from "./batch-norm.ts";
export {
  CONVNEXT_STRIDE_PX,
  type ConvNeXtConfig,
  convnextDropRates,
  type ConvNeXtFeatures,
  convnextFeatures,
  type ConvNeXtOptions,
  convnextSpecs,
  type Stages,
} from "./convnext.ts";
export { CONVNEXT_PRESETS, convnextPreset } from "./convnext-presets.ts";
export {
  RESNET_STRIDE_PX,
  type ResNetConfig,
  type ResNetFeatures,
  resnetFeatures,
  type ResNetOptions,
  resnetSpecs,
  resnetState,
  resnetWidth,
} from "./resnet.ts";
export { RESNET_PRESETS, resnetPreset } from "./resnet-presets.ts";
export { type Drop, dropSubset, type Subset } from "./block.ts";
export { inflatePatchEmbed } from "./embed.ts";
export { swigluHidden } from "./ffn.ts";
export { linear, norm, residual } from "./layers.ts";
export { type LoraConfig, loraSpecs, type LoraTarget, mergeLora, withLora } from "./lora.ts";
export {
  type Init,
  initParam,
  linearSpecs,
  type LowRank,
  normSpecs,
  type Params,
  type ParamSpec,
  prefixed,
  scoped,
  traceParams,
} from "./params.ts";
export { type Grid, interpolatePositions, interpolationMatrix, type PosInterpolation } from "./position.ts";
export { drawRope, type RopeConfig, type RopeDraws, ropeIsAugmented, ropePeriods, type RopeTables, ropeTables } from "./rope.ts";
export type { Rope } from "./rotary.ts";
export { VIT_PRESETS, VIT_SIZES, vitPreset } from "./presets.ts";
export {
  applyViT,
  type ApplyViTOptions,
  type DropPath,
  finalNorm,
  vitFeatures,
  type ViTConfig,
  type ViTFeatures,
  type ViTOptions,
  vitSpecs,
} from "./vit.ts";
export { headDim, prefixTokens } from "./vit-config.ts";
