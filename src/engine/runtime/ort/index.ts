/** @file ONNX Runtime through its C API: sessions that run off the event loop, over memory of ours. */
export { OrtError } from "./api.ts";
export { type OrtEnv, openOrt, type OrtOptions } from "./env.ts";
export { evaluate } from "./evaluate.ts";
export { findOnnxRuntime, type OnnxRuntimeLibrary } from "./library.ts";
export { makeScoreBlock, MAXIMA_COLUMNS, type ScoreBlock, type ScoreBlockInput } from "./matmul.ts";
export type { OrtRun, OrtSession, SessionNames } from "./session.ts";
export type { OrtTensor, TensorMemory } from "./tensor.ts";
