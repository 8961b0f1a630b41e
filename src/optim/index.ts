/** @file Optimizers of the DINO family: schedules, parameter groups, clipping, AdamW, SGD, LARS, the teacher's moving average, and their CPU kernel. */
export { ADAMW_DEFAULTS, adamw, adamwScalars } from "./adamw.ts";
export type { AdamWConfig, AdamWElement, AdamWScalars } from "./adamw.ts";
export { clipCoefficient, clipCoefficients } from "./clip.ts";
export type { Clip } from "./clip.ts";
export type { OptimizerConfig, OptimizerKind, StepOptions } from "./config.ts";
export { ema } from "./ema.ts";
export { LARS_DEFAULTS, larsTrust } from "./lars.ts";
export type { LarsConfig, LarsSums } from "./lars.ts";
export { entryOf, FlatParams, makeLayout } from "./layout.ts";
export type { Layout, LayoutEntry, ParamSpec } from "./layout.ts";
export { F32_OPS, F64_OPS } from "./ops.ts";
export type { Ops } from "./ops.ts";
export { isDecayed, layerOf, lrScaleOf, makeParamGroups, namesContaining } from "./param-groups.ts";
export type { DecayRule, LrScaleOptions, ParamGroup, ParamGroupOptions } from "./param-groups.ts";
export { referenceStep } from "./reference.ts";
export type { ReferenceParam } from "./reference.ts";
export {
  constant,
  cosine,
  cosineToEnd,
  linear,
  perEpoch,
  scaleLr,
  teacherTemp,
  warmupCosineConstant,
  warmupThenConstant,
} from "./schedules.ts";
export type { CosineOptions, LrScaling, Schedule } from "./schedules.ts";
export { momentumUpdate, SGD_DEFAULTS } from "./sgd.ts";
export type { MomentumElement, MomentumScalars, SgdConfig } from "./sgd.ts";
export { openFusedOptimizer } from "./fused/fused-optimizer.ts";
export type { FusedOptimizer, FusedOptions, FusedStepOptions, FusedStepResult } from "./fused/fused-optimizer.ts";
export { allocShared } from "./fused/shared-buffers.ts";
export type { SharedBuffers } from "./fused/shared-buffers.ts";
