/** @file The optimizers there are and what one step of any of them is told. */
import { adamwScalars, type AdamWConfig } from "./adamw.ts";
import type { Clip } from "./clip.ts";
import { larsTrust, type LarsConfig, type LarsSums } from "./lars.ts";
import type { MomentumScalars, SgdConfig } from "./sgd.ts";

export type OptimizerConfig = AdamWConfig | SgdConfig | LarsConfig;
export type OptimizerKind = OptimizerConfig["kind"];

/** The schedules' values of one step. */
export interface StepOptions {
  readonly lr: number;
  readonly weightDecay: number;
  readonly clip: Clip;
  /** m of the teacher's moving average; needed where there is a teacher. */
  readonly emaMomentum?: number;
  /** Parameters whose gradients are dropped in this step: no update, no decay, no moments, no part in the norms. */
  readonly frozenNow?: ReadonlySet<string>;
  /** Parameters whose rate is 0 in this step: neither moved nor decayed, but their moments go on and they count in the norms (DINOv2). */
  readonly restingNow?: ReadonlySet<string>;
}

/** The values of one step that concern one parameter. */
export interface ParamStep {
  readonly clip: number;
  readonly lr: number;
  /** 0 where the parameter is not decayed. */
  readonly weightDecay: number;
  /** Updates of this parameter so far, this one included. */
  readonly t: number;
  /** LARS leaves 1-D parameters alone. */
  readonly oneDim: boolean;
  readonly sums: LarsSums;
}

/** Momentum, trust and decay of one parameter under SGD or LARS (LARS: no decay and no trust ratio for 1-D parameters). */
export function momentumScalars(config: SgdConfig | LarsConfig, step: ParamStep): MomentumScalars<number> {
  const lars = config.kind === "lars";
  const weightDecay = lars && step.oneDim ? 0 : step.weightDecay;
  const trust = lars && !step.oneDim ? larsTrust(step.sums, { eta: config.eta, clip: step.clip, weightDecay }) : 1;
  return { clip: step.clip, weightDecay, trust, lr: step.lr, momentum: config.momentum };
}

/** The scalars of one parameter in the order its kernel takes them: `AdamWScalars` or `MomentumScalars`, field by field. */
export function kernelScalars(config: OptimizerConfig, step: ParamStep): readonly number[] {
  if (config.kind === "adamw") {
    const s = adamwScalars(config, step);
    return [s.clip, s.keep, s.stepSize, s.rootScale, s.beta1Rest, s.beta2, s.beta2Rest, s.eps];
  }
  const s = momentumScalars(config, step);
  return [s.clip, s.weightDecay, s.trust, s.lr, s.momentum];
}
