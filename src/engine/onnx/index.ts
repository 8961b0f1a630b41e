/** @file The ONNX room: lowering table and protobuf. */
export { type ExternalFile, externalFile } from "./external.ts";
export { LOWER, type LoweredStage, lowerStage } from "./lower/index.ts";
export type { Lowering, OnnxTarget } from "./lower/context.ts";
export { lowerModel, type LowerModelOptions, PORTABLE_OPSET } from "./symbolic/lower-model.ts";
export { isFixed, type Poly, polyAt, polyText, type SizeSymbol } from "./symbolic/poly.ts";
export type { SymbolicContext } from "./symbolic/rules.ts";
export type { SizeSource } from "./symbolic/sizes.ts";
export { type SymbolicGraph, traceSymbolic } from "./symbolic/trace.ts";
export * as FIELDS from "./proto-fields.ts";
export { decodeModel } from "./proto-decode.ts";
export {
  encodeModel,
  modelPieces,
  type ExternalPlaces,
  type OnnxAttr,
  type OnnxInitializer,
  type OnnxModel,
  type OnnxNode,
  type OnnxTensorInfo,
  type Pieces,
} from "./proto.ts";
export { readFields, readInts, readText, type WireField } from "./wire.ts";
