/** @file The configuration of training: types, sources, rules, checks. */
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
} from "./types.ts";
export { CONFIG_KEYS, parseTrainConfig, parseUserConfig } from "./schema.ts";
export { loadConfigFile, mergeConfigs, parseSet, setKey } from "./sources.ts";
export { flatten, formatConfig, planSteps, resolveConfig } from "./resolve.ts";
export type { StepPlan } from "./resolve.ts";
export { assertFitsMemory, backboneParameters, estimateCheckpointBytes, estimateMemory, headParameters } from "./memory.ts";
export type { MemoryEstimate } from "./memory.ts";
export { diffForResume, RESUMABLE_KEYS } from "./resume.ts";
export type { ResumeDiff } from "./resume.ts";
export { SET_BY_YOU } from "./choose.ts";
export { ARCH_PRESETS } from "./presets.ts";
export type { ArchPreset } from "./presets.ts";
