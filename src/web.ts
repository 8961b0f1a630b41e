/** @file Tricera in the browser: DINO features in a page or a worker. The package's public entry `tricera/web`; nothing here needs Node. */
import "./web/symbols.ts";
export { ConfigError, FormatError, type OnProgress, PlatformError, type Progress, ShapeError } from "./core/index.ts";
export type { ResizePolicy } from "./features/fit.ts";
export type { ImageFeatures, LayerFeatures } from "./features/image-features.ts";
export { type EmbedImageOptions, type LoadedModel, loadModel, type LoadModelOptions, type ModelSource } from "./web/load-model.ts";
export type { NamedBlob } from "./web/model-files.ts";
export { clearWeights } from "./web/part-store.ts";
export type { RawPicture } from "./features/raw-picture.ts";
export type { Drawable, WebPicture as Picture } from "./web/read-picture.ts";
export { bestPatch, type PatchTokens, similarityMap } from "./web/similarity.ts";
export { colormap, type ColormapName } from "./views/colormap.ts";
export { pcaPictures, type PcaPictureOptions, type TokenMap } from "./views/pca.ts";
