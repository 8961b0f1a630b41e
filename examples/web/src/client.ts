/** @file The page's side of the worker: calls that can be stopped. */
import type { Progress } from "tricera/web";
import type { Argument, FromWorker, Method, Result, ToWorker } from "./protocol.ts";

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Thrown by a call that was stopped. */
export class Stopped extends Error {}

export class Client {
  readonly #worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;

  constructor(onProgress: (progress: Progress) => void) {
    this.#worker.addEventListener("message", ({ data }: MessageEvent<FromWorker>) => {
      if (data.kind === "progress") return onProgress(data.progress);
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.kind === "result") waiting?.resolve(data.value);
      else waiting?.reject(data.isAbort ? new Stopped(data.message) : new Error(data.message));
    });
    this.#worker.addEventListener("error", ({ message }) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`Cannot work: the worker failed (${message}); reload the page`));
      this.#waiting.clear();
    });
  }

  call<M extends Method>(method: M, argument: Argument<M>, signal?: AbortSignal): Promise<Result<M>> {
    const id = this.#next++;
    const result = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#worker.postMessage({ kind: "call", id, method, argument });
    signal?.addEventListener("abort", () => this.#worker.postMessage({ kind: "abort", id } satisfies ToWorker), { once: true });
    return result as Promise<Result<M>>;
  }
}
