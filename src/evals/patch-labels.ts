/** @file The class of every patch of an image: the class of most of its pixels. */
import { ConfigError, FormatError, type JobOptions } from "../core/index.ts";
import { type DenseList, loadDenseMask } from "../data/index.ts";
import type { MaskImage } from "../images/node/index.ts";

/** Label of a patch whose pixels are mostly void. */
export const VOID_PATCH = -1;

const MAX_IDS = 65_536;

/**
 * Rows or columns of each cell: those whose centre lies in it, `[from, to)`. A cell of less than a pixel takes the pixel under its centre.
 */
function spansOf(sizePx: number, cells: number): readonly (readonly [from: number, to: number])[] {
  const edge = (i: number): number => Math.max(0, Math.ceil((i * sizePx) / cells - 0.5));
  return Array.from({ length: cells }, (_, i) => {
    const [from, to] = [edge(i), edge(i + 1)];
    const under = Math.floor(((i + 0.5) * sizePx) / cells);
    return to > from ? [from, to] : [under, under + 1];
  });
}

export interface PatchLabelOptions {
  /** Patches a side: the whole picture is seen as a square of `grid` by `grid` patches. */
  readonly grid: number;
  /** Ids that are void. */
  readonly ignore: readonly number[];
}

/**
 * Majority class of the pixels of each patch, `[grid * grid]`, row by row: of equal counts the lower id. -1 (`VOID_PATCH`) where void pixels
 * are more than those of any class. Pixels of the mask are counted as they are, without resampling.
 */
export function patchLabels({ width, height, ids }: MaskImage, { grid, ignore }: PatchLabelOptions): Int32Array {
  if (!Number.isInteger(grid) || grid < 1)
    throw new ConfigError(`Cannot label patches: the grid has ${grid} patches a side; give a whole number of at least 1`, {
      keyPath: "grid",
    });
  const isVoid = new Uint8Array(MAX_IDS);
  for (const id of ignore) isVoid[id] = 1;
  const counts = new Uint32Array(MAX_IDS);
  const [rows, columns] = [spansOf(height, grid), spansOf(width, grid)];
  const labels = new Int32Array(grid * grid);
  for (const [r, [top, bottom]] of rows.entries())
    for (const [c, [left, right]] of columns.entries()) {
      const seen: number[] = [];
      let voids = 0;
      for (let y = top; y < bottom; y++)
        for (let x = left; x < right; x++) {
          const id = ids[y * width + x]!; // x < width, y < height
          if (isVoid[id] === 1) voids++;
          else {
            if (counts[id] === 0) seen.push(id);
            counts[id] = counts[id]! + 1; // ids are below MAX_IDS
          }
        }
      labels[r * grid + c] = mostOf(seen, counts, voids);
      for (const id of seen) counts[id] = 0;
    }
  return labels;
}

function mostOf(seen: readonly number[], counts: Uint32Array, voids: number): number {
  let best = VOID_PATCH;
  let most = 0;
  for (const id of seen) {
    const count = counts[id] ?? 0;
    if (count > most || (count === most && id < best)) [best, most] = [id, count];
  }
  return most >= voids ? best : VOID_PATCH;
}

export interface ListLabelOptions extends JobOptions {
  readonly grid: number;
  /** A broken mask makes its whole image void instead of an error. */
  readonly skipBroken?: boolean | undefined;
}

/** Masks read at once. */
const AT_ONCE = 8;

/** Patch labels of all images of a set, `[n * grid * grid]`. Throws FormatError for a broken mask and ids that are no class. */
export async function listPatchLabels(list: DenseList, options: ListLabelOptions): Promise<Int32Array> {
  const { grid, skipBroken = false, signal, onProgress, onNotice } = options;
  const n = list.masks.length;
  const labels = new Int32Array(n * grid * grid).fill(VOID_PATCH);
  const read = async (i: number): Promise<void> => {
    try {
      labels.set(patchLabels(await loadDenseMask(list, i), { grid, ignore: list.ignore }), i * grid * grid);
    } catch (error) {
      if (!skipBroken || !(error instanceof FormatError)) throw error;
      onNotice?.(`Left out: ${error.message}`);
    }
  };
  for (let i = 0; i < n; i += AT_ONCE) {
    signal?.throwIfAborted();
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, n - i) }, (_, j) => read(i + j)));
    onProgress?.({ what: "reading masks", done: Math.min(n, i + AT_ONCE), total: n, unit: "masks" });
  }
  return labels;
}
