/** @file Patch features of labelled images in bounded memory: which patches are taken, and their vectors chunk by chunk. */
import { type JobOptions, Rng } from "../core/index.ts";
import { type DenseList, makeList } from "../data/index.ts";
import { extractFeatures, normalizeRows, type PictureEncoder } from "../features/index.ts";
import type { EvalPool } from "../images/node/index.ts";

/** Float32 numbers of one chunk of tokens: 64 MB. */
const CHUNK_NUMBERS = 16e6;

/**
 * At most `most` of the labelled patches, as rising positions in `labels`: each has the same chance, and the same ones are drawn each time
 * (selection sampling, Knuth vol. 2 §3.4.2, algorithm S).
 */
export function choosePatches(labels: Int32Array, { most, stream }: { readonly most: number; readonly stream: string }): Int32Array {
  const total = labels.reduce((n, label) => n + (label < 0 ? 0 : 1), 0);
  const chosen = new Int32Array(Math.min(most, total));
  const rng = new Rng(0, stream);
  let [left, taken] = [total, 0];
  for (let i = 0; i < labels.length && taken < chosen.length; i++) {
    if (labels[i]! < 0) continue; // i < length
    if (chosen.length - taken >= left || rng.uniform() * left < chosen.length - taken) chosen[taken++] = i;
    left--;
  }
  return chosen;
}

export interface SamplePatchesOptions extends Pick<JobOptions, "signal" | "onProgress" | "onNotice"> {
  readonly encoder: PictureEncoder;
  /** Gives whole pictures as squares of `imageSizePx`. */
  readonly pool: EvalPool;
  readonly imageSizePx: number;
  readonly batchSize: number;
  readonly skipBroken: boolean;
}

/** Vectors `[m, dim]` of unit length, and their labels. */
export interface LabelledPatches {
  readonly features: Float32Array;
  readonly labels: Int32Array;
  /** Images they were taken from. */
  readonly images: number;
}

/** The chosen patches (rising positions in `labels`) of a set, chunk by chunk; images without a chosen patch are not embedded. */
export async function* samplePatches(
  list: DenseList,
  { labels, chosen }: { readonly labels: Int32Array; readonly chosen: Int32Array },
  options: SamplePatchesOptions,
): AsyncGenerator<LabelledPatches> {
  const { encoder, pool, imageSizePx, batchSize, skipBroken, signal, onProgress, onNotice } = options;
  const dim = encoder.dim("patch");
  const p = encoder.tokens("patch", imageSizePx);
  const byImage = Map.groupBy(chosen, (at) => Math.floor(at / p));
  const wanted = [...byImage.keys()];
  const chunk = Math.max(1, Math.floor(CHUNK_NUMBERS / (p * dim * batchSize))) * batchSize;
  for (let from = 0; from < wanted.length; from += chunk) {
    const part = wanted.slice(from, from + chunk);
    const images = makeList(part.flatMap((i) => list.images.entries[i] ?? []));
    const { features, rows, failed } = await extractFeatures(images, {
      encoder,
      pool,
      imageSizePx,
      pooling: "patch",
      batchSize,
      skipBroken,
      signal,
      onProgress: (event) => onProgress?.({ ...event, done: from + event.done, total: wanted.length }),
    });
    for (const { reason } of failed) onNotice?.(`Left out: ${reason}`);
    const found = Array.from(rows, (row, slot) => ({ slot, image: part[row] ?? 0 }));
    const places = found.flatMap(({ slot, image }) => (byImage.get(image) ?? []).map((at) => ({ at, token: slot * p + (at % p) })));
    const taken = new Float32Array(places.length * dim);
    places.forEach(({ token }, i) => taken.set(features.subarray(token * dim, (token + 1) * dim), i * dim));
    normalizeRows(taken, dim);
    yield { features: taken, labels: Int32Array.from(places, ({ at }) => labels[at] ?? 0), images: rows.length };
  }
}
