/** @file A graph on onnxruntime-web: stages run one after the other, so that equal blocks share a session and a run can be stopped between. */
import type { InferenceSession, Tensor } from "onnxruntime-web";
import { InternalError, PlatformError, type TypedArray } from "../../../core/index.ts";
import type { Graph, Value } from "../../ir/index.ts";
import { type LoweredStage, lowerStage } from "../../onnx/index.ts";
import { cut } from "../../passes/index.ts";
import { givenOrNew } from "../buffers.ts";
import type { CompileOptions, Program, RunOptions } from "../device.ts";
import { inTurn, type WebBackend } from "./ort-web.ts";
import type { SharedSession, WebSessions } from "./sessions.ts";
import type { WebTensors } from "./tensors.ts";

interface Step {
  readonly region: string;
  readonly lowered: LoweredStage;
  readonly shared: SharedSession;
  /** Values that no later step reads. */
  readonly done: readonly Value[];
}

export interface WebProgramOptions extends CompileOptions {
  readonly sessions: WebSessions;
  readonly tensors: WebTensors;
}

/** A program whose sessions open at the first run. */
export class WebProgram implements Program {
  readonly inputs: ReadonlyMap<string, TypedArray>;
  readonly outputs: ReadonlyMap<string, TypedArray>;
  /** onnxruntime-web owns what lies between stages. */
  readonly arenaBytes = 0;
  readonly stages: number;
  readonly sessions: number;
  readonly #graph: Graph;
  readonly #steps: readonly Step[];
  readonly #options: WebProgramOptions;
  #state: "ready" | "running" | "disposed" = "ready";

  constructor(graph: Graph, options: WebProgramOptions) {
    this.#graph = graph;
    this.#options = options;
    this.inputs = new Map(graph.inputs.map((i) => [i.name, givenOrNew(i, options.inputs)]));
    this.outputs = new Map(graph.outputs.map((o) => [o.name, givenOrNew(o, options.outputs)]));
    this.#steps = stepsOf(graph, options.sessions);
    this.stages = this.#steps.length;
    this.sessions = new Set(this.#steps.map((s) => s.shared)).size;
  }

  async run({ signal, onStage }: RunOptions = {}): Promise<void> {
    if (this.#state !== "ready")
      throw new InternalError(
        `Cannot run program: it is ${this.#state}; ${this.#state === "running" ? "await the run first" : "compile it again"}`,
      );
    this.#state = "running";
    const values = new Map<number, Tensor>();
    try {
      const { tensors, sessions } = this.#options;
      if (sessions.isOnGpu) await this.#openGpu();
      for (const { name, kind, value } of this.#graph.inputs)
        values.set(value.id, tensors.of(this.inputs.get(name)!, value, { isKept: kind !== "input" })); // every input has a buffer
      for (const [i, step] of this.#steps.entries()) {
        signal?.throwIfAborted();
        const session = await sessions.open(step.shared);
        await runStep(session, step, { values, backend: sessions.backend });
        onStage?.(step.region, i);
      }
      for (const { name, value } of this.#graph.outputs) await copyTo(this.outputs.get(name)!, values.get(value.id), name); // as above
    } finally {
      this.#options.tensors.freeUnkept(values.values());
      this.#state = "ready";
    }
  }

  /** A session first, for only that makes onnxruntime-web open the GPU. */
  async #openGpu(): Promise<void> {
    const [first] = this.#steps;
    if (first !== undefined) await this.#options.sessions.open(first.shared);
    await this.#options.tensors.useGpu();
  }

  [Symbol.dispose](): void {
    if (this.#state === "running") throw new InternalError("Cannot dispose program: it is running; await the run first");
    if (this.#state === "disposed") return;
    this.#state = "disposed";
    for (const { shared } of this.#steps) this.#options.sessions.release(shared);
  }
}

function stepsOf(graph: Graph, sessions: WebSessions): readonly Step[] {
  const stages = cut(graph);
  const lastUse = new Map<number, number>();
  for (const [i, stage] of stages.entries()) for (const v of stage.inputs) lastUse.set(v.id, i);
  const kept = new Set([...graph.inputs, ...graph.outputs].map((x) => x.value.id));
  return stages.map((stage, i) => {
    const lowered = lowerStage(stage.nodes, stage.outputs, { target: "ort-web" });
    const done = stage.inputs.filter((v) => lastUse.get(v.id) === i && !kept.has(v.id));
    return { region: stage.region, lowered, shared: sessions.take(lowered), done };
  });
}

interface Running {
  readonly values: Map<number, Tensor>;
  readonly backend: WebBackend;
}

/** Memory is what runs out: of a page's 4 GB, or of the GPU. */
function failed(cause: unknown, backend: WebBackend): PlatformError {
  const state = cause instanceof Error ? cause.message : String(cause);
  return new PlatformError(
    `Cannot run the network on ${backend}: onnxruntime-web failed (${state}); reload the page, and give smaller pictures or a smaller model`,
    { cause },
  );
}

async function runStep(session: InferenceSession, { lowered, done }: Step, { values, backend }: Running): Promise<void> {
  const feeds: Record<string, Tensor> = {};
  for (const [i, v] of lowered.inputs.entries()) feeds[lowered.inputNames[i] ?? ""] = need(values.get(v.id), v);
  const results = await inTurn(() => session.run(feeds)).catch((cause: unknown) => {
    throw failed(cause, backend);
  });
  for (const [i, v] of lowered.outputs.entries()) values.set(v.id, need(results[lowered.outputNames[i] ?? ""], v));
  for (const v of done) {
    values.get(v.id)?.dispose();
    values.delete(v.id);
  }
}

function need(tensor: Tensor | undefined, { id }: Value): Tensor {
  if (tensor === undefined) throw new InternalError(`Cannot run stage: %${id} has no value; verify the graph`);
  return tensor;
}

async function copyTo(target: TypedArray, from: Tensor | undefined, name: string): Promise<void> {
  const data = await from?.getData();
  if (data?.constructor !== target.constructor)
    throw new InternalError(`Cannot read output "${name}": it is ${String(from?.type)}, not of its own type; verify the graph`);
  (target as Float32Array).set(data as Float32Array); // the same class, as just compared
}
