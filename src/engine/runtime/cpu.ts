/** @file The CPU device: stages of a graph as ONNX Runtime sessions over buffers of ours, shared where stages are equal. */
import { createHash } from "node:crypto";
import { type DType, DTYPE_BYTES, formatType, InternalError, sizeOf, type TypedArray } from "../../core/index.ts";
import { type Graph, type GraphInput, type GraphOutput, type Value } from "../ir/index.ts";
import { lowerStage } from "../onnx/index.ts";
import { cut, planArena, type Stage } from "../passes/index.ts";
import type { CompileOptions, Device, Program, RunOptions } from "./device.ts";
import { type OrtEnv, openOrt, type OrtRun, type OrtSession, type OrtTensor } from "./ort/index.ts";

/** An array of a dtype over part of a buffer. */
function viewOf(dtype: DType, buffer: ArrayBufferLike, range: { readonly offset: number; readonly length: number }): TypedArray {
  const { offset, length } = range;
  const make = {
    f32: () => new Float32Array(buffer, offset, length),
    f64: () => new Float64Array(buffer, offset, length),
    bf16: () => new Uint16Array(buffer, offset, length),
    i32: () => new Int32Array(buffer, offset, length),
    i64: () => new BigInt64Array(buffer, offset, length),
    bool: () => new Uint8Array(buffer, offset, length),
    u8: () => new Uint8Array(buffer, offset, length),
  };
  return make[dtype]();
}

function allocate(value: Value): TypedArray {
  const length = sizeOf(value.shape);
  return viewOf(value.dtype, new ArrayBuffer(Math.max(64, length * DTYPE_BYTES[value.dtype])), { offset: 0, length });
}

function givenOrNew(item: GraphInput | GraphOutput, given: ReadonlyMap<string, TypedArray> | undefined): TypedArray {
  const view = given?.get(item.name);
  if (view === undefined) return allocate(item.value);
  if (view.length !== sizeOf(item.value.shape))
    throw new InternalError(
      `Cannot compile: "${item.name}" is ${formatType(item.value.dtype, item.value.shape)}, its buffer has ${view.length} values`,
    );
  return view;
}

class SessionCache implements Disposable {
  readonly #env: OrtEnv;
  readonly #sessions = new Map<string, OrtSession>();
  constructor(env: OrtEnv) {
    this.#env = env;
  }
  get(bytes: Uint8Array, names: { inputs: readonly string[]; outputs: readonly string[] }): OrtSession {
    const key = createHash("sha1").update(bytes).digest("hex");
    let session = this.#sessions.get(key);
    if (session === undefined) {
      session = this.#env.session(bytes, names);
      this.#sessions.set(key, session);
    }
    return session;
  }
  [Symbol.dispose](): void {
    for (const s of this.#sessions.values()) s[Symbol.dispose]();
    this.#sessions.clear();
  }
}

class CpuProgram implements Program {
  readonly inputs: ReadonlyMap<string, TypedArray>;
  readonly outputs: ReadonlyMap<string, TypedArray>;
  readonly arenaBytes: number;
  readonly stages: number;
  readonly sessions: number;
  readonly #runs: readonly { readonly region: string; readonly run: OrtRun }[];
  readonly #tensors: readonly OrtTensor[];

  constructor(graph: Graph, options: CompileOptions & { readonly env: OrtEnv; readonly cache: SessionCache }) {
    const { env, cache } = options;
    this.inputs = new Map(graph.inputs.map((i) => [i.name, givenOrNew(i, options.inputs)]));
    this.outputs = new Map(graph.outputs.map((o) => [o.name, givenOrNew(o, options.outputs)]));
    const stages = cut(graph);
    const { tensors, plan } = this.#place(graph, { stages, env });
    const used = new Set<OrtSession>();
    this.#runs = [...stages.map((s) => s), ...passThrough(graph, stages)].map((stage) => {
      const lowered = lowerStage(stage.nodes, stage.outputs);
      const session = cache.get(lowered.bytes, { inputs: lowered.inputNames, outputs: lowered.outputNames });
      used.add(session);
      const tensor = (v: Value, to: "read" | "write"): OrtTensor => {
        const t = (to === "write" ? tensors.written.get(v.id) : undefined) ?? tensors.read.get(v.id);
        if (t === undefined) throw new InternalError(`Cannot compile stage "${stage.region}": %${v.id} has no memory`);
        return t;
      };
      return {
        region: stage.region,
        run: session.bind(
          lowered.inputs.map((v) => tensor(v, "read")),
          lowered.outputs.map((v) => tensor(v, "write")),
        ),
      };
    });
    this.#tensors = [...new Set([...tensors.read.values(), ...tensors.written.values()])];
    this.arenaBytes = plan;
    this.stages = this.#runs.length;
    this.sessions = used.size;
  }

  /** Gives every value its memory: named inputs and outputs their own, the rest a place in the arena. */
  #place(
    graph: Graph,
    { stages, env }: { readonly stages: readonly Stage[]; readonly env: OrtEnv },
  ): { readonly tensors: { readonly read: Map<number, OrtTensor>; readonly written: Map<number, OrtTensor> }; readonly plan: number } {
    const [read, written] = [new Map<number, OrtTensor>(), new Map<number, OrtTensor>()];
    const tensor = (v: Value, data: TypedArray): OrtTensor => env.tensor(data, v.dtype, v.shape);
    for (const i of graph.inputs) read.set(i.value.id, tensor(i.value, this.inputs.get(i.name) ?? allocate(i.value)));
    const fromInput = new Set(graph.inputs.map((i) => i.value.id));
    for (const o of graph.outputs) {
      const t = tensor(o.value, this.outputs.get(o.name) ?? allocate(o.value));
      if (written.has(o.value.id)) throw new InternalError(`Cannot compile: output "${o.name}" is also another output; add 0 to it`);
      written.set(o.value.id, t);
      if (!fromInput.has(o.value.id)) read.set(o.value.id, t);
    }
    const plan = planArena(stages, new Set([...read.keys(), ...written.keys()]));
    const arena = new ArrayBuffer(Math.max(64, plan.bytes));
    for (const { value, offset } of plan.placements)
      read.set(value.id, tensor(value, viewOf(value.dtype, arena, { offset, length: sizeOf(value.shape) })));
    return { tensors: { read, written }, plan: plan.bytes };
  }

  async run({ signal, onStage }: RunOptions = {}): Promise<void> {
    for (const [i, { region, run }] of this.#runs.entries()) {
      signal?.throwIfAborted();
      await run.run();
      onStage?.(region, i);
    }
  }

  [Symbol.dispose](): void {
    for (const t of this.#tensors) t[Symbol.dispose]();
  }
}

/** Stages that copy graph inputs that are also outputs. */
function passThrough(graph: Graph, stages: readonly Stage[]): Stage[] {
  const made = new Set(stages.flatMap((s) => s.outputs.map((v) => v.id)));
  return graph.outputs
    .filter((o) => !made.has(o.value.id))
    .map((o) => ({ region: "copy", nodes: [], inputs: [o.value], outputs: [o.value] }));
}

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
