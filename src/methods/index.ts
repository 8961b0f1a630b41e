/** @file Methods: what a training step is. Each reads like its paper. */
export {
  type DinoConfig,
  dinoSpecs,
  dinoState,
  drawDropPath,
  isFrozen,
  type StudentOptions,
  traceStudent,
  traceTargets,
  traceTeacher,
} from "./dino.ts";
