/** @file Methods: what a training step is. Each reads like its paper. */
export type { HeadConfig, HeadedConfig, StepConfig, TargetConfig } from "./config.ts";
export { dino, type DinoConfig } from "./dino.ts";
export { dinov2, type Dinov2Config } from "./dinov2.ts";
export { dinov3, type Dinov3Config, type GramConfig } from "./dinov3.ts";
export { distill, type DistillConfig, type StudentConfig } from "./distill.ts";
export {
  distillFeatures,
  isProjection,
  type DistillFeaturesConfig,
  type FeatureObjectiveConfig,
  type FeatureStudentConfig,
} from "./distill-features.ts";
export type { MaskConfig } from "./masking.ts";
export type { Cut, DrawOptions, FixedNetwork, Learner, Method, Part } from "./method.ts";
export { simclr, type SimclrConfig } from "./simclr.ts";
