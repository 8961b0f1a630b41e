/** @file The run folder: lock, checkpoints, metrics, logs, dumps. */
export {
  assertDiskRoom,
  checkpointDir,
  findLatestCheckpoint,
  listCheckpoints,
  milestoneDir,
  pruneCheckpoints,
  rewindCheckpoints,
  writeCheckpoint,
  writeMilestone,
} from "./checkpoints.ts";
export type { FoundCheckpoint } from "./checkpoints.ts";
export { readCheckpointState } from "./checkpoint-state.ts";
export type { CheckpointState, NewCheckpoint } from "./checkpoint-state.ts";
export { dumpDir, findNotFinite, readDump, writeDump } from "./dumps.ts";
export type { DumpImage, StepDump } from "./dumps.ts";
export { MetricsLog, readMetrics } from "./metrics.ts";
export type { MetricsLine } from "./metrics.ts";
export { RunLock } from "./run-lock.ts";
export { TensorboardWriter } from "./tensorboard.ts";
export type { TensorboardPicture } from "./tensorboard.ts";
export { openTrainLog } from "./train-log.ts";
