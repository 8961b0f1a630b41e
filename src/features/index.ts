/** @file Features: encoders, models opened from folders, tables. */
export { embed, type EmbedOptions, type EmbedResult, extractByModel, type ExtractRequest, type HowExtracted } from "./embed.ts";
export { type Encoded, Encoder, type EncoderOptions } from "./encoder.ts";
export { type FeatureTable, isFeatureTable, readFeatureTable } from "./table.ts";
export { type Extracted, extractFeatures, type ExtractOptions, normalizeRows } from "./extract.ts";
export { openModel, type OpenModel } from "./model.ts";
export { type Nearest, nearestNeighbours, type NearestOptions, planSearch, type SearchBlocks, type SearchPlan } from "./nearest.ts";
export { type EncoderRequest, type Pooling, traceEncoder } from "./trace-encoder.ts";
export type { DecodeRules, Preprocessing } from "./processor.ts";
