/** @file What every distillation is: a frozen teacher, which runs once, then each student's part. What students are held to are the objectives. */
import { prefixed } from "../nn/index.ts";
import type { HeadedConfig, StepConfig } from "./config.ts";
import type { FixedNetwork, Method, Part } from "./method.ts";
import type { Objective } from "./objective.ts";
import { drawRandom } from "./random-inputs.ts";
import { cutsOf, learnerOf, networkState, traceStudent, traceTeacher } from "./self-distillation.ts";

type NetworkConfig = StepConfig & Partial<HeadedConfig>;

/** A student at work. */
export interface Pupil {
  readonly name: string;
  readonly config: NetworkConfig;
  readonly objectives: readonly Objective[];
}

export interface DistillationOptions {
  readonly teacher: NetworkConfig;
  /** The teacher's side: its heads, what it gives out, what is kept and drawn. */
  readonly objectives: readonly Objective[];
  readonly pupils: readonly Pupil[];
  /** Parts between the teacher's and the students'. */
  readonly between?: readonly Part[];
}

/** A distillation as a method: learners are the students, in order, each followed by its moving average, which is what is kept. */
export function distillation(name: string, { teacher, objectives: ofTeacher, pupils: asked, between = [] }: DistillationOptions): Method {
  const { specs } = learnerOf(teacher, ofTeacher, { name: "teacher", follower: "" });
  const fixed: FixedNetwork = { name: "teacher", specs, changes: false };
  const pupils = asked.map((pupil) => {
    const names = { name: pupil.name, follower: `${pupil.name}.average` };
    return { ...pupil, learner: learnerOf(pupil.config, pupil.objectives, names) };
  });
  return {
    name,
    batchSize: teacher.batchSize,
    microBatchSize: teacher.microBatchSize,
    learners: pupils.map(({ learner }) => learner) as unknown as Method["learners"], // as many as there are students
    fixed: [fixed],
    state: [
      ...ofTeacher.flatMap(({ state }) => state),
      ...prefixed(networkState(teacher, ofTeacher), "teacher."),
      ...pupils.flatMap((pupil) => prefixed(networkState(pupil.config, pupil.objectives), `${pupil.name}.`)),
    ],
    parts: [
      { name: "teacher", per: "micro", trace: () => traceTeacher(teacher, ofTeacher, { ...fixed, isFrozen: true }) },
      ...between,
      ...pupils.map(({ name: own, config, objectives, learner }, i) => ({
        name: own,
        per: "micro" as const,
        learner: own,
        trace: ({ running }: { readonly running: boolean }) =>
          traceStudent(config, objectives, { learner, running, label: `${own}.`, isWatched: i === 0 }),
      })),
    ],
    cuts: new Map([...cutsOf(teacher, ofTeacher), ...pupils.flatMap(({ config }) => cutsOf(config, []))]),
    draw: (options) =>
      new Map([...pupils.flatMap(({ config }) => drawRandom(config, options)), ...ofTeacher.flatMap(({ draw }) => [...draw(options)])]),
  };
}
