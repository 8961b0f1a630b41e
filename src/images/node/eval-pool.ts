/** @file Batches of whole pictures for embedding: decoded, resized, normalised on worker threads, in the order asked for. */
import { ConfigError } from "../../core/index.ts";
import type { EvalCropConfig } from "../eval-crop.ts";
import { checkBandNumbers } from "../bands.ts";
import { IMAGENET_MEAN, IMAGENET_STD } from "../pixel-ops.ts";
import { DEFAULT_MAX_PIXELS, type AlphaPolicy, type DecodePolicy, type ImageRef } from "./decode.ts";
import { WorkerPool } from "./worker-pool.ts";

export interface EvalPoolOptions extends EvalCropConfig {
  readonly threads: number;
  readonly decode: DecodePolicy;
  readonly alpha: AlphaPolicy;
  /** One number a channel, as many as the pictures must have; with other than three they are read as bands (`loadBands`). Default: ImageNet's. */
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
  readonly maxPixels?: number;
}

/** Row i shows `refs[i]`; rows of broken pictures hold zeros and are listed. */
export interface EvalBatch {
  /** [b, c, S, S] float32 in shared memory. */
  readonly images: Float32Array;
  readonly failed: readonly { readonly index: number; readonly path: string; readonly reason: string }[];
}

export interface EvalPool {
  load(refs: readonly ImageRef[]): Promise<EvalBatch>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Opens workers that decode, resize and normalise. Throws ConfigError for a bad size or crop ratio, and unless mean and std are of as many channels. */
export function openEvalPool(options: EvalPoolOptions): EvalPool {
  const { threads, decode, alpha, mean = IMAGENET_MEAN, std = IMAGENET_STD, maxPixels = DEFAULT_MAX_PIXELS, ...crop } = options;
  const { imageSizePx, cropRatio = 1 } = crop;
  if (!Number.isInteger(imageSizePx) || imageSizePx < 1)
    throw new ConfigError(`Cannot load images: imageSizePx is ${imageSizePx}; give a whole number of at least 1`, {
      keyPath: "imageSizePx",
    });
  if (!(cropRatio > 0 && cropRatio <= 1))
    throw new ConfigError(`Cannot load images: cropRatio is ${cropRatio}; give a number above 0 and at most 1`, { keyPath: "cropRatio" });
  checkBandNumbers(mean, std);
  const workers = new WorkerPool(threads, { decode, alpha, maxPixels, cacheBytes: 0, render: { kind: "eval", crop, mean, std } });
  return {
    async load(refs) {
      const images = new Float32Array(new SharedArrayBuffer(refs.length * mean.length * imageSizePx ** 2 * 4));
      const items = refs.map((ref, slot) => ({ ref, slot }));
      const bad = await workers.run(items, { epoch: 0, cropsIndex: 0, batch: refs.length, first: images, second: new Float32Array(0) });
      return { images, failed: bad.map(({ item, reason }) => ({ index: item.slot, path: item.ref.path, reason })) };
    },
    [Symbol.asyncDispose]: () => workers[Symbol.asyncDispose](),
  };
}
