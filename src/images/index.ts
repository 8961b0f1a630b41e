/** @file Pictures in plain TypeScript: resample, colour, blur, crops. Runs in Node and in a browser; decoding is in `images/node`. */
export { checkBox, checkImage, cropImage, makeImage } from "./image.ts";
export type { Box, FloatImage, RgbImage } from "./image.ts";
export type { Kernel } from "./kernels.ts";
export { resample } from "./resample.ts";
export type { Arithmetic, ResampleOptions } from "./resample.ts";
export { grayscale, jitter } from "./colour.ts";
export type { JitterOp, JitterPlan } from "./colour.ts";
export { blur } from "./blur.ts";
export { flip, IMAGENET_MEAN, IMAGENET_STD, normalise, normaliseInto, solarise } from "./pixel-ops.ts";
export type { NormaliseOptions, Triple } from "./pixel-ops.ts";
export { cropSizes, DINO_AUGMENT, DINO_CROPS, drawCropBox, drawView, fallbackBox, viewPath } from "./crops.ts";
export type { AugmentConfig, CropBoxOptions, CropsConfig, DrawViewOptions, ViewPlan } from "./crops.ts";
export { renderView, renderViewImage } from "./render.ts";
export { centreBox, evalCrop, shortSideSize } from "./eval-crop.ts";
export type { CropOffset, EvalCropConfig } from "./eval-crop.ts";
