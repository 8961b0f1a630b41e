/** @file Masked patches of the student's global crops: drawn for the whole batch, then listed for each micro-batch (contracts 7, 8). */
import type { TypedArray } from "../core/index.ts";
import { collateMasks, drawMasks, type MaskList, maskUpperBound, type MaskRatios, sliceMasks } from "../images/index.ts";
import { gridSideOf } from "../nn/index.ts";
import type { StepConfig } from "./config.ts";
import { TEACHER_CROPS } from "./crop-groups.ts";
import { type Cut, crops, type DrawOptions, ROWS, SAME } from "./method.ts";

/** How patches are masked. DINOv2 fills under the target, DINOv3 exactly. */
export interface MaskConfig extends MaskRatios {
  readonly fill: "under" | "exact";
  /** DINOv3's random circular shift. */
  readonly shift: boolean;
}

export type MaskedConfig = StepConfig & { readonly mask: MaskConfig };

/** Patches along a side of a global crop, as masks count them. */
function side({ crops: { globalSizePx }, backbone, gridSide }: StepConfig): number {
  return gridSide ?? gridSideOf(backbone, globalSizePx);
}

/** Patches of a global crop, as masks count them. */
export function patchesOf(config: StepConfig): number {
  return side(config) ** 2;
}

/** Rows of a micro-batch's list of masked patches: as many as masks can ask for, the rest padding. */
export function maskRows(config: MaskedConfig): number {
  const { batchSize, microBatchSize, mask } = config;
  const bound = { slots: TEACHER_CROPS * batchSize, patches: patchesOf(config), ...mask };
  return maskUpperBound({ ...bound, taken: TEACHER_CROPS * microBatchSize });
}

export const MASK_CUTS: readonly (readonly [string, Cut])[] = [
  ["mask", crops(TEACHER_CROPS)],
  ["maskIndex", ROWS],
  ["maskWeight", ROWS],
  ["maskValid", ROWS],
  ["maskCount", SAME],
];

/** The indices of a list whose padding takes places that are not in it: no index repeats, so sums at indices can be made side by side. */
function distinct({ indices, count }: MaskList, places: number): number[] {
  const taken = [...indices.subarray(0, count)];
  const used = new Set(taken);
  for (let place = 0; taken.length < indices.length && place < places; place++) if (!used.has(place)) taken.push(place);
  return taken;
}

/** `mask` `[2·b, p]`, and of its patches `maskIndex`, `maskWeight` (1 / masked in its crop), `maskValid` `[m]`, `maskCount`. */
export function drawMaskInputs(config: MaskedConfig, { rng, step }: DrawOptions): [string, TypedArray][] {
  const { batchSize, microBatchSize: micro } = config;
  const patches = patchesOf(config);
  const grid = { rows: side(config), columns: side(config) };
  const { masks } = drawMasks({ slots: TEACHER_CROPS * batchSize, ...grid, ...config.mask }, rng.split(`mask/${step}`));
  const upperBound = maskRows(config);
  const lists = Array.from({ length: batchSize / micro }, (_, i) => {
    const own = sliceMasks(masks, { patches, images: batchSize, range: [i * micro, (i + 1) * micro] });
    return collateMasks(own, { slots: TEACHER_CROPS * micro, patches, upperBound });
  });
  const join = (pick: (list: (typeof lists)[number]) => Float32Array): Float32Array =>
    Float32Array.from(lists.flatMap((l) => [...pick(l)]));
  return [
    ["mask", Float32Array.from(masks)],
    ["maskIndex", Int32Array.from(lists.flatMap((l) => distinct(l, TEACHER_CROPS * micro * patches)))],
    ["maskWeight", join((l) => l.weights)],
    ["maskValid", join((l) => l.valid)],
    ["maskCount", Float32Array.of(lists.reduce((n, l) => n + l.count, 0))],
  ];
}
