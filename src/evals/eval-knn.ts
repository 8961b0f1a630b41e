/** @file `evalKnn()`: how well features of labelled images tell their classes, by the vote of neighbours. */
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { z } from "zod";
import { ConfigError, FormatError } from "../core/index.ts";
import { type DataList, listData } from "../data/index.ts";
import { type Extracted, extractByModel, type ExtractRequest, nearestNeighbours, normalizeRows } from "../features/index.ts";
import { readNpy, readSafetensors } from "../weights/index.ts";
import { type KnnScore, weightedVote } from "./knn.ts";

export interface EvalKnnOptions extends Omit<ExtractRequest, "model"> {
  /** Not needed for tables of features. */
  readonly model?: string | undefined;
  /** Labelled images, or a table of `embed()`: who votes. */
  readonly train: string;
  /** The same: what is classified. */
  readonly test: string;
  readonly k?: readonly number[];
  readonly temperature?: number;
}

export interface EvalKnnResult {
  readonly trainImages: number;
  readonly testImages: number;
  readonly classes: number;
  readonly dim: number;
  /** By "k=20": shares of right answers. */
  readonly knn: Readonly<Record<string, { readonly top1: number; readonly top5: number }>>;
}

interface Labelled {
  readonly features: Float32Array;
  readonly dim: number;
  readonly labels: readonly string[];
}

const tableSchema = z.object({ labels: z.array(z.string()) });

async function readTable(path: string): Promise<Labelled> {
  const tensor = path.endsWith(".npy")
    ? await readNpy(path)
    : (await readSafetensors(path, { names: ["features"] })).tensors.get("features");
  if (!(tensor?.data instanceof Float32Array) || tensor.shape.length !== 2)
    throw new FormatError(`Cannot use "${path}": it has no float32 features [n, d]; make it by \`tricera embed\``, { file: path });
  const side = tableSchema.safeParse(JSON.parse(await readFile(`${path}.json`, "utf8").catch(() => "null")));
  if (!side.success || side.data.labels.length !== tensor.shape[0])
    throw new FormatError(`Cannot use "${path}": "${path}.json" has no label for each row; embed a folder with one folder a class`, {
      file: path,
    });
  return { features: tensor.data, dim: tensor.shape[1] ?? 1, labels: side.data.labels };
}

async function labelledData(spec: string, request: ExtractRequest): Promise<DataList> {
  const list = await listData(spec, request);
  if (list.classes.length < 2)
    throw new ConfigError(
      `Cannot classify "${spec}": its images have no classes; put them into one folder a class, or give a .csv with path,label`,
      { keyPath: "labels" },
    );
  return list;
}

function labelsOf({ rows, ...found }: Extracted, list: DataList): Labelled {
  return { ...found, labels: Array.from(rows, (i) => list.entries[i]?.label ?? "") };
}

async function readSides({ train, test, model, ...request }: EvalKnnOptions): Promise<readonly [Labelled, Labelled]> {
  const isTable = (path: string): boolean => /\.(safetensors|npy)$/.test(path);
  if (isTable(train) && isTable(test)) return [await readTable(train), await readTable(test)];
  if (model === undefined) throw new ConfigError("Cannot evaluate images: there is no network; give --model", { keyPath: "model" });
  const lists = [await labelledData(train, { ...request, model }), await labelledData(test, { ...request, model })] as const;
  const [a, b] = await extractByModel(lists, { ...request, model });
  if (a === undefined || b === undefined || a.rows.length === 0 || b.rows.length === 0)
    throw new FormatError("Cannot evaluate: no image could be read; look at the first messages");
  return [labelsOf(a, lists[0]), labelsOf(b, lists[1])];
}

/** Weighted k-NN of two labelled sides, with features scaled to unit length. */
export async function voteKnn(
  [train, test]: readonly [Labelled, Labelled],
  {
    k,
    temperature,
    threads,
    signal,
    onProgress,
  }: Pick<EvalKnnOptions, "signal" | "onProgress"> & {
    readonly k: readonly number[];
    readonly temperature: number;
    readonly threads: number;
  },
): Promise<readonly KnnScore[]> {
  if (train.dim !== test.dim)
    throw new ConfigError(`Cannot compare features of ${train.dim} and ${test.dim} numbers; embed both with one model`, {
      keyPath: "test",
    });
  const classes = [...new Set(train.labels)].sort();
  const unknown = test.labels.filter((label) => !classes.includes(label));
  if (unknown.length > 0)
    throw new ConfigError(
      `Cannot classify: ${unknown.length} test images are of classes that do not vote ("${unknown[0] ?? ""}"); use the same class names on both sides`,
      { keyPath: "labels" },
    );
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
    knn: Object.fromEntries(scores.map(({ k: of, top1, top5 }) => [`k=${of}`, { top1, top5 }])),
  };
}
