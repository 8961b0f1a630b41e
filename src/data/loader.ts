/** @file Feeds training with batches of crops, ahead of the step; the batch of a step is a function of seed and step alone. */
import { ConfigError, FormatError, Rng } from "../core/index.ts";
import type { CropBatch, CropPool, FailedImage, ImageRef } from "../images/node/index.ts";
import type { DataList } from "./entry.ts";

export interface LoaderOptions {
  readonly list: DataList;
  readonly pool: Pick<CropPool, "crop" | "recycle">;
  readonly seed: number;
  readonly batchSize: number;
  /** Finished steps. */
  readonly startStep?: number;
  /** The last step; nothing is loaded beyond it. */
  readonly endStep?: number;
  /** Batches made ahead. */
  readonly ahead?: number;
  /** False: a broken picture stops the run. */
  readonly skipBroken?: boolean;
  readonly onFailed?: ((failed: FailedImage) => void) | undefined;
}

/** A picture as the pools want it. */
export function imageRef(list: DataList, sampleId: number): ImageRef {
  const entry = list.entries[sampleId];
  if (entry === undefined) throw new RangeError(`Cannot take sample ${sampleId}: the list has ${list.entries.length} images`);
  const { path, offset, bytes } = entry;
  return { sampleId, path, ...(offset === undefined ? {} : { offset, bytes }) };
}

/** The order of an epoch: a permutation that depends on seed and epoch. */
export function epochOrder(images: number, { seed, epoch }: { readonly seed: number; readonly epoch: number }): Int32Array {
  return new Rng(seed).split(`order/${epoch}`).permutation(images);
}

interface Pending {
  readonly batch: Promise<CropBatch>;
}

/**
 * Batches in order. An epoch is every image once in a drawn order; what does not fill a last batch is left out. A broken picture's place
 * is taken by the one that follows it in the list, so a step has the same pictures in every run over the same files.
 */
export class Loader {
  readonly stepsPerEpoch: number;
  /** Time `next()` waited for pictures, in ms. */
  waitedMs = 0;
  readonly #options: Required<Omit<LoaderOptions, "onFailed">> & Pick<LoaderOptions, "onFailed">;
  readonly #failed = new Map<string, FailedImage>();
  readonly #queue: Pending[] = [];
  #nextStep: number;
  #order: { epoch: number; samples: Int32Array } | undefined;

  constructor(options: LoaderOptions) {
    const images = options.list.entries.length;
    if (options.batchSize > images)
      throw new ConfigError(
        `Cannot load batches of ${options.batchSize}: there are ${images} images; set train.batchSize (times train.accumulate) to ${images} or less`,
        { keyPath: "train.batchSize" },
      );
    this.#options = { startStep: 0, endStep: Infinity, ahead: 2, skipBroken: true, ...options };
    this.stepsPerEpoch = Math.floor(images / options.batchSize);
    this.#nextStep = this.#options.startStep;
  }

  /** Pictures that could not be read so far. */
  get failed(): readonly FailedImage[] {
    return [...this.#failed.values()];
  }

  epochOf(step: number): number {
    return Math.floor(step / this.stepsPerEpoch);
  }

  /** Samples of a step (steps count from 0), before broken ones are replaced. */
  samplesOf(step: number): Int32Array {
    const { list, seed, batchSize } = this.#options;
    const epoch = this.epochOf(step);
    if (this.#order?.epoch !== epoch) this.#order = { epoch, samples: epochOrder(list.entries.length, { seed, epoch }) };
    const from = (step % this.stepsPerEpoch) * batchSize;
    return this.#order.samples.subarray(from, from + batchSize);
  }

  /** The crops of one step. */
  load(step: number): Promise<CropBatch> {
    const { list, pool, skipBroken, onFailed } = this.#options;
    const refs = Array.from(this.samplesOf(step), (id) => imageRef(list, id));
    const chains = new Map<number, number>();
    return pool
      .crop(refs, this.epochOf(step), (bad) => {
        if (!skipBroken) return undefined;
        const tried = (chains.get(bad.sampleId) ?? 0) + 1;
        const next = (bad.sampleId + 1) % list.entries.length;
        chains.set(next, tried);
        if (tried >= list.entries.length)
          throw new FormatError(`Cannot load images: none of the ${list.entries.length} can be read; see the first: "${bad.path}"`, {
            file: bad.path,
          });
        return imageRef(list, next);
      })
      .then((batch) => {
        for (const failed of batch.failed) {
          if (this.#failed.has(failed.reason)) continue;
          this.#failed.set(failed.reason, failed);
          onFailed?.(failed);
        }
        return batch;
      });
  }

  #fill(): void {
    const { ahead, endStep } = this.#options;
    while (this.#queue.length < Math.max(1, ahead) && this.#nextStep < endStep) {
      const batch = this.load(this.#nextStep++);
      batch.catch(() => undefined); // whoever takes it sees the error
      this.#queue.push({ batch });
    }
  }

  /** The next batch; give it back with `recycle` after its step. */
  async next(): Promise<CropBatch> {
    this.#fill();
    const first = this.#queue.shift();
    if (first === undefined) throw new RangeError("Cannot load a batch: the run's last step is done");
    this.#fill();
    const start = performance.now();
    const batch = await first.batch;
    this.waitedMs += performance.now() - start;
    return batch;
  }

  recycle(batch: CropBatch): void {
    this.#options.pool.recycle(batch);
  }

  /** Waits for batches under way, so that the pool can be closed. */
  async drain(): Promise<void> {
    await Promise.allSettled(this.#queue.splice(0).map(({ batch }) => batch));
  }
}
