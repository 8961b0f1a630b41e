/** @file Files of tensors: safetensors, npy; written whole or not at all. */
export { cleanLeftovers, checkDiskSpace, recoverDir, type FileContent, replaceDirAtomic, writeFileAtomic } from "./atomic-file.ts";
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
export { fromHuggingFace, toHuggingFace, vitModelConfig } from "./hf-vit.ts";
