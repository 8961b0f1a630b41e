/** @file Patch k-NN: each test patch is classified by its nearest training patches, with nothing trained. A measure of dense features. */
import { ConfigError, FormatError, type JobOptions } from "../core/index.ts";
import type { DenseList } from "../data/index.ts";
import { defaultBatchSize, nearestNeighbours, type PictureEncoder } from "../features/index.ts";
import type { EvalPool } from "../images/node/index.ts";
import { listPatchLabels } from "./patch-labels.ts";
import { choosePatches, type LabelledPatches, samplePatches, type SamplePatchesOptions } from "./patch-sample.ts";
import { type ClassScore, Confusion, predictByVote } from "./patch-vote.ts";

/** What votes and what is classified. */
export interface DenseSides {
  readonly train: DenseList;
  readonly test: DenseList;
}

export interface PatchVoteOptions extends JobOptions {
  /** How many neighbours vote. Default 20. */
  readonly k?: number | undefined;
  /** Weights are exp(cosine / temperature). Default 0.07. */
  readonly temperature?: number | undefined;
  /** Training patches in the bank at most, a fixed draw of them. Default 20,000. */
  readonly maxBank?: number | undefined;
  /** Test patches classified at most, a fixed draw of them. Default: all. */
  readonly maxQueries?: number | undefined;
  readonly batchSize?: number | undefined;
  /** Broken images and masks are left out with a notice. */
  readonly skipBroken?: boolean | undefined;
}

export interface PatchKnnOptions extends PatchVoteOptions {
  readonly encoder: PictureEncoder;
  /** Gives whole pictures as squares of `imageSizePx`, so that every labelled pixel counts. */
  readonly pool: EvalPool;
  readonly imageSizePx: number;
  readonly threads: number;
}

export interface PatchKnnResult {
  readonly trainImages: number;
  readonly testImages: number;
  readonly bankPatches: number;
  readonly testPatches: number;
  readonly classes: number;
  readonly dim: number;
  readonly imageSizePx: number;
  readonly k: number;
  /** Share of test patches whose class was found. */
  readonly patchTop1: number;
  /** Mean intersection over union, over patches and the classes of `perClass`. */
  readonly miou: number;
  /** Every class that occurs in the test or was answered. */
  readonly perClass: Readonly<Record<string, ClassScore>>;
}

function checkCount(value: number, key: string): void {
  if (!(Number.isInteger(value) || value === Infinity) || value < 1)
    throw new ConfigError(`Cannot classify patches: ${key} is ${value}; give a whole number of at least 1`, { keyPath: key });
}

/** Throws ConfigError unless the size is a whole number of patches. */
export function checkPatchSize(sizePx: number, patchPx: number): void {
  if (Number.isInteger(sizePx) && sizePx >= patchPx && sizePx % patchPx === 0) return;
  const below = Math.max(patchPx, Math.floor(sizePx / patchPx) * patchPx);
  throw new ConfigError(
    `Cannot classify patches at ${sizePx} px: patches are ${patchPx} px; use ${Number.isFinite(below) ? below : patchPx} or another multiple of ${patchPx}`,
    { keyPath: "imageSizePx" },
  );
}

/** Names by id of both sides. */
function namesOf({ train, test }: DenseSides): (id: number) => string {
  const [a, b] = [train.classes, test.classes];
  if (a !== undefined && b !== undefined && a.join("\n") !== b.join("\n"))
    throw new ConfigError("Cannot classify patches: training and test set have other classes; use sets with the same ones", {
      keyPath: "test",
    });
  const names = a ?? b;
  return (id) => names?.[id] ?? String(id);
}

interface Side {
  readonly list: DenseList;
  readonly labels: Int32Array;
  readonly chosen: Int32Array;
}

