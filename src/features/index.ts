/** @file Features: encoders, models opened from folders, tables. */
export { defaultBatchSize } from "./batch-size.ts";
export { embed, type EmbedOptions, type EmbedResult, extractByModel, type ExtractRequest, type HowExtracted } from "./embed.ts";
export { type Encoded, Encoder, type EncodeRequest, type EncoderOptions } from "./encoder.ts";
export { type FeatureTable, isFeatureTable, readFeatureTable } from "./table.ts";
export { type Extracted, extractFeatures, type ExtractOptions, normalizeRows } from "./extract.ts";
export { type ResizePolicy } from "./fit.ts";
export { type ImageFeatures, type LayerFeatures, splitTokens, type TokenLayout } from "./image-features.ts";
export { type EmbedImageOptions, type LoadedModel, loadModel, type LoadModelOptions } from "./load-model.ts";
export { type Picture, type RawPicture } from "./picture.ts";
export { openEncoder, type OpenEncoder, openModel, type OpenModel, type OrtDevice } from "./model.ts";
export type { PictureEncoder } from "./picture-encoder.ts";
export { type Nearest, nearestNeighbours, type NearestOptions, planSearch, type SearchBlocks, type SearchPlan } from "./nearest.ts";
export { type EncoderRequest, type PictureSize, type Pooling, traceEncoder } from "./trace-encoder.ts";
export type { DecodeRules, Preprocessing } from "./processor.ts";
export {
  type CheckResult,
  type Difference,
  type ExportFormat,
  exportModel,
  type ExportOptions,
  type ExportResult,
  type NamedShapes,
  type OutputName,
  type WeightDType,
} from "./export/index.ts";
