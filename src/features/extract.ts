/** @file Features of a whole list of images, decoding and inference side by side, batch by batch. */
import { ConfigError, FormatError, type JobOptions } from "../core/index.ts";
import { type DataEntry, type DataList, entryName, imageRef, nameFailure } from "../data/index.ts";
import type { EvalBatch, FailedImage, ImageRef } from "../images/node/index.ts";
import { defaultBatchSize } from "./batch-size.ts";
import type { FittedPicture } from "./fit.ts";
import type { PictureEncoder } from "./picture-encoder.ts";
import type { Pooling } from "./trace-encoder.ts";

/** Pictures of sizes of their own; undefined where one is broken. */
export interface MixedBatch {
  readonly pictures: readonly (FittedPicture | undefined)[];
  readonly failed: EvalBatch["failed"];
}

/** Where pictures come from, ready for the network: an `EvalPool`, or what fits them otherwise. */
export interface PictureSource {
  load(refs: readonly ImageRef[]): Promise<EvalBatch | MixedBatch>;
}

export interface ExtractOptions extends JobOptions {
  readonly encoder: PictureEncoder;
  readonly pool: PictureSource;
  readonly imageSizePx: number;
  readonly pooling?: Pooling;
  /** Blocks by number, -1 the last; only the last unless said. */
  readonly layers?: readonly number[] | undefined;
  readonly batchSize?: number;
  readonly normalize?: boolean;
  /** False: the first broken picture throws its FormatError. */
  readonly skipBroken?: boolean;
}

export interface Extracted {
  /** `[n, dim]`, rows of the images that could be read. */
  readonly features: Float32Array;
  /** Numbers of one picture: `tokens` times the width of a vector, times the layers. */
  readonly dim: number;
  readonly tokens: number;
  /** Which entry of the list each row shows. */
  readonly rows: Int32Array;
  readonly failed: readonly FailedImage[];
}

/** An entry of the list whose picture is broken. */
export interface FailedEntry extends FailedImage {
  readonly index: number;
}

/** Features of the entries `from` to `to` (not included) of a list. */
export interface FeatureBatch {
  readonly from: number;
  readonly to: number;
  /** Entries that could be read, a row each. */
  readonly rows: readonly number[];
  /** `[rows, dim]`. */
  readonly features: Float32Array;
  /** `[rows, h · p]`, when asked for. */
  readonly attention: Float32Array | undefined;
  readonly failed: readonly FailedEntry[];
}

export interface BatchOptions extends ExtractOptions {
  readonly attention?: boolean;
  /** The first entry; those before it are done. */
  readonly startAt?: number;
}

/** Scales every row of `dim` numbers to length 1, in place. */
export function normalizeRows(features: Float32Array, dim: number): void {
  for (let at = 0; at < features.length; at += dim) {
    let square = 0;
    for (let j = at; j < at + dim; j++) square += features[j]! ** 2; // at + dim <= length
    const scale = 1 / Math.max(Math.sqrt(square), 1e-12);
    for (let j = at; j < at + dim; j++) features[j] = features[j]! * scale; // as above
  }
}

/** The shape of one picture's features: `[d]`, `[t, d]`, and with an axis of layers before it where there are several. */
export function rowShape(
  encoder: PictureEncoder,
  {
    pooling,
    imageSizePx,
    layers = [-1],
  }: { readonly pooling: Pooling; readonly imageSizePx: number; readonly layers?: readonly number[] | undefined },
): readonly number[] {
  const isTokens = pooling === "patch" || pooling === "registers" || pooling === "all";
  const vectors = isTokens ? [encoder.tokens(pooling, imageSizePx)] : [];
  return [...(layers.length > 1 ? [layers.length] : []), ...vectors, encoder.dim(pooling)];
}

/**
 * Embeds every image of a list in order, a batch at a time; the next one is decoded while one is embedded. Throws FormatError for features
 * that are not finite, and, unless broken pictures are skipped, for the first of them.
 */
export async function* featureBatches(list: DataList, options: BatchOptions): AsyncGenerator<FeatureBatch> {
  const { pool, batchSize = defaultBatchSize(options.imageSizePx), startAt = 0, signal, onProgress } = options;
  const n = list.entries.length;
  const load = (from: number): ReturnType<PictureSource["load"]> | undefined => {
    if (from >= n) return undefined;
    const loading = pool.load(Array.from({ length: Math.min(batchSize, n - from) }, (_, i) => imageRef(list, from + i)));
    loading.catch(() => undefined); // seen when it is awaited
    return loading;
  };
  let next = load(startAt);
  for (let from = startAt; from < n; from += batchSize) {
    signal?.throwIfAborted();
    const batch = await next;
    next = load(from + batchSize);
    if (batch === undefined) break;
    const to = Math.min(n, from + batchSize);
    yield await embedBatch(batch, list, { ...options, from, to });
    onProgress?.({ what: "embedding", done: to, total: n, unit: "images" });
  }
}

