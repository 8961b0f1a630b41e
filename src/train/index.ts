/** @file Training: configuration, loop, checkpoints, monitors, logs. */
export type {
  CheckpointConfig,
  DataConfig,
  HeadConfig,
  KnnConfig,
  LogConfig,
  ModelConfig,
  ObjectiveConfig,
  OptimConfig,
  ResolvedConfig,
  RunFacts,
  ScheduleConfig,
  TrainConfig,
  TrainSectionConfig,
  UserConfig,
} from "./config/index.ts";
export { CONFIG_KEYS, parseTrainConfig, parseUserConfig } from "./config/index.ts";
export { loadConfigFile, mergeConfigs, parseSet, setKey } from "./config/index.ts";
export { flatten, formatConfig, planSteps, resolveConfig } from "./config/index.ts";
export type { StepPlan } from "./config/index.ts";
export { assertFitsMemory, backboneParameters, estimateCheckpointBytes, estimateMemory, headParameters } from "./config/index.ts";
export type { MemoryEstimate } from "./config/index.ts";
export { diffForResume, RESUMABLE_KEYS } from "./config/index.ts";
export type { ResumeDiff } from "./config/index.ts";
export { ARCH_PRESETS } from "./config/index.ts";
export type { ArchPreset } from "./config/index.ts";
