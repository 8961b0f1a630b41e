/** @file `evalKnn()`: how well features of labelled images tell their classes, by the vote of neighbours. */
import { availableParallelism } from "node:os";
import { ConfigError, FormatError } from "../core/index.ts";
import { type DataEntry, type DataList, holdOut, listData, makeList } from "../data/index.ts";
import {
  type Extracted,
  extractByModel,
  type ExtractRequest,
  isFeatureTable,
  nearestNeighbours,
  normalizeRows,
  readFeatureTable,
} from "../features/index.ts";
import { type KnnScore, weightedVote } from "./knn.ts";

export interface EvalKnnOptions extends Omit<ExtractRequest, "model"> {
  /** Not needed for tables of features. */
  readonly model?: string | undefined;
  /** Labelled images, or a table of `embed()`: who votes. */
  readonly train: string;
  /** The same: what is classified. Absent: a part of `train`, by `split`. */
  readonly test?: string | undefined;
  /** The share of each class that is held out of `train` for the test, such as 0.2. */
  readonly split?: number | undefined;
  readonly k?: readonly number[];
  readonly temperature?: number;
}

export interface EvalKnnResult {
  readonly trainImages: number;
  readonly testImages: number;
  readonly classes: number;
  readonly dim: number;
  /** Shares of right answers by k: `top1[20]`. */
  readonly top1: Readonly<Record<string, number>>;
  /** Shares of right answers among min(5, k) guesses, by k. */
  readonly top5: Readonly<Record<string, number>>;
}

/** Features `[n, dim]` and their classes. */
export interface Labelled {
  readonly features: Float32Array;
  readonly dim: number;
  readonly labels: readonly string[];
}

/** One side before embedding: features that are there, or images. */
type Side = { readonly table: Labelled } | { readonly list: DataList };

async function readTable(path: string): Promise<Labelled> {
  const { features, shape, labels } = await readFeatureTable(path);
  const [, dim = 0] = shape;
  if (shape.length !== 2)
    throw new FormatError(`Cannot classify "${path}": its features have shape [${shape.join(",")}]; embed with one vector an image`, {
      file: path,
    });
  if (labels === undefined)
    throw new FormatError(`Cannot classify "${path}": it has no labels; embed a folder with one folder a class, or give --labels`, {
      file: path,
    });
  return { features, dim, labels };
}

async function readSide(spec: string, request: ExtractRequestLike): Promise<Side> {
  if (await isFeatureTable(spec)) return { table: await readTable(spec) };
  const list = await listData(spec, request);
  if (list.classes.length < 2)
    throw new ConfigError(
      `Cannot classify "${spec}": its images have no classes; put them into one folder a class, or give a .csv with path,label`,
      { keyPath: "labels" },
    );
  return { list };
}

type ExtractRequestLike = Omit<ExtractRequest, "model">;

/** Rows of a table by the rule of images. */
function splitTable({ features, dim, labels }: Labelled, every: number): readonly [Labelled, Labelled] {
  const width = String(labels.length).length;
  const rows = labels.map((label, i): DataEntry => ({ path: String(i).padStart(width, "0"), bytes: 0, mtimeMs: 0, label }));
  const { train, test } = holdOut(makeList(rows), every);
  const take = ({ entries }: DataList): Labelled => {
    const part = new Float32Array(entries.length * dim);
    entries.forEach(({ path }, i) => part.set(features.subarray(Number(path) * dim, (Number(path) + 1) * dim), i * dim));
    return { features: part, dim, labels: entries.map((e) => e.label ?? "") };
  };
  return [take(train), take(test)];
}

function splitSide(side: Side, share: number): readonly [Side, Side] {
  if (!(share > 0 && share < 1))
    throw new ConfigError(`Cannot hold out a share of ${share}: both parts need some; give a number between 0 and 1`, { keyPath: "split" });
  if ("list" in side) {
    const { train, test } = holdOut(side.list, 1 / share);
    return [{ list: train }, { list: test }];
  }
  const [train, test] = splitTable(side.table, 1 / share);
  return [{ table: train }, { table: test }];
}

function labelsOf({ rows, features, dim }: Extracted, list: DataList): Labelled {
  return { features, dim, labels: Array.from(rows, (i) => list.entries[i]?.label ?? "") };
}

