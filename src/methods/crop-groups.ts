/** @file Crops grouped by resolution: each group runs forward and backward before the next one starts (contracts 3). */
import type { StepConfig } from "./config.ts";

/** The teacher sees the two global crops. */
export const TEACHER_CROPS = 2;

/** One resolution of the student's crops. */
export interface CropGroup {
  readonly name: "globals" | "locals";
  readonly count: number;
  readonly sizePx: number;
  readonly isGlobal: boolean;
}

/** The two global crops. */
export function globalsOf({ crops }: Pick<StepConfig, "crops">): CropGroup {
  return { name: "globals", count: TEACHER_CROPS, sizePx: crops.globalSizePx, isGlobal: true };
}

/** The groups of a student's step, in the order in which they run. */
export function cropGroups({ crops }: Pick<StepConfig, "crops">): CropGroup[] {
  const locals: CropGroup = { name: "locals", count: crops.localCount, sizePx: crops.localSizePx, isGlobal: false };
  return crops.localCount > 0 ? [globalsOf({ crops }), locals] : [globalsOf({ crops })];
}
