/** @file Spreads pictures over worker threads: each picture has a home worker (its cache), idle workers take from the busiest. */
import { Worker } from "node:worker_threads";
import { ConfigError, InternalError, PlatformError } from "../../core/index.ts";
import type { BatchTarget, Chunk, ChunkDone, FailedItem, Item, WorkerSetup } from "./pool-protocol.ts";

/** The worker's file beside this one: TypeScript from sources, JavaScript when built. */
const WORKER_URL = new URL(`./pool-worker${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);

/** Two chunks in a worker's hands: it never waits for the next one. */
const IN_FLIGHT = 2;
const MAX_CHUNK = 16;

interface Job {
  readonly failed: FailedItem[];
  left: number;
  readonly done: (failed: readonly FailedItem[]) => void;
  readonly reject: (error: Error) => void;
}

interface Seat {
  readonly worker: Worker;
  readonly waiting: Chunk[];
  inFlight: number;
}

export class WorkerPool {
  readonly #seats: readonly Seat[];
  readonly #jobs = new Map<number, Job>();
  #nextId = 0;
  #closed: Error | undefined;

  constructor(threads: number, setup: WorkerSetup) {
    if (!Number.isInteger(threads) || threads < 1)
      throw new ConfigError(`Cannot open image pool: threads is ${threads}; give a whole number of at least 1`, { keyPath: "threads" });
    const workerData: WorkerSetup = { ...setup, cacheBytes: Math.floor(setup.cacheBytes / threads) };
    this.#seats = Array.from({ length: threads }, () => this.#seat(workerData));
  }

  #seat(workerData: WorkerSetup): Seat {
    const worker = new Worker(WORKER_URL, { workerData });
    const seat: Seat = { worker, waiting: [], inFlight: 0 };
    worker.unref(); // an idle pool keeps no process alive
    worker.on("message", (done: ChunkDone) => this.#finish(seat, done));
    worker.on("error", (cause) =>
      this.#fail(new InternalError(`Cannot go on: an image worker stopped (${String(cause)}); report this`, { cause })),
    );
    worker.on("exit", (code) => this.#fail(new InternalError(`Cannot go on: an image worker left with code ${code}; report this`)));
    return seat;
  }

  /** Renders every item into the target; gives those whose picture is broken. Rejects when the pool is closed or a worker dies. */
  run(items: readonly Item[], target: BatchTarget): Promise<readonly FailedItem[]> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (items.length === 0) return Promise.resolve([]);
    return new Promise((done, reject) => {
      const job: Job = { failed: [], left: 0, done, reject };
      const size = Math.min(MAX_CHUNK, Math.max(1, Math.ceil(items.length / (this.#seats.length * 4))));
      for (const [home, seat] of this.#seats.entries()) {
        const mine = items.filter(({ ref }) => ref.sampleId % this.#seats.length === home);
        for (let i = 0; i < mine.length; i += size) {
          const id = this.#nextId++;
          seat.waiting.push({ id, items: mine.slice(i, i + size), target });
          this.#jobs.set(id, job);
          job.left++;
        }
      }
      for (const seat of this.#seats) {
        seat.worker.ref();
        this.#feed(seat);
      }
    });
  }

  #feed(seat: Seat): void {
    while (seat.inFlight < IN_FLIGHT) {
      const busiest = this.#seats.reduce((a, b) => (b.waiting.length > a.waiting.length ? b : a));
      const chunk = seat.waiting.shift() ?? busiest.waiting.pop();
      if (chunk === undefined) return;
      seat.inFlight++;
      seat.worker.postMessage(chunk);
    }
  }

  #finish(seat: Seat, { id, failed, fatal }: ChunkDone): void {
    if (fatal !== undefined)
      return this.#fail(fatal.name === "PlatformError" ? new PlatformError(fatal.message) : new InternalError(fatal.message));
    seat.inFlight--;
    this.#feed(seat);
    const job = this.#jobs.get(id);
    if (job === undefined) return;
    this.#jobs.delete(id);
    job.failed.push(...failed);
    if (--job.left === 0) job.done(job.failed.toSorted((a, b) => a.item.slot - b.item.slot));
    if (this.#jobs.size === 0) for (const { worker } of this.#seats) worker.unref();
  }

  #fail(error: Error): void {
    if (this.#closed !== undefined) return;
    this.#closed = error;
    for (const job of new Set(this.#jobs.values())) job.reject(error);
    this.#jobs.clear();
    for (const { worker } of this.#seats) void worker.terminate();
  }

  /** Stops the workers; jobs under way reject. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#fail(new InternalError("Cannot crop images: the pool is closed; open a new one"));
    await Promise.all(this.#seats.map(({ worker }) => worker.terminate()));
  }
}
