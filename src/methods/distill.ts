/**
 * @file Distillation: a frozen teacher in the place of the moving average, any number of students in one run (DINOv3 §5; DINOv2 §5).
 *
 *   teacher   one pass for all students, with its own heads
 *   targets   balanced once over the whole batch
 *   student   each sees whole crops (no masks) and has its own heads; its moving average is what is kept
 *
 * A teacher without heads teaches by its features: `distill-features.ts`.
 */
import { gridSideOf, prefixed } from "../nn/index.ts";
import type { Dinov2Config } from "./dinov2.ts";
import { dinov2Objectives } from "./dinov2.ts";
import type { FixedNetwork, Method } from "./method.ts";
import { drawRandom } from "./random-inputs.ts";
import { cutsOf, networkState, learnerOf, traceStudent, traceTargets, traceTeacher } from "./self-distillation.ts";

/** A student's own part; crops, masks, batch and prototypes are the teacher's. */
export type StudentConfig = Pick<Dinov2Config, "backbone" | "head" | "ibotHead" | "dropPath"> & { readonly name: string };

export interface DistillConfig {
  /** The teacher's networks, and what all share. */
  readonly teacher: Dinov2Config;
  readonly students: readonly [StudentConfig, ...StudentConfig[]];
}

/** Distillation as a method: learners are the students, in order. */
export function distill({ teacher, students }: DistillConfig): Method {
  const ofTeacher = dinov2Objectives(teacher);
  const fixed: FixedNetwork = {
    name: "teacher",
    specs: learnerOf(teacher, ofTeacher, { name: "teacher", follower: "" }).specs,
    changes: false,
  };
  const gridSide = gridSideOf(teacher.backbone, teacher.crops.globalSizePx);
  const pupils = students.map(({ name, backbone, head, ibotHead, dropPath }) => {
    const config: Dinov2Config = { ...teacher, backbone, head, ibotHead, dropPath, masksStudent: false, gridSide, drawPrefix: `${name}.` };
    const objectives = dinov2Objectives(config);
    return { name, config, objectives, learner: learnerOf(config, objectives, { name, follower: `${name}.average` }) };
  });
  return {
    name: "distill",
    batchSize: teacher.batchSize,
    microBatchSize: teacher.microBatchSize,
    learners: pupils.map(({ learner }) => learner) as unknown as Method["learners"], // as many as there are students
    fixed: [fixed],
    state: [
      ...ofTeacher.flatMap(({ state }) => state),
      ...prefixed(networkState(teacher, ofTeacher), "teacher."),
      ...pupils.flatMap(({ name, config, objectives }) => prefixed(networkState(config, objectives), `${name}.`)),
    ],
    parts: [
      { name: "teacher", per: "micro", trace: () => traceTeacher(teacher, ofTeacher, { ...fixed, isFrozen: true }) },
      { name: "targets", per: "batch", trace: () => traceTargets(ofTeacher) },
      ...pupils.map(({ name, config, objectives, learner }, i) => ({
        name,
        per: "micro" as const,
        learner: name,
        trace: ({ running }: { readonly running: boolean }) =>
          traceStudent(config, objectives, { learner, running, label: `${name}.`, isWatched: i === 0 }),
      })),
    ],
    cuts: new Map([...cutsOf(teacher, ofTeacher), ...pupils.flatMap(({ config }) => cutsOf(config, []))]),
    draw: (options) =>
      new Map([...pupils.flatMap(({ config }) => drawRandom(config, options)), ...ofTeacher.flatMap(({ draw }) => [...draw(options)])]),
  };
}