interface Span extends BatchOptions {
  readonly from: number;
  readonly to: number;
}

async function embedBatch(batch: EvalBatch | MixedBatch, list: DataList, span: Span): Promise<FeatureBatch> {
  const { from, to, encoder, normalize = false, pooling = "cls", skipBroken = true } = span;
  const failed = batch.failed.map((f) => ({ index: from + f.index, ...nameFailure(entryAt(list, from + f.index), f) }));
  const [first] = failed;
  if (first !== undefined && !skipBroken)
    throw new FormatError(`${first.reason}; or leave out such images with --skip-broken`, { file: first.path });
  const bad = new Set(failed.map(({ index }) => index));
  const rows = Array.from({ length: to - from }, (_, i) => from + i).filter((i) => !bad.has(i));
  const slots = rows.map((row) => row - from);
  const { features, attention } =
    "images" in batch ? await encodeTogether(batch.images, slots, span) : await encodeEach(batch.pictures, slots, span);
  const dim = features.length / Math.max(1, rows.length);
  for (const [i, row] of rows.entries()) checkFinite(features.subarray(i * dim, (i + 1) * dim), entryName(entryAt(list, row)));
  if (normalize) normalizeRows(features, encoder.dim(pooling));
  return { from, to, rows, features, attention, failed };
}

interface Rows {
  readonly features: Float32Array;
  readonly attention: Float32Array | undefined;
}

/** Pictures `[b, 3, s, s]` of one size; rows of `slots` alone are kept. */
async function encodeTogether(images: Float32Array, slots: readonly number[], span: Span): Promise<Rows> {
  const { encoder, imageSizePx: sizePx, pooling = "cls", layers, attention = false, signal, from, to } = span;
  const encoded = await encoder.encode(images, { pool: pooling, sizePx, layers, attention, signal });
  const kept = (values: Float32Array): Float32Array => pick(values, slots, values.length / (to - from));
  return { features: kept(encoded.features), attention: encoded.attention === undefined ? undefined : kept(encoded.attention) };
}

function pick(values: Float32Array, slots: readonly number[], dim: number): Float32Array {
  const out = new Float32Array(slots.length * dim);
  for (const [i, slot] of slots.entries()) out.set(values.subarray(slot * dim, (slot + 1) * dim), i * dim);
  return out;
}

/** Pictures of sizes of their own, one after the other: the vectors of all are as wide, their patches and attention are not. */
async function encodeEach(pictures: MixedBatch["pictures"], slots: readonly number[], span: Span): Promise<Rows> {
  const { encoder, pooling = "cls", layers, signal } = span;
  const vectors: Float32Array[] = [];
  for (const slot of slots) {
    const picture = pictures[slot];
    if (picture === undefined) continue; // listed as broken
    const { features } = await encoder.encode(picture.planes, { pool: pooling, sizePx: picture.sizePx, layers, signal });
    vectors.push(features.slice());
  }
  const dim = vectors[0]?.length ?? 0;
  const features = new Float32Array(vectors.length * dim);
  for (const [i, vector] of vectors.entries()) features.set(vector, i * dim);
  return { features, attention: undefined };
}

function allocate(rows: number, dim: number): Float32Array {
  try {
    return new Float32Array(rows * dim);
  } catch (cause) {
    const gb = ((rows * dim * 4) / 1e9).toFixed(0);
    const state = `Cannot hold features of ${rows} images: their ${dim} numbers each take ${gb} GB of memory`;
    throw new ConfigError(`${state}; take parts of the data, or pool the tokens`, { keyPath: "pool", cause });
  }
}

/** Features of every image of a list in memory. Throws as `featureBatches` does, and ConfigError when they do not fit. */
export async function extractFeatures(list: DataList, options: ExtractOptions): Promise<Extracted> {
  const { encoder, imageSizePx, pooling = "cls", layers } = options;
  const dim = rowShape(encoder, { pooling, imageSizePx, layers }).reduce((a, b) => a * b, 1);
  const features = allocate(list.entries.length, dim);
  const rows: number[] = [];
  const failed: FailedImage[] = [];
  for await (const batch of featureBatches(list, options)) {
    features.set(batch.features, rows.length * dim);
    rows.push(...batch.rows);
    failed.push(...batch.failed.map(({ path, reason }) => ({ path, reason })));
  }
  const tokens = encoder.tokens(pooling, imageSizePx);
  return { features: features.subarray(0, rows.length * dim), dim, tokens, rows: Int32Array.from(rows), failed };
}

function entryAt(list: DataList, index: number): DataEntry {
  return list.entries[index] ?? { path: "", bytes: 0, mtimeMs: 0 };
}

function checkFinite(row: Float32Array, name: string): void {
  if (!row.every(Number.isFinite))
    throw new FormatError(`Cannot embed "${name}": its features are not finite; the weights are damaged, or not of this architecture`, {
      file: name,
    });
}