/** Embeds the lists among the sides, all by one opened model. */
async function embedSides(
  sides: readonly [Side, Side],
  model: string | undefined,
  request: ExtractRequestLike,
): Promise<readonly Labelled[]> {
  const lists = sides.flatMap((side) => ("list" in side ? [side.list] : []));
  if (lists.length === 0) return sides.flatMap((side) => ("table" in side ? [side.table] : []));
  if (model === undefined) throw new ConfigError("Cannot evaluate images: there is no network; give --model", { keyPath: "model" });
  if (request.pool === "patch" || request.pool === "all")
    throw new ConfigError(`Cannot classify by "${request.pool}" features: k-NN needs one vector an image; use cls, mean or cls+mean`, {
      keyPath: "pool",
    });
  const { found } = await extractByModel(lists, { ...request, model });
  const embedded = found.values();
  return sides.map((side) => {
    if ("table" in side) return side.table;
    const next = embedded.next().value;
    if (next === undefined || next.rows.length === 0)
      throw new FormatError("Cannot evaluate: no image could be read; look at the first messages");
    return labelsOf(next, side.list);
  });
}

async function readSides({ train, test, split, model, ...request }: EvalKnnOptions): Promise<readonly [Labelled, Labelled]> {
  if ((test === undefined) === (split === undefined))
    throw new ConfigError(
      `Cannot evaluate "${train}": its test side is not clear; give either images to classify (--test) or the share to hold out (--split)`,
      {
        keyPath: "test",
      },
    );
  const first = await readSide(train, request);
  const sides = test === undefined ? splitSide(first, split ?? 0) : ([first, await readSide(test, request)] as const);
  const [a, b] = await embedSides(sides, model, request);
  if (a === undefined || b === undefined || a.labels.length === 0 || b.labels.length === 0)
    throw new FormatError(`Cannot evaluate "${train}": one side has no image; give more, or a larger share to --split`, { file: train });
  return [a, b];
}

/** Throws ConfigError unless every image has a class, and those of the test vote. */
function checkLabels(train: Labelled, test: Labelled): readonly string[] {
  for (const [what, { labels }] of Object.entries({ train, test })) {
    const without = labels.filter((label) => label === "").length;
    if (without > 0)
      throw new ConfigError(`Cannot classify: ${without} of ${labels.length} ${what} images have no class; label them or leave them out`, {
        keyPath: "labels",
      });
  }
  const classes = new Set(train.labels);
  const unknown = test.labels.filter((label) => !classes.has(label));
  if (unknown.length > 0)
    throw new ConfigError(
      `Cannot classify: ${unknown.length} test images are of classes that do not vote ("${unknown[0] ?? ""}"); use the same class names on both sides`,
      { keyPath: "labels" },
    );
  return [...classes].sort();
}

export interface VoteKnnOptions extends Pick<EvalKnnOptions, "signal" | "onProgress"> {
  readonly k: readonly number[];
  readonly temperature: number;
  readonly threads: number;
}

/** Weighted k-NN of two labelled sides, with features scaled to unit length. */
export async function voteKnn([train, test]: readonly [Labelled, Labelled], options: VoteKnnOptions): Promise<readonly KnnScore[]> {
  const { k, temperature, threads, signal, onProgress } = options;
  if (train.dim !== test.dim)
    throw new ConfigError(`Cannot compare features: one side has ${train.dim} numbers, the other ${test.dim}; embed both with one model`, {
      keyPath: "test",
    });
  if (k.length === 0) throw new ConfigError("Cannot vote: no number of neighbours is given; give k, such as 20", { keyPath: "k" });
  const classes = checkLabels(train, test);
  const index = new Map(classes.map((name, i) => [name, i]));
  const ids = (labels: readonly string[]): Int32Array => Int32Array.from(labels, (l) => index.get(l) ?? 0);
  const [bank, queries] = [train.features.slice(), test.features.slice()];
  normalizeRows(bank, train.dim);
  normalizeRows(queries, test.dim);
  const neighbours = await nearestNeighbours(bank, queries, { dim: train.dim, k: Math.max(...k), threads, signal, onProgress });
  return weightedVote({
    neighbours,
    bankLabels: ids(train.labels),
    queryLabels: ids(test.labels),
    classes: classes.length,
    ks: k,
    temperature,
  });
}

/** DINO's weighted k-NN over images by a model, or over tables of features. */
export async function evalKnn(options: EvalKnnOptions): Promise<EvalKnnResult> {
  const { k = [10, 20, 100, 200], temperature = 0.07, threads = availableParallelism() } = options;
  const sides = await readSides(options);
  const scores = await voteKnn(sides, { k, temperature, threads, signal: options.signal, onProgress: options.onProgress });
  const [train, test] = sides;
  const classes = new Set(train.labels).size;
  return {
    trainImages: train.labels.length,
    testImages: test.labels.length,
    classes,
    dim: train.dim,
    top1: Object.fromEntries(scores.map((s) => [s.k, s.top1])),
    top5: Object.fromEntries(scores.map((s) => [s.k, s.top5])),
  };
}
