/** @file Methods: what a training step is. Each reads like its paper. */
export type { StepConfig, TargetConfig } from "./config.ts";
export { dino, type DinoConfig } from "./dino.ts";
export type { Cut, DrawOptions, FixedNetwork, Learner, Method, Part } from "./method.ts";
