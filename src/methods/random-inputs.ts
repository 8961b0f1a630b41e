/** @file Random inputs of the student's backbone: stochastic depth. Drawn on the host from the seed, an input for each block, so that blocks stay equal. */
import type { Builder } from "../engine/trace/index.ts";
import type { StepConfig } from "./config.ts";
import { type CropGroup, cropGroups } from "./crop-groups.ts";
import { type Cut, crops, type DrawOptions } from "./method.ts";
import type { View } from "./objective.ts";

const BRANCHES = ["attn", "mlp"];

/** Keep factors of stochastic depth for one group. */
export function randomInputs(builder: Builder, config: StepConfig, group: CropGroup): View {
  if (config.dropPath === 0) return {};
  const shape = [group.count * config.microBatchSize, 1, 1];
  return {
    dropPath: (block, branch) => (block === 0 ? undefined : builder.input(dropPathName(group.name, block, branch), shape)),
  };
}

function dropPathName(group: string, block: number, branch: string): string {
  return `drop.${group}.${block}.${branch}`;
}

/** Every group, block and branch that drops. */
function places(config: StepConfig): { readonly group: CropGroup; readonly block: number; readonly branch: string }[] {
  if (config.dropPath === 0) return [];
  return cropGroups(config).flatMap((group) =>
    Array.from({ length: config.backbone.depth - 1 }, (_, i) => BRANCHES.map((branch) => ({ group, block: i + 1, branch }))).flat(),
  );
}

export function randomCuts(config: StepConfig): (readonly [string, Cut])[] {
  return places(config).map(({ group, block, branch }) => [dropPathName(group.name, block, branch), crops(group.count)] as const);
}

/** Keep factors of a batch by input name: 0 with the block's rate, else 1/(1 − rate). */
export function drawRandom(config: StepConfig, { rng, step }: DrawOptions): [string, Float32Array][] {
  return places(config).map(({ group, block, branch }) => {
    const rate = (config.dropPath * block) / Math.max(1, config.backbone.depth - 1);
    const draws = rng.split(`droppath/${step}/${group.name}.${block}/${branch}`);
    const keep = Float32Array.from({ length: group.count * config.batchSize }, () => (draws.bernoulli(rate) ? 0 : 1 / (1 - rate)));
    return [dropPathName(group.name, block, branch), keep];
  });
}
