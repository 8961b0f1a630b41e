/** @file The browser's device: a graph as sessions of onnxruntime-web. */
import type { Graph } from "../../ir/index.ts";
import { add, Builder } from "../../trace/index.ts";
import type { CompileOptions, Device, Program } from "../device.ts";
import { checkHost } from "./host.ts";
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
  #started: Program | undefined;

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

  /**
   * Runs something small, for only then onnxruntime-web fetches its WebAssembly and opens the GPU; kept, because the GPU is closed with the
   * last session, and buffers of weights with it.
   */
  async start(): Promise<void> {
    this.#started = this.compile(smallest());
    await this.#started.run();
  }

  /** Forgets the tensors made of weights; sessions end with their programs. */
  [Symbol.dispose](): void {
    this.#started?.[Symbol.dispose]();
    this.#tensors[Symbol.dispose]();
  }
}

/** A graph of one sum, the smallest there is. */
function smallest(): Graph {
  const b = new Builder();
  b.output("y", add(b.input("x", [1]), 1));
  return b.graph();
}

/**
 * Opens and starts the browser's device. Throws PlatformError where the browser cannot run it, where onnxruntime-web does not load, or
 * its `.wasm` file does not.
 */
export async function openWeb(options: OrtWebOptions): Promise<WebDevice> {
  checkHost();
  const ort = await loadOrtWeb(options);
  const { numThreads = 1 } = ort.env.wasm;
  const device = new WebDevice({
    name: options.backend,
    threads: numThreads,
    sessions: new WebSessions(ort, options.backend),
    tensors: new WebTensors(ort),
  });
  await device.start();
  return device;
}