async function readSide(
  what: "train" | "test",
  list: DenseList,
  { most, options }: { readonly most: number; readonly options: PatchKnnOptions },
): Promise<Side> {
  const grid = options.imageSizePx / options.encoder.patchSizePx;
  const labels = await listPatchLabels(list, { ...options, grid });
  const chosen = choosePatches(labels, { most, stream: `patch-knn/${what}` });
  if (chosen.length === 0)
    throw new FormatError(`Cannot classify patches: all patches of the ${what} images are void; check the masks and the ids to ignore`);
  return { list, labels, chosen };
}

/** Labels as rows of the table of classes; the table has the ids of both sides, rising. */
function classTable(sides: readonly Side[]): readonly number[] {
  const ids = new Set(sides.flatMap(({ labels, chosen }) => [...new Set(chosen.map((at) => labels[at] ?? 0))]));
  return [...ids].sort((a, b) => a - b);
}

async function gather(
  side: Side,
  { dim, options }: { readonly dim: number; readonly options: SamplePatchesOptions },
): Promise<LabelledPatches> {
  const features = new Float32Array(side.chosen.length * dim);
  const labels = new Int32Array(side.chosen.length);
  let [taken, images] = [0, 0];
  for await (const part of samplePatches(side.list, side, options)) {
    features.set(part.features, taken * dim);
    labels.set(part.labels, taken);
    taken += part.labels.length;
    images += part.images;
  }
  if (taken === 0) throw new FormatError("Cannot classify patches: no training image could be read; look at the first messages");
  return { features: features.subarray(0, taken * dim), labels: labels.subarray(0, taken), images };
}

/**
 * Weighted k-NN of patches (DINO §F.1's vote, on patches): tokens after the last norm, scaled to unit length; a patch has the class of most of
 * its pixels, and mostly void ones are left out on both sides. Memory: the bank and one chunk of test patches. Throws ConfigError for bad
 * options, FormatError for broken files.
 */
export async function patchKnn(sides: DenseSides, options: PatchKnnOptions): Promise<PatchKnnResult> {
  const { encoder, imageSizePx, threads, k = 20, temperature = 0.07, maxBank = 20_000, maxQueries = Infinity, signal } = options;
  for (const [key, value] of Object.entries({ k, maxBank, maxQueries })) checkCount(value, key);
  checkPatchSize(imageSizePx, encoder.patchSizePx);
  const nameOf = namesOf(sides);
  const train = await readSide("train", sides.train, { most: maxBank, options });
  const test = await readSide("test", sides.test, { most: maxQueries, options });
  const ids = classTable([train, test]);
  const rowOf = new Map(ids.map((id, row) => [id, row]));
  const rows = (labels: Int32Array): Int32Array => labels.map((id) => rowOf.get(id) ?? 0);
  const dim = encoder.dim("patch");
  const sampling = { ...options, batchSize: options.batchSize ?? defaultBatchSize(imageSizePx), skipBroken: options.skipBroken ?? false };
  const bank = await gather(train, { dim, options: sampling });
  const bankLabels = rows(bank.labels);
  const confusion = new Confusion(ids.length);
  let testImages = 0;
  for await (const { features, labels, images } of samplePatches(test.list, test, sampling)) {
    testImages += images;
    if (labels.length === 0) continue;
    const neighbours = await nearestNeighbours(bank.features, features, { dim, k, threads, signal });
    confusion.add(rows(labels), predictByVote({ neighbours, bankLabels, classes: ids.length, temperature }));
  }
  if (confusion.total === 0) throw new FormatError("Cannot classify patches: no test image could be read; look at the first messages");
  const perClass = ids.flatMap((id, row) => {
    const score = confusion.scoreOf(row);
    return score === undefined ? [] : [[nameOf(id), score] as const];
  });
  return {
    trainImages: bank.images,
    testImages,
    bankPatches: bank.labels.length,
    testPatches: confusion.total,
    classes: ids.length,
    dim,
    imageSizePx,
    k,
    patchTop1: confusion.accuracy,
    miou: perClass.reduce((sum, [, { iou }]) => sum + iou, 0) / perClass.length,
    perClass: Object.fromEntries(perClass),
  };
}
