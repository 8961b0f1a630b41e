/** @file Files of tensors: safetensors, npy, PyTorch's; models as folders, and from one naming to another; written whole or not at all. */
export { cleanLeftovers, checkDiskSpace, recoverDir, type FileContent, replaceDirAtomic, writeFileAtomic } from "./atomic-file.ts";
export { type LookedAt, uncheckedName, writeFolderLookedAt, writeLookedAt } from "./looked-at.ts";
export { toFloat32 } from "./half.ts";
export { decodeNpy, readNpy, writeNpy } from "./npy.ts";
export {
  decodeSafetensors,
  encodeSafetensors,
  type Metadata,
  openSafetensors,
  readSafetensors,
  SafetensorsFile,
  type StreamedTensor,
  writeSafetensors,
  type WritableTensors,
} from "./safetensors.ts";
export type { NamedTensors } from "./tensor-bytes.ts";
export {
  fromHuggingFaceConfig,
  huggingFaceClass,
  type HuggingFaceClass,
  huggingFaceConfigText,
  huggingFacePositions,
  toHuggingFaceConfig,
} from "./folder/hf-config.ts";
export type { Backbone, BackboneSource, LazyTensors, OpenBackbone } from "./folder/backbone.ts";
export { float32Of } from "./folder/backbone.ts";
export { CONVERT_TARGETS, convertModel, type ConvertOptions, type ConvertResult, type ConvertTarget } from "./convert/convert.ts";
export { presetNameOf } from "./convert/preset-name.ts";
export { readDescribedConfig } from "./folder/open-network.ts";
export { openBackbone, readBackbone, type ReadBackboneOptions } from "./folder/read-backbone.ts";
export { convnextFromHuggingFaceConfig, convnextToHuggingFaceConfig } from "./folder/convnext-config.ts";
export { resnetToTimmConfig } from "./folder/timm-config.ts";
export { convnextToTimmConfig, vitToTimmConfig } from "./folder/timm-names.ts";
export { defaultProcessor, type WritableConfig, writeModelFolder, writeModelInto, type WriteModelOptions } from "./folder/write-model.ts";
export {
  convnextFrom,
  type ConvNeXtNames,
  convnextTo,
  detectConvNeXt,
  detectResNet,
  fromHuggingFace,
  fromMeta,
  fromTimm,
  inferConvNeXt,
  inferResNet,
  likeliestArchitecture,
  type Naming,
  resnetFrom,
  toHuggingFace,
  toTimm,
} from "./names/index.ts";
export {
  type CachedModel,
  CATALOGUE,
  type CatalogueEntry,
  countForward,
  countParameters,
  DownloadError,
  findEntry,
  type ForwardCost,
  type Licence,
  LICENCES,
  listCache,
  pullModel,
  type PullOptions,
  type PullResult,
  removeCached,
  resolveCached,
  resolveModelPath,
} from "./hub/index.ts";
export { openTensors, type TensorSource } from "./tensor-source.ts";
/** The name before other classes than ViTModel were written; use `toHuggingFaceConfig`. */
export { toHuggingFaceConfig as vitModelConfig } from "./folder/hf-config.ts";
