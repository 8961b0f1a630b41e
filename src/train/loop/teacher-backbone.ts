/** @file The backbone of a learner's moving average as others use it: plain weights, adapters merged in. */
import type { Shape } from "../../core/index.ts";
import { mergeLora } from "../../nn/index.ts";
import type { TrainConfig } from "../config/index.ts";
import type { Stepper, TrainedLearner } from "../stepper.ts";

const PREFIX = "backbone.";

/** Plain weights and running statistics by name. */
export interface TeacherBackbone {
  readonly shapes: ReadonlyMap<string, Shape>;
  /** In place where there are no adapters; else as they were at the last `refresh()`. */
  readonly params: ReadonlyMap<string, Float32Array>;
  /** Merges the adapters as they are now. */
  readonly refresh: () => void;
}

export interface TeacherBackboneOptions {
  readonly config: Pick<TrainConfig, "init">;
  readonly stepper: Pick<Stepper, "method" | "state">;
}

/**
 * Running statistics of a learner's average, in place. A teacher that sees crops keeps its own; where the average only follows (students of
 * a distillation, SimCLR), the network that it follows has the only ones.
 */
function statisticsOf(
  { learner: { name, follower } }: TrainedLearner,
  { method, state }: TeacherBackboneOptions["stepper"],
): ReadonlyMap<string, Float32Array> {
  const sees = method.parts.some((part) => part.name === follower);
  const prefix = `${sees ? follower : name}.${PREFIX}`;
  return new Map([...state].flatMap(([key, data]) => (key.startsWith(prefix) ? [[key.slice(prefix.length), data] as const] : [])));
}

/** The backbone of a learner's average. */
export function teacherBackbone(trained: TrainedLearner, { config: { init }, stepper }: TeacherBackboneOptions): TeacherBackbone {
  const { learner, flats } = trained;
  const own = learner.specs.filter(({ name }) => name.startsWith(PREFIX));
  const views = new Map(own.map(({ name }) => [name.slice(PREFIX.length), flats.teacher.view(name)]));
  const statistics = statisticsOf(trained, stepper);
  const isAdapter = (name: string): boolean => name.includes(".lora_");
  const shapes = new Map([
    ...own.flatMap(({ name, shape }) => (isAdapter(name) ? [] : [[name.slice(PREFIX.length), shape] as const])),
    ...[...statistics].map(([name, { length }]) => [name, [length]] as const),
  ]);
  if (init.loraRank === 0) return { shapes, params: new Map([...views, ...statistics]), refresh: () => undefined };
  const plain = new Map([...views].filter(([name]) => !isAdapter(name)));
  const adapters = new Map([...views].filter(([name]) => isAdapter(name)));
  const merged = new Map([...plain].map(([name, view]) => [name, view.slice()]));
  const refresh = (): void => {
    for (const [name, data] of mergeLora(plain, adapters, { rank: init.loraRank, alpha: init.loraAlpha })) merged.get(name)?.set(data);
  };
  refresh();
  return { shapes, params: new Map([...merged, ...statistics]), refresh };
}
