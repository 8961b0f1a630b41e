/** @file Pictures in Node: decode, encode, and the pools that make batches on worker threads. The only importer of sharp. */
export { decodeImage, DEFAULT_MAX_PIXELS, loadImage, readImageBytes, readImageSize } from "./decode.ts";
export type { AlphaPolicy, DecodeOptions, DecodePolicy, ImageRef } from "./decode.ts";
export { decodeBands, loadBands } from "./decode-bands.ts";
export type { DecodeBandsOptions } from "./decode-bands.ts";
export { encodeJpeg, encodePng, renderSvg } from "./encode.ts";
export type { JpegOptions } from "./encode.ts";
export { openCropPool } from "./pool.ts";
export type { CropBatch, CropPool, CropPoolOptions, FailedImage, ReplaceImage } from "./pool.ts";
export { openEvalPool } from "./eval-pool.ts";
export type { EvalBatch, EvalPool, EvalPoolOptions } from "./eval-pool.ts";
export { decodeMask, type DecodeMaskOptions, loadMask, type MaskImage } from "./mask.ts";
