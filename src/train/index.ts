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
export { CollapseMonitor } from "./alarms.ts";
export type { Alarm, AlarmName, MonitorReading } from "./alarms.ts";
export {
  effectiveRank,
  entropy,
  featureStd,
  klFromLoss,
  marginalEntropy,
  meanDistribution,
  meanEntropy,
  prototypeUsage,
} from "./monitors.ts";
export type { Rows } from "./monitors.ts";
export { findLatestCheckpoint, listCheckpoints, milestoneDir, readCheckpointState, readDump, readMetrics } from "./run/index.ts";
export type { CheckpointState, FoundCheckpoint, MetricsLine, StepDump } from "./run/index.ts";
export { distill, type DistillOptions } from "./distill.ts";
export { train, type TrainOptions, type TrainResult } from "./train.ts";
