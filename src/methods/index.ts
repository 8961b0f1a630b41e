/** @file Methods: what a training step is. Each reads like its paper. */
export { type DinoConfig, dinoSpecs, dinoState, isFrozen, type StudentOptions, traceStudent, traceTargets, traceTeacher } from "./dino.ts";
export { drawDropPath } from "./drop-path.ts";
