/** @file KoLeo as a method has it: on the student's class tokens before any head, over each global crop. DINOv2 spec §2.5. */
import { mul, slice } from "../engine/trace/index.ts";
import { koleoPerCrop } from "../objectives/index.ts";
import type { StepConfig } from "./config.ts";
import { NOTHING, type Objective } from "./objective.ts";

export interface KoleoConfig {
  readonly koleoWeight: number;
  /** Images among which neighbours are looked for; `groupSize` by default. */
  readonly koleoGroup?: number;
  readonly koleoTopK?: number;
}

/** Spreads class tokens; nothing where its weight is 0. */
export function koleoObjective(config: StepConfig & { readonly objective: KoleoConfig }): Objective[] {
  const { objective, batchSize, groupSize } = config;
  if (objective.koleoWeight === 0) return [];
  return [
    {
      ...NOTHING,
      name: "koleo",
      student(groups, { b }) {
        const globals = groups.find(({ isGlobal }) => isGlobal);
        if (globals === undefined) return [];
        const byCrop = Array.from({ length: globals.count }, (_, v) => slice(globals.cls, 0, [v * b, (v + 1) * b]));
        const spread = koleoPerCrop(byCrop, { groupSize: objective.koleoGroup ?? groupSize ?? b, topK: objective.koleoTopK ?? 1 });
        return [{ name: "koleo", value: mul(spread, b / batchSize), weight: objective.koleoWeight }];
      },
    },
  ];
}
