/** @file The threads of the fused optimizer and the waiting for them. */
import { Worker } from "node:worker_threads";
import { InternalError, PlatformError } from "../../core/index.ts";
import type { JobSetup, PhaseRequest } from "./phases.ts";

/** Beside this file: TypeScript when run from sources, JavaScript when built. */
const WORKER_URL = new URL(import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js", import.meta.url);

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Worker threads that run a phase together. They do not keep the process alive while idle. */
export class Crew {
  readonly #workers: readonly Worker[];
  readonly #waiting: Map<Worker, Waiting> = new Map();
  #failure: Error | undefined;

  constructor(setup: JobSetup, options: { readonly threads: number; readonly scalarsPerParam: number }) {
    const { threads, scalarsPerParam } = options;
    this.#workers = Array.from({ length: threads }, () => {
      const worker = new Worker(WORKER_URL, { workerData: { setup, scalarsPerParam }, execArgv: [], name: "tricera-optimizer" });
      worker.on("message", () => this.#settle(worker));
      worker.on("error", (cause) => this.#fail(cause));
      worker.on("exit", () => this.#fail(undefined));
      worker.unref();
      return worker;
    });
  }

  /** Runs one phase on all threads; resolves when the last is done. Rejects when a thread has died. */
  async run(request: PhaseRequest): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    await Promise.all(
      this.#workers.map((worker) => {
        const done = new Promise<void>((resolve, reject) => this.#waiting.set(worker, { resolve, reject }));
        worker.ref();
        worker.postMessage(request);
        return done;
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#failure = new InternalError("Cannot step: the optimizer is closed; open a new one");
    await Promise.all(
      this.#workers.map((worker) => {
        worker.ref(); // an idle thread would let the process end before it is closed
        return worker.terminate();
      }),
    );
  }

  #settle(worker: Worker): void {
    worker.unref();
    this.#waiting.get(worker)?.resolve();
    this.#waiting.delete(worker);
  }

  #fail(cause: unknown): void {
    this.#failure ??= new PlatformError("Cannot step: an optimizer thread has died; resume from the last checkpoint", { cause });
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
  }
}
