/** @file Models: layers, DINO's ViT, heads, presets. A model is a list of parameters and a pure function. */
export {
  type BackboneConfig,
  backboneFeatures,
  type BackboneFeatures,
  type BackboneOptions,
  backboneSpecs,
  backboneState,
} from "./backbone.ts";
export { applyDinoHead, type DinoHeadConfig, dinoHeadSpecs, dinoHeadState, type HeadOptions } from "./dino-head.ts";
export { linear, norm, residual } from "./layers.ts";
export { type Init, initParam, linearSpecs, normSpecs, type Params, type ParamSpec, prefixed, scoped, traceParams } from "./params.ts";
export { type Grid, interpolatePositions, interpolationMatrix, type PosInterpolation } from "./position.ts";
export { VIT_PRESETS, VIT_SIZES, vitPreset } from "./presets.ts";
export { applyViT, type DropPath, type ViTConfig, type ViTOptions, vitSpecs } from "./vit.ts";
