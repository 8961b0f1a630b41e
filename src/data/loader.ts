/** @file Feeds training with batches of crops, ahead of the step; the batch of a step is a function of seed and step alone. */
import { ConfigError, FormatError, Rng } from "../core/index.ts";
import type { CropBatch, CropPool, FailedImage, ImageRef } from "../images/node/index.ts";
import { type DataEntry, type DataList, entryName } from "./entry.ts";

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
  /** Which of the pool's variants a step takes; its own crops by default. */
  readonly variantOf?: ((step: number) => number | undefined) | undefined;
  /** False: a broken picture stops the run. */
  readonly skipBroken?: boolean;
  readonly onFailed?: ((failed: FailedImage) => void) | undefined;
}

/** A picture as the pools want it. */
export function imageRef(list: DataList, sampleId: number): ImageRef {
  const entry = list.entries[sampleId];
  if (entry === undefined)
    throw new RangeError(`Cannot take sample ${sampleId}: the list has ${list.entries.length} images; give a smaller id`);
  const { path, offset, bytes } = entry;
  return { sampleId, path, ...(offset === undefined ? {} : { offset, bytes }) };
}

/** A broken picture under its entry's name: pools know a member of a tar file by the tar file's path only. */
export function nameFailure(entry: DataEntry, { path, reason }: FailedImage): FailedImage {
  const name = entryName(entry);
  return name === path ? { path, reason } : { path: name, reason: reason.replace(`"${path}"`, `"${name}"`) };
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
 * is taken by the next one of the order that is not in the batch, so a step has the same pictures in every run over the same files.
 */
export class Loader implements AsyncDisposable {
  readonly stepsPerEpoch: number;
  /** Time `next()` waited for pictures, in ms. */
  waitedMs = 0;
  readonly #options: Required<Omit<LoaderOptions, "onFailed" | "variantOf">> & Pick<LoaderOptions, "onFailed" | "variantOf">;
  readonly #failed = new Map<string, FailedImage>();
  readonly #queue: Pending[] = [];
  #nextStep: number;
  #order: { epoch: number; samples: Int32Array } | undefined;

  constructor(options: LoaderOptions) {
    const images = options.list.entries.length;
    const { batchSize } = options;
    if (!Number.isInteger(batchSize) || batchSize < 1)
      throw new ConfigError(`Cannot load batches of ${batchSize}: it is no whole number of at least 1; set train.batchSize`, {
        keyPath: "train.batchSize",
      });
    if (batchSize > images)
      throw new ConfigError(
        `Cannot load batches of ${batchSize}: there are ${images} images; set train.batchSize (times train.accumulate) to ${images} or less`,
        { keyPath: "train.batchSize" },
      );
    this.#options = { startStep: 0, endStep: Infinity, ahead: 2, skipBroken: true, ...options };
    this.stepsPerEpoch = Math.floor(images / batchSize);
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
    const from = this.#startOf(step);
    return this.#orderOf(step).subarray(from, from + this.#options.batchSize);
  }

  #startOf(step: number): number {
    return (step % this.stepsPerEpoch) * this.#options.batchSize;
  }

  #orderOf(step: number): Int32Array {
    const { list, seed } = this.#options;
    const epoch = this.epochOf(step);
    if (this.#order?.epoch !== epoch) this.#order = { epoch, samples: epochOrder(list.entries.length, { seed, epoch }) };
    return this.#order.samples;
  }

  /** The crops of one step. */
  async load(step: number): Promise<CropBatch> {
    const { list, pool, skipBroken, variantOf } = this.#options;
    const samples = this.samplesOf(step);
    const refs = Array.from(samples, (id) => imageRef(list, id));
    const substitutes = new Substitutes(list, { order: this.#orderOf(step), from: this.#startOf(step), batch: samples });
    const asked: number[] = []; // the pool asks in the order in which it reports
    const batch = await pool
      .crop(refs, { epoch: this.epochOf(step), variant: variantOf?.(step) }, ({ sampleId }) => {
        asked.push(sampleId);
        return skipBroken ? imageRef(list, substitutes.next(sampleId)) : undefined;
      })
      .catch((error: unknown) => {
        throw error instanceof FormatError ? named(error, list.entries[asked.at(-1) ?? -1]) : error;
      });
    const failed = batch.failed.map((f, i) => nameFailure(list.entries[asked[i] ?? -1] ?? { path: f.path, bytes: 0, mtimeMs: 0 }, f));
    for (const f of failed) this.#tell(f);
    return { ...batch, failed };
  }

  #tell(failed: FailedImage): void {
    if (this.#failed.has(failed.path)) return;
    this.#failed.set(failed.path, failed);
    this.#options.onFailed?.(failed);
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
    if (first === undefined) throw new RangeError("Cannot load a batch: the run's last step is done; open a loader for more");
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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain();
  }
}

/** A batch and where it begins in its epoch's order. */
interface BatchPlace {
  readonly order: Int32Array;
  readonly from: number;
  readonly batch: Int32Array;
}

/** Which pictures take the places of broken ones in one batch. */
class Substitutes {
  readonly #list: DataList;
  readonly #batch: Int32Array;
  readonly #broken = new Set<number>();
  /** Not in the batch, from its end on, around the epoch. */
  readonly #fresh: Iterator<number>;
  #turn = 0;

  constructor(list: DataList, place: BatchPlace) {
    this.#list = list;
    this.#batch = place.batch;
    this.#fresh = freshOnes(place);
  }

  /** The next fresh one; when there is none left, good ones of the batch again. */
  next(broken: number): number {
    this.#broken.add(broken);
    const fresh = this.#fresh.next();
    if (fresh.done !== true) return fresh.value;
    const good = [...this.#batch].filter((id) => !this.#broken.has(id));
    const again = good[this.#turn++ % Math.max(1, good.length)];
    if (again !== undefined) return again;
    const path = this.#list.entries[broken]?.path ?? "";
    throw new FormatError(`Cannot load images: of ${this.#list.entries.length} too few can be read; see the first: "${path}"`, {
      file: path,
    });
  }
}

function* freshOnes({ order, from, batch }: BatchPlace): Generator<number, undefined> {
  for (let i = batch.length; i < order.length; i++) yield order[(from + i) % order.length] ?? 0;
  return undefined;
}

function named(error: FormatError, entry: DataEntry | undefined): FormatError {
  if (entry === undefined || error.file !== entry.path) return error;
  const { path, reason } = nameFailure(entry, { path: error.file, reason: error.message });
  return new FormatError(reason, { file: path, cause: error });
}
