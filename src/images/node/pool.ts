/** @file Batches of DINO crops from image files, made on worker threads; the same whatever the number of threads. */
import { ConfigError, FormatError } from "../../core/index.ts";
import { checkBandNumbers } from "../bands.ts";
import { cropSizes, type AugmentConfig, type CropsConfig } from "../crops.ts";
import { DEFAULT_MAX_PIXELS, type AlphaPolicy, type DecodePolicy, type ImageRef } from "./decode.ts";
import type { FailedItem, Item } from "./pool-protocol.ts";
import { WorkerPool } from "./worker-pool.ts";

/** A picture that could not be read, and why. */
export interface FailedImage {
  readonly path: string;
  readonly reason: string;
}

/** Float32 CHW crops in shared memory, crop-major: row = crop * b + image. */
export interface CropBatch {
  /** [2 * b, c, G, G]; c as many as the augmentation has means */
  readonly globals: Float32Array;
  /** [L * b, c, l, l] */
  readonly locals: Float32Array;
  /** [2 * b, c, S, S]: the globals' parts of the pictures for a Gram teacher, where the crops ask for them. */
  readonly gramCrops?: Float32Array;
  /** Which of the pool's variants the sizes are of; its own crops where absent. */
  readonly variant?: number;
  /** Which picture each row shows; a replaced one has its replacement's id. */
  readonly sampleIds: Int32Array;
  readonly failed: readonly FailedImage[];
}

export interface CropPoolOptions {
  readonly threads: number;
  readonly seed: number;
  readonly crops: CropsConfig;
  /** Other sizes, of which each call may take one. */
  readonly variants?: readonly CropsConfig[];
  readonly augment: AugmentConfig;
  readonly decode: DecodePolicy;
  readonly alpha: AlphaPolicy;
  /** Memory for small decoded pictures, of all workers together. Default 256 MB. */
  readonly cacheBytes?: number;
  readonly maxPixels?: number;
}

/** When crops are made: views depend on the epoch; `variant` is a place in the pool's variants. */
export interface CropMoment {
  readonly epoch: number;
  readonly variant?: number | undefined;
}

export type ReplaceImage = (failed: ImageRef) => ImageRef | undefined;

export interface CropPool {
  /**
   * All crops of the pictures. A broken picture is replaced by what `replace` gives, as often as needed, and reported in `failed`;
   * without a replacement its FormatError is thrown. Calls may overlap; each gets a batch of its own.
   */
  crop(refs: readonly ImageRef[], when: CropMoment, replace?: ReplaceImage): Promise<CropBatch>;
  /** Gives a batch's memory back for a later `crop`; the caller must not read it any more. Optional. */
  recycle(batch: CropBatch): void;
  [Symbol.asyncDispose](): Promise<void>;
}

/** No data set has this many broken pictures in a row; a `replace` that never ends would otherwise hang the run. */
const MAX_REPLACEMENTS = 1000;

/** A float array that every thread sees. */
function sharedFloats(length: number): Float32Array {
  return new Float32Array(new SharedArrayBuffer(length * 4));
}

/**
 * Opens workers that decode and crop. A view depends on (seed, epoch, sampleId, view) only.
 * Pictures have as many channels as `augment` has means; other than three are read as bands (`loadBands`). Throws ConfigError for sizes that
 * are not whole numbers of at least 1, and unless mean and std are of as many channels.
 */
export function openCropPool(options: CropPoolOptions): CropPool {
  const { threads, seed, crops, variants = [], augment, decode, alpha, cacheBytes = 256e6, maxPixels = DEFAULT_MAX_PIXELS } = options;
  for (const sizes of [crops, ...variants]) checkCrops(sizes);
  checkBandNumbers(augment.mean, augment.std);
  const workers = new WorkerPool(threads, {
    decode,
    alpha,
    cacheBytes,
    maxPixels,
    render: { kind: "crop", seed, crops: [crops, ...variants], augment },
  });
  const free: Float32Array[] = [];
  const take = (length: number): Float32Array => {
    const at = free.findIndex((a) => a.length === length);
    return at < 0 ? sharedFloats(length) : (free.splice(at, 1)[0] ?? sharedFloats(length));
  };
  return {
    async crop(refs, { epoch, variant }, replace) {
      const batch = refs.length;
      const cropsIndex = variant === undefined ? 0 : variant + 1;
      const own = [crops, ...variants][cropsIndex];
      if (own === undefined)
        throw new RangeError(`Cannot make crops of variant ${variant}: the pool has ${variants.length}; open it with more`);
      const sizes = cropSizes(own, augment.mean.length);
      const globals = take(2 * batch * sizes.global);
      const locals = take(own.localCount * batch * sizes.local);
      const gramCrops = sizes.gram > 0 ? { gramCrops: take(2 * batch * sizes.gram) } : {};
      const third = gramCrops.gramCrops === undefined ? {} : { third: gramCrops.gramCrops };
      const sampleIds = Int32Array.from(refs, (r) => r.sampleId);
      const failed: FailedImage[] = [];
      let items: readonly Item[] = refs.map((ref, slot) => ({ ref, slot }));
      while (items.length > 0) {
        const bad = await workers.run(items, { epoch, cropsIndex, batch, first: globals, second: locals, ...third });
        failed.push(...bad.map(({ item, reason }) => ({ path: item.ref.path, reason })));
        items = bad.map((b) => replacement(b, replace, failed.length));
        for (const { ref, slot } of items) sampleIds[slot] = ref.sampleId;
      }
      return { globals, locals, ...gramCrops, ...(variant === undefined ? {} : { variant }), sampleIds, failed };
    },
    recycle({ globals, locals, gramCrops }) {
      if (free.length < 16) free.push(globals, locals, ...(gramCrops === undefined ? [] : [gramCrops]));
    },
    [Symbol.asyncDispose]: () => workers[Symbol.asyncDispose](),
  };
}

function replacement({ item, reason }: FailedItem, replace: ReplaceImage | undefined, failures: number): Item {
  const ref = failures > MAX_REPLACEMENTS ? undefined : replace?.(item.ref);
  if (ref === undefined) throw new FormatError(reason, { file: item.ref.path });
  return { ref, slot: item.slot };
}

function checkCrops(crops: CropsConfig): void {
  for (const key of ["globalSizePx", "localSizePx"] as const)
    if (!Number.isInteger(crops[key]) || crops[key] < 1)
      throw new ConfigError(`Cannot make crops: ${key} is ${crops[key]}; give a whole number of at least 1`, { keyPath: `crops.${key}` });
  if (crops.gramSizePx !== undefined && (!Number.isInteger(crops.gramSizePx) || crops.gramSizePx < 0))
    throw new ConfigError(`Cannot make crops: gramSizePx is ${crops.gramSizePx}; give a whole number of at least 0`, {
      keyPath: "crops.gramSizePx",
    });
  if (!Number.isInteger(crops.localCount) || crops.localCount < 0)
    throw new ConfigError(`Cannot make crops: localCount is ${crops.localCount}; give a whole number of at least 0`, {
      keyPath: "crops.localCount",
    });
}
