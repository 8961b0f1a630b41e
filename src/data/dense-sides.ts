/** @file The two sides of a dense evaluation: as given, by the set's own splits, or by holding images out. */
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type DenseList, holdOutDense, listDense, type ListDenseOptions } from "./dense.ts";
import { readDataSheet } from "./dense-sheet.ts";

export interface DenseParts {
  readonly train: DenseList;
  readonly test: DenseList;
}

/** Names of splits that may be tested on, best first. */
const TESTED = ["test", "val", "validation"];

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** The splits that a set has: by its sheet, or CamVid's folders with their `annot`. */
async function splitsOf(path: string): Promise<readonly string[]> {
  const sheet = await readDataSheet(path);
  if (sheet !== undefined) return Object.keys(sheet.splits ?? {});
  const names = ["train", ...TESTED];
  const there = await Promise.all(names.map((name) => isThere(join(path, `${name}annot`))));
  return names.filter((_, i) => there[i]);
}

/**
 * Who votes and who is classified. Without `test`: the splits `train` and `test` (or `val`) where `train` names a set that has them, else every
 * fifth image is held out. Throws as `listDense()` does.
 */
export async function listDenseSides(train: string, test: string | null, options: ListDenseOptions = {}): Promise<DenseParts> {
  if (test !== null) return { train: await listDense(train, options), test: await listDense(test, options) };
  const root = resolve(train);
  const splits = await splitsOf(root);
  const tested = TESTED.find((name) => splits.includes(name));
  if (tested === undefined || !splits.includes("train")) return holdOutDense(await listDense(train, options));
  return { train: await listDense(join(root, "train"), options), test: await listDense(join(root, tested), options) };
}
