/** @file Tricera: train, embed and evaluate DINO vision transformers. The package's public entry in Node. */
export {
  ConfigError,
  FormatError,
  type JobOptions,
  type OnProgress,
  PlatformError,
  type Progress,
  ShapeError,
  UsageError,
} from "./core/index.ts";
export {
  evalKnn,
  type EvalKnnOptions,
  type EvalKnnResult,
  evalPatchKnn,
  type EvalPatchKnnOptions,
  type PatchKnnResult,
} from "./evals/index.ts";
export {
  embed,
  type EmbedImageOptions,
  type EmbedOptions,
  type EmbedResult,
  exportModel,
  type ExportOptions,
  type ExportResult,
  type ImageFeatures,
  type LayerFeatures,
  type LoadedModel,
  loadModel,
  type LoadModelOptions,
  type Picture,
  type Pooling,
  type RawPicture,
  type ResizePolicy,
} from "./features/index.ts";
export {
  distill,
  type DistillOptions,
  type TrainConfig,
  train,
  type TrainOptions,
  type TrainResult,
  type UserConfig,
} from "./train/index.ts";
export {
  type CachedModel,
  convertModel,
  type ConvertOptions,
  type ConvertResult,
  type ConvertTarget,
  findEntry,
  listCache,
  pullModel,
  type PullOptions,
  type PullResult,
  resolveModelPath,
} from "./weights/index.ts";
