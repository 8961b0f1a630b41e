/** @file Block masks: which patches of a crop the student does not see. DINOv2 spec §2.4; BEiT's generator, as iBOT uses it. */
import { ConfigError, type Rng } from "../core/index.ts";
import { roundHalfEven } from "./crops.ts";

/** The patches of a crop. */
export interface PatchGrid {
  readonly rows: number;
  readonly columns: number;
}

/** How a mask is filled up to its target. */
export interface MaskFill {
  /** "under": blocks only, which can end below the target (DINOv2); "exact": single patches at random make up the rest (DINOv3). */
  readonly fill: "under" | "exact";
  /** Whether the mask is then rolled around by random rows and columns (DINOv3's option). */
  readonly shift?: boolean | undefined;
}

export interface BlockMaskOptions extends PatchGrid, MaskFill {
  /** Patches to mask; the result never has more. */
  readonly target: number;
  /** Most patches that one block may add; by default `maxMaskPatches` of the grid. */
  readonly maxPatches?: number | undefined;
}

/** Smallest area that a block is drawn of, in patches. */
const LEAST_AREA = 4;
/** Height over width of a block lies within this and its inverse. */
const LEAST_ASPECT = 0.3;
const TRIES = 10;

/**
 * Most patches of one block: half the crop's side in whole patches, times its side, `((0.5 S) // p · S) // p`. The two floors make it less
 * than half the patches where the side is odd: 666 of 1369 for 518 px and patch 14. Throws ConfigError for a crop smaller than a patch.
 */
export function maxMaskPatches({ imageSizePx, patchSizePx }: { readonly imageSizePx: number; readonly patchSizePx: number }): number {
  if (!(patchSizePx > 0 && imageSizePx >= patchSizePx))
    throw new ConfigError(`Cannot mask crops of ${imageSizePx} px: they hold no patch of ${patchSizePx} px; make crops larger`);
  return Math.floor((Math.floor((0.5 * imageSizePx) / patchSizePx) * imageSizePx) / patchSizePx);
}

/**
 * A mask `[rows · columns]` of 0 and 1 (masked), row-major: blocks of random area and aspect until `target` patches are masked or ten tries
 * in a row add none. Equal streams give equal masks. Throws ConfigError for a target that is no number of the grid's patches.
 */
export function drawBlockMask(options: BlockMaskOptions, rng: Rng): Uint8Array {
  const { rows, columns, target, fill, shift = false } = options;
  const { maxPatches = Math.floor(rows / 2) * columns } = options;
  if (!Number.isInteger(target) || target < 0 || target > rows * columns)
    throw new ConfigError(
      `Cannot mask ${target} patches of a ${rows} × ${columns} grid: it has ${rows * columns}; take a whole number from 0 to that`,
    );
  const mask = new Uint8Array(rows * columns);
  let count = 0;
  while (count < target) {
    const added = addBlock(mask, { rows, columns, most: Math.min(target - count, maxPatches) }, rng);
    if (added === 0) break;
    count += added;
  }
  if (fill === "exact") addSingles(mask, target - count, rng);
  return shift ? roll(mask, { rows, columns }, rng) : mask;
}

/** Masks one block that covers 1 to `most` new patches; gives how many, 0 where ten tries found none. */
function addBlock(mask: Uint8Array, { rows, columns, most }: PatchGrid & { readonly most: number }, rng: Rng): number {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const area = rng.uniform(LEAST_AREA, most); // below 4 the bounds turn round, as in Python
    const aspect = Math.exp(rng.uniform(Math.log(LEAST_ASPECT), -Math.log(LEAST_ASPECT)));
    const height = roundHalfEven(Math.sqrt(area * aspect));
    const width = roundHalfEven(Math.sqrt(area / aspect));
    if (height >= rows || width >= columns) continue;
    const top = rng.int(rows - height + 1);
    const left = rng.int(columns - width + 1);
    const hidden: number[] = [];
    for (let y = top; y < top + height; y++)
      for (let x = left; x < left + width; x++) if (mask[y * columns + x] === 0) hidden.push(y * columns + x);
    if (hidden.length === 0 || hidden.length > most) continue;
    for (const at of hidden) mask[at] = 1;
    return hidden.length;
  }
  return 0;
}

/** Masks `count` more patches, each set of them equally likely. */
function addSingles(mask: Uint8Array, count: number, rng: Rng): void {
  if (count === 0) return;
  const free = [...mask.keys()].filter((at) => mask[at] === 0);
  for (const i of rng.permutation(free.length).subarray(0, count)) mask[free[i] ?? 0] = 1;
}

/** The mask moved down and right by random amounts; what leaves on one side comes in on the other. */
function roll(mask: Uint8Array, { rows, columns }: PatchGrid, rng: Rng): Uint8Array {
  const [down, right] = [rng.int(rows), rng.int(columns)];
  return mask.map((_, at) => {
    const y = (Math.floor(at / columns) - down + rows) % rows;
    const x = ((at % columns) - right + columns) % columns;
    return mask[y * columns + x] ?? 0;
  });
}
