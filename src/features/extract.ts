/** @file Features of a whole list of images, decoding and inference side by side. */
import { ConfigError, FormatError, type JobOptions } from "../core/index.ts";
import { type DataEntry, type DataList, entryName, imageRef, nameFailure } from "../data/index.ts";
import type { EvalBatch, EvalPool, FailedImage } from "../images/node/index.ts";
import type { Encoder } from "./encoder.ts";
import type { Pooling } from "./trace-encoder.ts";

export interface ExtractOptions extends JobOptions {
  readonly encoder: Encoder;
  readonly pool: EvalPool;
  readonly imageSizePx: number;
  readonly pooling?: Pooling;
  readonly batchSize?: number;
  readonly normalize?: boolean;
  /** False: the first broken picture throws its FormatError. */
  readonly skipBroken?: boolean;
}

export interface Extracted {
  /** `[n, dim]`, rows of the images that could be read. */
  readonly features: Float32Array;
  /** Numbers of one picture: `tokens` times the width of a vector. */
  readonly dim: number;
  readonly tokens: number;
  /** Which entry of the list each row shows. */
  readonly rows: Int32Array;
  readonly failed: readonly FailedImage[];
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

function allocate(rows: number, dim: number): Float32Array {
  try {
    return new Float32Array(rows * dim);
  } catch (cause) {
    const gb = ((rows * dim * 4) / 1e9).toFixed(0);
    const state = `Cannot embed ${rows} images: their ${dim} numbers each take ${gb} GB of memory`;
    throw new ConfigError(`${state}; embed parts of the data, or pool the tokens`, { keyPath: "pool", cause });
  }
}

/** Embeds every image of a list in order; the next batch is decoded while one is embedded. Throws FormatError for features that are not finite. */
export async function extractFeatures(list: DataList, options: ExtractOptions): Promise<Extracted> {
  const { encoder, pool, imageSizePx, pooling = "cls", batchSize = 32, normalize = false, skipBroken = true, signal, onProgress } = options;
  const n = list.entries.length;
  const tokens = encoder.tokens(pooling, imageSizePx);
  const dim = encoder.dim(pooling) * tokens;
  const features = allocate(n, dim);
  const rows: number[] = [];
  const failed: FailedImage[] = [];
  const load = (from: number): Promise<EvalBatch> | undefined =>
    from >= n ? undefined : pool.load(Array.from({ length: Math.min(batchSize, n - from) }, (_, i) => imageRef(list, from + i)));
  let next = load(0);
  for (let from = 0; from < n; from += batchSize) {
    signal?.throwIfAborted();
    const batch = await next;
    next = load(from + batchSize);
    next?.catch(() => undefined); // seen when it is awaited
    if (batch === undefined) break;
    const bad = new Map(batch.failed.map((f) => [f.index, nameFailure(entryAt(list, from + f.index), f)]));
    const [first] = bad.values();
    if (first !== undefined && !skipBroken)
      throw new FormatError(`${first.reason}; or leave out such images with --skip-broken`, { file: first.path });
    const encoded = await encoder.encode(batch.images, { pool: pooling, sizePx: imageSizePx, signal });
    for (let i = 0; i < encoded.features.length / dim; i++) {
      const broken = bad.get(i);
      if (broken !== undefined) {
        failed.push(broken);
        continue;
      }
      const row = encoded.features.subarray(i * dim, (i + 1) * dim);
      checkFinite(row, entryName(entryAt(list, from + i)));
      features.set(row, rows.length * dim);
      rows.push(from + i);
    }
    onProgress?.({ what: "embedding", done: Math.min(n, from + batchSize), total: n, unit: "images" });
  }
  const kept = features.subarray(0, rows.length * dim);
  if (normalize) normalizeRows(kept, encoder.dim(pooling));
  return { features: kept, dim, tokens, rows: Int32Array.from(rows), failed };
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
