/** @file Masks of a batch: how many crops are masked, how many patches of each, and the most there can be. DINOv2 spec §2.4, DINOv3 §3.5. */
import { ConfigError, type Rng } from "../core/index.ts";
import { drawBlockMask, type MaskFill, type PatchGrid } from "./masks.ts";

/** Which share of the crops is masked, and which share of the patches of a masked crop. */
export interface MaskRatios {
  /** Share of the crops, 0 to 1. */
  readonly probability: number;
  /** Least share of the patches. */
  readonly ratioMin: number;
  /** Largest share of the patches. */
  readonly ratioMax: number;
}

export interface DrawMasksOptions extends MaskRatios, MaskFill, PatchGrid {
  /** Crops that can be masked: 2B, the global crops of a batch of B images. */
  readonly slots: number;
}

/**
 * Masks of `slots` crops, `masks` `[slots · patches]` of 0 and 1, and how many patches each crop lost. `⌊slots · probability⌋` crops are masked,
 * a spread of ratios in random order; "under" draws each target within its part of the spread (DINOv2), "exact" takes the end of the part
 * (DINOv3). Depends on the stream's seed and path only, not on what was read of it. Throws ConfigError: see `checkMaskRatios`.
 */
export function drawMasks(options: DrawMasksOptions, rng: Rng): { readonly masks: Uint8Array; readonly counts: number[] } {
  const { slots, rows, columns, fill, shift } = options;
  const patches = rows * columns;
  checkMaskRatios(options, { rows, columns });
  const masks = new Uint8Array(slots * patches);
  const counts = Array<number>(slots).fill(0);
  const order = rng.split("order").permutation(slots);
  spread(slots, options).forEach(({ low, high }, i) => {
    const own = rng.split(`mask/${i}`);
    const target = Math.floor(patches * (fill === "exact" ? high : own.uniform(low, high)));
    const mask = drawBlockMask({ rows, columns, target, fill, shift }, own);
    const slot = order[i] ?? 0; // there are no more masked crops than slots
    masks.set(mask, slot * patches);
    counts[slot] = mask.reduce((a, b) => a + b, 0);
  });
  return { masks, counts };
}

export interface MaskBoundOptions extends MaskRatios {
  readonly slots: number;
  /** Patches of a crop. */
  readonly patches: number;
  /** Crops that a list is made of, where it is a part of the batch (contracts 8): 2b for b of B images; by default all of `slots`. */
  readonly taken?: number | undefined;
}

/**
 * Most masked patches that `taken` of the crops can have: the sum of their largest targets `⌊N p_(i+1)⌋`. Lists of masked patches are padded
 * to it (contracts 7). 0 only for probability 0. Throws ConfigError for shares outside [0, 1] and where they mask no crop.
 */
export function maskUpperBound({ slots, patches, taken = slots, ...ratios }: MaskBoundOptions): number {
  if (!Number.isInteger(taken) || taken < 0 || taken > slots)
    throw new ConfigError(`Cannot bound the masked patches of ${taken} crops: the batch has ${slots}; take a whole number from 0 to that`);
  checkShares(ratios);
  const targets = spread(slots, ratios).map(({ high }) => Math.floor(patches * high));
  // the spread rises, so the largest are the last
  return targets.slice(Math.max(0, targets.length - taken)).reduce((a, b) => a + b, 0);
}

/** The part of the ratios that each masked crop has: `n` neighbours out of n + 1 evenly spaced numbers from ratioMin to ratioMax. */
function spread(slots: number, { probability, ratioMin, ratioMax }: MaskRatios): { readonly low: number; readonly high: number }[] {
  const n = Math.floor(slots * probability);
  if (n === 0 && probability > 0)
    throw new ConfigError(
      `Cannot mask a share of ${probability} of ${slots} crops: that is none; raise mask.probability or the batch size, or set it to 0`,
      { keyPath: "mask.probability" },
    );
  const at = (i: number): number => (i === n ? ratioMax : ratioMin + i * ((ratioMax - ratioMin) / n));
  return Array.from({ length: n }, (_, i) => ({ low: at(i), high: at(i + 1) }));
}

/** Throws ConfigError for a share outside [0, 1], or a smallest ratio above the largest. */
function checkShares({ probability, ratioMin, ratioMax }: MaskRatios): void {
  for (const [key, share] of Object.entries({ probability, ratioMin, ratioMax }))
    if (!(share >= 0 && share <= 1))
      throw new ConfigError(`Cannot mask patches: mask.${key} is ${share}; give a share from 0 to 1`, { keyPath: `mask.${key}` });
  if (ratioMin > ratioMax)
    throw new ConfigError(`Cannot mask patches: mask.ratioMin ${ratioMin} is above mask.ratioMax ${ratioMax}; swap them`, {
      keyPath: "mask.ratioMin",
    });
}

/**
 * Throws ConfigError unless a masked crop of this grid is asked to lose one patch or more and to keep one: the error names the ratio, the grid
 * and what to change. With probability 0 nothing is masked, and any shares from 0 to 1 pass.
 */
export function checkMaskRatios(ratios: MaskRatios, { rows, columns }: PatchGrid): void {
  checkShares(ratios);
  if (ratios.probability === 0) return;
  const patches = rows * columns;
  const state = (key: "ratioMin" | "ratioMax"): string =>
    `mask.${key} ${ratios[key]} of a ${rows} × ${columns} grid (${patches} ${patches === 1 ? "patch" : "patches"})`;
  if (patches < 2)
    throw new ConfigError(`Cannot mask patches: ${state("ratioMax")} leaves nothing to see; make global crops larger or patches smaller`, {
      keyPath: "mask.ratioMax",
    });
  if (Math.floor(patches * ratios.ratioMax) >= patches)
    throw new ConfigError(`Cannot mask patches: ${state("ratioMax")} selects all of them; lower it below 1`, { keyPath: "mask.ratioMax" });
  if (Math.floor(patches * ratios.ratioMin) < 1)
    throw new ConfigError(
      `Cannot mask patches: ${state("ratioMin")} selects no patch; raise it to ${Math.ceil(100 / patches) / 100}, or make global crops larger or patches smaller`,
      { keyPath: "mask.ratioMin" },
    );
}
