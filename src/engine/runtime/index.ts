/** @file The runtime room: devices that compile graphs. The only importer of native runtimes. */
export { Arena } from "./arena.ts";
export { type CpuOptions, openCpu } from "./cpu.ts";
export type { CompileOptions, Device, Program, RunOptions } from "./device.ts";
export {
  evaluate,
  findOnnxRuntime,
  makeScoreBlock,
  MAXIMA_COLUMNS,
  openOrt,
  type OnnxRuntimeLibrary,
  type OrtEnv,
  OrtError,
  type OrtSession,
  type ScoreBlock,
  type ScoreBlockInput,
} from "./ort/index.ts";
