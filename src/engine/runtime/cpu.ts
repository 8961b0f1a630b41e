/** @file The CPU device: graphs as ONNX Runtime sessions over buffers of ours, shared where stages are equal. */
import type { Graph } from "../ir/index.ts";
import { CpuProgram } from "./cpu-program.ts";
import type { CompileOptions, Device, Program } from "./device.ts";
import { type OrtEnv, openOrt } from "./ort/index.ts";
import { SessionCache } from "./session-cache.ts";

class CpuDevice implements Device {
  readonly name = "cpu";
  readonly threads: number;
  readonly #env: OrtEnv;
  readonly #cache: SessionCache;
  constructor(env: OrtEnv) {
    this.#env = env;
    this.threads = env.threads;
    this.#cache = new SessionCache(env);
  }
  /** The environment, for k-NN's block products. */
  get env(): OrtEnv {
    return this.#env;
  }
  compile(graph: Graph, options: CompileOptions = {}): Program {
    return new CpuProgram(graph, { ...options, env: this.#env, cache: this.#cache });
  }
  [Symbol.dispose](): void {
    this.#cache[Symbol.dispose]();
    this.#env[Symbol.dispose]();
  }
}

export interface CpuOptions {
  /** Threads of ONNX Runtime's one pool; every core by default. */
  readonly threads?: number;
}

/** Opens the CPU device. One thread count per process at a time. Throws PlatformError where ONNX Runtime is missing. */
export function openCpu({ threads }: CpuOptions = {}): Device & { readonly env: OrtEnv } {
  return new CpuDevice(openOrt(threads === undefined ? {} : { threads }));
}
