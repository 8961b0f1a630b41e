/** @file Stochastic depth: its draws are inputs of the step, made on the host from the seed. */
import type { Rng } from "../core/index.ts";
import type { Builder } from "../engine/trace/index.ts";
import type { DropPath } from "../nn/index.ts";
import { type CropGroup, cropGroups } from "./crop-groups.ts";
import type { DinoConfig } from "./dino.ts";

/** Keep factors of stochastic depth for one group: an input per block and branch, so that blocks stay equal. */
export function dropPathInputs(builder: Builder, config: DinoConfig, group: CropGroup): { readonly dropPath?: DropPath } {
  if (config.dropPath === 0) return {};
  const shape = [group.count * config.microBatchSize, 1, 1];
  return {
    dropPath: (block, branch) => (block === 0 ? undefined : builder.input(dropPathName(group.name, block, branch), shape)),
  };
}

function dropPathName(group: string, block: number, branch: string): string {
  return `drop.${group}.${block}.${branch}`;
}

/** Fills the keep factors of a micro-batch: 0 with the block's rate, else 1/(1 − rate); drawn for the whole batch, then sliced. */
export function drawDropPath(
  config: DinoConfig,
  inputs: ReadonlyMap<string, Float32Array>,
  { rng, step, offset = 0 }: { readonly rng: Rng; readonly step: number; readonly offset?: number },
): void {
  const { batchSize, microBatchSize, vit } = config;
  for (const group of cropGroups(config))
    for (let block = 1; block < vit.depth; block++)
      for (const branch of ["attn", "mlp"]) {
        const out = inputs.get(dropPathName(group.name, block, branch));
        if (out === undefined) continue;
        const rate = (config.dropPath * block) / Math.max(1, vit.depth - 1);
        const draws = rng.split(`droppath/${step}/${group.name}.${block}/${branch}`);
        const keep = Float32Array.from({ length: group.count * batchSize }, () => (draws.bernoulli(rate) ? 0 : 1 / (1 - rate)));
        for (let v = 0; v < group.count; v++)
          out.set(keep.subarray(v * batchSize + offset, v * batchSize + offset + microBatchSize), v * microBatchSize);
      }
}
