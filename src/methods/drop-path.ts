/** @file Stochastic depth: its draws are inputs of the step, made on the host from the seed. */
import type { Builder } from "../engine/trace/index.ts";
import type { DropPath } from "../nn/index.ts";
import type { StepConfig } from "./config.ts";
import { type CropGroup, cropGroups } from "./crop-groups.ts";
import { type Cut, crops, type DrawOptions } from "./method.ts";

const BRANCHES = ["attn", "mlp"];

/** Keep factors of stochastic depth for one group: an input per block and branch, so that blocks stay equal. */
export function dropPathInputs(builder: Builder, config: StepConfig, group: CropGroup): { readonly dropPath?: DropPath } {
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
    Array.from({ length: config.vit.depth - 1 }, (_, i) => BRANCHES.map((branch) => ({ group, block: i + 1, branch }))).flat(),
  );
}

export function dropPathCuts(config: StepConfig): (readonly [string, Cut])[] {
  return places(config).map(({ group, block, branch }) => [dropPathName(group.name, block, branch), crops(group.count)] as const);
}

/** Keep factors of a batch by input name: 0 with the block's rate, else 1/(1 − rate). */
export function drawDropPath(config: StepConfig, { rng, step }: DrawOptions): Map<string, Float32Array> {
  return new Map(
    places(config).map(({ group, block, branch }) => {
      const rate = (config.dropPath * block) / Math.max(1, config.vit.depth - 1);
      const draws = rng.split(`droppath/${step}/${group.name}.${block}/${branch}`);
      const keep = Float32Array.from({ length: group.count * config.batchSize }, () => (draws.bernoulli(rate) ? 0 : 1 / (1 - rate)));
      return [dropPathName(group.name, block, branch), keep];
    }),
  );
}
