/** @file The backbone of a learner's moving average as others use it: plain weights, adapters merged in. */
import { mergeLora, type ParamSpec } from "../../nn/index.ts";
import type { TrainConfig } from "../config/index.ts";
import type { TrainedLearner } from "../stepper.ts";

const PREFIX = "backbone.";

/** Plain weights by name. */
export interface TeacherBackbone {
  readonly specs: readonly ParamSpec[];
  /** In place where there are no adapters; else as they were at the last `refresh()`. */
  readonly params: ReadonlyMap<string, Float32Array>;
  /** Merges the adapters as they are now. */
  readonly refresh: () => void;
}

/** The backbone of a learner's average. */
export function teacherBackbone({ learner, flats }: TrainedLearner, { init }: Pick<TrainConfig, "init">): TeacherBackbone {
  const own = learner.specs.filter(({ name }) => name.startsWith(PREFIX));
  const views = new Map(own.map(({ name }) => [name.slice(PREFIX.length), flats.teacher.view(name)]));
  const isAdapter = (name: string): boolean => name.includes(".lora_");
  const specs = own.filter(({ name }) => !isAdapter(name)).map((s) => ({ ...s, name: s.name.slice(PREFIX.length) }));
  if (init.loraRank === 0) return { specs, params: views, refresh: () => undefined };
  const plain = new Map([...views].filter(([name]) => !isAdapter(name)));
  const adapters = new Map([...views].filter(([name]) => isAdapter(name)));
  const merged = new Map([...plain].map(([name, view]) => [name, view.slice()]));
  const refresh = (): void => {
    for (const [name, data] of mergeLora(plain, adapters, { rank: init.loraRank, alpha: init.loraAlpha })) merged.get(name)?.set(data);
  };
  refresh();
  return { specs, params: merged, refresh };
}
