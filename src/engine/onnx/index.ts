/** @file The ONNX room: lowering table and protobuf. */
export { LOWER, type LoweredStage, lowerStage } from "./lower/index.ts";
export type { OnnxTarget } from "./lower/context.ts";
export {
  decodeModel,
  encodeModel,
  type OnnxAttr,
  type OnnxInitializer,
  type OnnxModel,
  type OnnxNode,
  type OnnxTensorInfo,
} from "./proto.ts";
