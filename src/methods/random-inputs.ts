/**
 * @file Random inputs of the student's backbone: stochastic depth and augmented rotary positions. Drawn on the host from the seed; each
 * block has its own input, so that blocks stay equal.
 */
import type { TypedArray } from "../core/index.ts";
import type { Builder } from "../engine/trace/index.ts";
import { backboneDepth, type Drop, drawRope, gridSideOf, headDim, isViT, ropeIsAugmented, ropeTables } from "../nn/index.ts";
import type { StepConfig } from "./config.ts";
import { type CropGroup, cropGroups } from "./crop-groups.ts";
import { type Cut, crops, type DrawOptions, ROWS, SAME } from "./method.ts";
import type { View } from "./objective.ts";

/** One random input: its shape for a micro-batch, how it is cut, and its values for a whole batch. */
interface RandomInput {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: "f32" | "i32";
  readonly cut: Cut;
  readonly draw: (options: DrawOptions) => TypedArray;
}

/** What the backbone takes of the random inputs of one group. */
export function randomInputs(builder: Builder, config: StepConfig, group: CropGroup): View {
  const take = ({ name, shape, dtype }: RandomInput) => builder.input(name, shape, { dtype });
  const dropOf = (block: number, branch: "attn" | "mlp"): Drop => {
    const found = dropInput(config, { group, block, branch });
    if (found === undefined) return undefined;
    return found.dtype === "f32" ? take(found) : { rows: take(found), scale: subset(config, { group, block }).scale };
  };
  const tablesOf = (block: number) => {
    const [sin, cos] = ropeInputs(config, { group, block });
    return sin === undefined || cos === undefined ? undefined : { sin: take(sin), cos: take(cos) };
  };
  return { ...(config.dropPath > 0 ? { dropPath: dropOf } : {}), ...(isAugmented(config) ? { rope: tablesOf } : {}) };
}

export function randomCuts(config: StepConfig): (readonly [string, Cut])[] {
  return all(config).map(({ name, cut }) => [name, cut] as const);
}

/** Every random input of a batch by name. */
export function drawRandom(config: StepConfig, options: DrawOptions): (readonly [string, TypedArray])[] {
  return all(config).map(({ name, draw }) => [name, draw(options)] as const);
}

function all(config: StepConfig): RandomInput[] {
  const blocks = Array.from({ length: backboneDepth(config.backbone) }, (_, block) => block);
  return cropGroups(config).flatMap((group) =>
    blocks.flatMap((block) => {
      const drops = (["attn", "mlp"] as const).map((branch) => dropInput(config, { group, block, branch }));
      return [...drops.filter((d) => d !== undefined), ...ropeInputs(config, { group, block })];
    }),
  );
}

interface Place {
  readonly group: CropGroup;
  readonly block: number;
}

/** Rate of stochastic depth: the same in every block, or rising linearly to the last. */
function rateOf({ dropPath, dropPathUniform = false, backbone }: StepConfig, block: number): number {
  return dropPathUniform ? dropPath : (dropPath * block) / Math.max(1, backboneDepth(backbone) - 1);
}

function dropInput(config: StepConfig, place: Place & { readonly branch: "attn" | "mlp" }): RandomInput | undefined {
  const { group, block, branch } = place;
  const { batchSize, microBatchSize: micro, drawPrefix = "" } = config;
  const rate = rateOf(config, block);
  if (rate === 0) return undefined;
  const name = `${drawPrefix}drop.${group.name}.${block}.${branch}`;
  const path = (step: number): string => `droppath/${step}/${drawPrefix}${group.name}.${block}/${branch}`;
  if (config.dropPathKind === "subset") {
    const { kept, groups } = subset(config, place);
    const draw = ({ rng, step }: DrawOptions): Int32Array => drawSubsets(config, { group, kept, rng: rng.split(path(step)) });
    return { name, shape: [kept * groups], dtype: "i32", cut: ROWS, draw };
  }
  const draw = ({ rng, step }: DrawOptions): Float32Array => {
    const draws = rng.split(path(step));
    return Float32Array.from({ length: group.count * batchSize }, () => (draws.bernoulli(rate) ? 0 : 1 / (1 - rate)));
  };
  return { name, shape: [group.count * micro, 1, 1], dtype: "f32", cut: crops(group.count), draw };
}

/** Rows of each drop-path group that a block keeps, s = max(⌊n(1 − r)⌋, 1), and the factor n/s. DINOv2 spec §2.3. */
function subset(config: StepConfig, { group, block }: Place): { readonly kept: number; readonly groups: number; readonly scale: number } {
  const { microBatchSize: micro, groupSize = micro } = config;
  const rows = group.count * groupSize;
  const kept = Math.max(1, Math.floor(rows * (1 - rateOf(config, block)) + 1e-9)); // 10 · (1 − .3) is 7, not 6.999…
  return { kept, groups: micro / groupSize, scale: rows / kept };
}

/**
 * Kept rows of every micro-batch, rising, in its own crop-major numbering. They are drawn for fixed groups of images of the batch, so
 * that they do not depend on how it is parted (contracts 12).
 */
function drawSubsets(
  { batchSize, microBatchSize: micro, groupSize = micro }: StepConfig,
  { group, kept, rng }: { readonly group: CropGroup; readonly kept: number; readonly rng: DrawOptions["rng"] },
): Int32Array {
  const out: number[] = [];
  for (let first = 0; first < batchSize; first += groupSize) {
    const at = first % micro;
    const picks = rng.permutation(group.count * groupSize).subarray(0, kept);
    out.push(...Array.from(picks, (i) => Math.floor(i / groupSize) * micro + at + (i % groupSize)).sort((a, b) => a - b));
  }
  return Int32Array.from(out);
}

function isAugmented({ backbone }: StepConfig): boolean {
  return isViT(backbone) && backbone.positions === "rope" && ropeIsAugmented(backbone.rope ?? {});
}

/** Tables of sines and cosines of one block, augmented anew each step. DINOv3 spec §3.2. */
function ropeInputs(config: StepConfig, { group, block }: Place): RandomInput[] {
  const { backbone, drawPrefix = "" } = config;
  if (!isAugmented(config) || !isViT(backbone)) return [];
  const rope = backbone.rope ?? {};
  const side = gridSideOf(backbone, group.sizePx);
  const size = headDim(backbone);
  return (["sin", "cos"] as const).map((which) => ({
    name: `${drawPrefix}rope.${group.name}.${block}.${which}`,
    shape: [side ** 2, size],
    dtype: "f32",
    cut: SAME,
    draw: ({ rng, step }) => {
      const draws = drawRope(rope, rng.split(`rope/${step}/${drawPrefix}${group.name}.${block}`));
      return ropeTables({ rope, headDim: size, grid: { rows: side, columns: side }, draws })[which];
    },
  }));
}
