/**
 * @file Distillation: a frozen teacher in the place of the moving average, any number of students in one run (DINOv3 §5; DINOv2 §5).
 *
 *   teacher   one pass for all students, with its own heads
 *   targets   balanced once over the whole batch
 *   student   each sees whole crops (no masks) and has its own heads; its moving average is what is kept
 *
 * A teacher without heads teaches by its features: `distill-features.ts`.
 */
import { gridSideOf } from "../nn/index.ts";
import type { Dinov2Config } from "./dinov2.ts";
import { dinov2Objectives } from "./dinov2.ts";
import { distillation, type Pupil } from "./distillation.ts";
import type { Method, Part } from "./method.ts";
import { traceTargets } from "./self-distillation.ts";

/** A student's own part; crops, masks, batch and prototypes are the teacher's. */
export type StudentConfig = Pick<Dinov2Config, "backbone" | "head" | "ibotHead" | "dropPath"> & { readonly name: string };

export interface DistillConfig {
  /** The teacher's networks, and what all share. */
  readonly teacher: Dinov2Config;
  readonly students: readonly [StudentConfig, ...StudentConfig[]];
}

/** Distillation as a method: learners are the students, in order. */
export function distill({ teacher, students }: DistillConfig): Method {
  const objectives = dinov2Objectives(teacher);
  const gridSide = gridSideOf(teacher.backbone, teacher.crops.globalSizePx);
  const pupils = students.map(({ name, backbone, head, ibotHead, dropPath }): Pupil => {
    const config: Dinov2Config = { ...teacher, backbone, head, ibotHead, dropPath, masksStudent: false, gridSide, drawPrefix: `${name}.` };
    return { name, config, objectives: dinov2Objectives(config) };
  });
  const targets: Part = { name: "targets", per: "batch", trace: () => traceTargets(objectives) };
  return distillation("distill", { teacher, objectives, pupils, between: [targets] });
}
