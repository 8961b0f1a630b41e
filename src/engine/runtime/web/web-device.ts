/** @file The browser's device: a graph as sessions of onnxruntime-web. */
import type { Graph } from "../../ir/index.ts";
import type { CompileOptions, Device, Program } from "../device.ts";
import { loadOrtWeb, type OrtWebOptions, type WebBackend } from "./ort-web.ts";
import { WebSessions } from "./sessions.ts";
import { WebTensors } from "./tensors.ts";
import { WebProgram } from "./web-program.ts";

/** A device of a page. Programs end before it. */
export class WebDevice implements Device {
  readonly name: WebBackend;
  readonly threads: number;
  readonly #sessions: WebSessions;
  readonly #tensors: WebTensors;

  constructor(parts: {
    readonly name: WebBackend;
    readonly threads: number;
    readonly sessions: WebSessions;
    readonly tensors: WebTensors;
  }) {
    this.name = parts.name;
    this.threads = parts.threads;
    this.#sessions = parts.sessions;
    this.#tensors = parts.tensors;
  }

  compile(graph: Graph, options: CompileOptions = {}): Program {
    return new WebProgram(graph, { ...options, sessions: this.#sessions, tensors: this.#tensors });
  }

  /** Forgets the tensors made of weights; sessions end with their programs. */
  [Symbol.dispose](): void {
    this.#tensors[Symbol.dispose]();
  }
}

/** Opens the browser's device. Throws PlatformError where onnxruntime-web does not load. */
export async function openWeb(options: OrtWebOptions): Promise<WebDevice> {
  const ort = await loadOrtWeb(options);
  const { numThreads = 1 } = ort.env.wasm;
  return new WebDevice({
    name: options.backend,
    threads: numThreads,
    sessions: new WebSessions(ort, options.backend),
    tensors: new WebTensors(ort),
  });
}
