/** @file ONNX files as they are: what is in them, what lies beside them. */
export type { ElementType } from "./element-types.ts";
export type { ExternalPart } from "./external-part.ts";
export { findOnnx, type OnnxPlace } from "./find-onnx.ts";
export { type FirstConvolution, type OnnxInfo, type OnnxPort, readOnnxInfo } from "./onnx-info.ts";
export { metadataJson, type OnnxFile, readBeside, readOnnxFile } from "./read-onnx.ts";
