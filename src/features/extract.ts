/** @file Features of a whole list of images, decoding and inference side by side. */
import type { JobOptions } from "../core/index.ts";
import { type DataList, imageRef } from "../data/index.ts";
import type { EvalBatch, EvalPool } from "../images/node/index.ts";
import type { Encoder, Pooling } from "./encoder.ts";

export interface ExtractOptions extends JobOptions {
  readonly encoder: Encoder;
  readonly pool: EvalPool;
  readonly imageSizePx: number;
  readonly pooling?: Pooling;
  readonly batchSize?: number;
  readonly normalize?: boolean;
}

export interface Extracted {
  /** `[n, dim]`, rows of the images that could be read. */
  readonly features: Float32Array;
  readonly dim: number;
  /** Which entry of the list each row shows. */
  readonly rows: Int32Array;
  readonly failed: readonly { readonly path: string; readonly reason: string }[];
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

/** Embeds every image of a list in order; the next batch is decoded while one is embedded. */
export async function extractFeatures(list: DataList, options: ExtractOptions): Promise<Extracted> {
  const { encoder, pool, imageSizePx, pooling = "cls", batchSize = 32, normalize = false, signal, onProgress } = options;
  const n = list.entries.length;
  const patches = pooling === "patch" ? (imageSizePx / encoder.config.patchSizePx) ** 2 : 1;
  const dim = encoder.dim(pooling) * patches;
  const features = new Float32Array(n * dim);
  const rows: number[] = [];
  const failed: { path: string; reason: string }[] = [];
  const load = (from: number): Promise<EvalBatch> | undefined =>
    from >= n ? undefined : pool.load(Array.from({ length: Math.min(batchSize, n - from) }, (_, i) => imageRef(list, from + i)));
  let next = load(0);
  for (let from = 0; from < n; from += batchSize) {
    signal?.throwIfAborted();
    const batch = await next;
    next = load(from + batchSize);
    next?.catch(() => undefined); // seen when it is awaited
    if (batch === undefined) break;
    const encoded = await encoder.encode(batch.images, { pool: pooling, sizePx: imageSizePx, signal });
    const bad = new Map(batch.failed.map((f) => [f.index, f]));
    for (let i = 0; i < encoded.features.length / dim; i++) {
      const broken = bad.get(i);
      if (broken !== undefined) failed.push({ path: broken.path, reason: broken.reason });
      else {
        features.set(encoded.features.subarray(i * dim, (i + 1) * dim), rows.length * dim);
        rows.push(from + i);
      }
    }
    onProgress?.({ what: "embedding", done: Math.min(n, from + batchSize), total: n, unit: "images" });
  }
  const kept = features.subarray(0, rows.length * dim);
  if (normalize) normalizeRows(kept, encoder.dim(pooling));
  return { features: kept, dim, rows: Int32Array.from(rows), failed };
}
