/** @file The configuration of training: types, sources, rules, checks. */
export { intendedChannels } from "./rules-model.ts";
export type {
  BandFacts,
  AugmentSectionConfig,
  CheckpointConfig,
  CropSizes,
  CropsSectionConfig,
  DataConfig,
  DenseConfig,
  DistillConfig,
  GramSectionConfig,
  HeadConfig,
  InitConfig,
  KnnConfig,
  LogConfig,
  MaskSectionConfig,
  MethodName,
  ModelConfig,
  ObjectiveConfig,
  OptimConfig,
  ResolvedConfig,
  RunFacts,
  ScheduleConfig,
  StageName,
  StudentModel,
  TeacherFacts,
  TrainConfig,
  TrainSectionConfig,
  UserConfig,
} from "./types.ts";
export { CONFIG_KEYS, parseTrainConfig, parseUserConfig } from "./schema.ts";
export { loadConfigFile, mergeConfigs, parseSet, setKey } from "./sources.ts";
export { flatten, formatConfig } from "./format.ts";
export { planSteps, resolveConfig } from "./resolve.ts";
export type { FreshConfig, StepPlan } from "./resolve.ts";
export { backboneParameters, headParameters } from "./count-parameters.ts";
export { assertFitsMemory } from "./fit-memory.ts";
export { estimateCheckpointBytes, estimateMemory, estimateRunBytes, sizesOf } from "./memory.ts";
export type { MemoryEstimate } from "./memory.ts";
export { diffForResume, RESUMABLE_KEYS } from "./resume.ts";
export type { ResumeDiff } from "./resume.ts";
export { SET_BY_YOU } from "./choose.ts";
export { ARCH_PRESETS } from "./presets.ts";
export type { ArchPreset } from "./presets.ts";
