/** @file The CPU device: stages of a graph as ONNX Runtime sessions over buffers of ours, shared where stages are equal. */
import { createHash } from "node:crypto";
import { DTYPE_BYTES, InternalError, Owned, sizeOf, type TypedArray } from "../../core/index.ts";
import { type Graph, type GraphOutput, type Value } from "../ir/index.ts";
import { type LoweredStage, lowerStage } from "../onnx/index.ts";
import { cut, planArena, type Stage } from "../passes/index.ts";
import { allocate, givenOrNew, viewOf } from "./buffers.ts";
import type { CompileOptions, Device, Program, RunOptions } from "./device.ts";
import { type OrtEnv, openOrt, type OrtRun, type OrtSession, type OrtTensor } from "./ort/index.ts";

function overlap(a: TypedArray, b: TypedArray): boolean {
  return a.buffer === b.buffer && a.byteOffset < b.byteOffset + b.byteLength && b.byteOffset < a.byteOffset + a.byteLength;
}

/** A stage may be read after a later one has written: what is written shares memory with nothing (contracts 6). */
function checkApart(inputs: ReadonlyMap<string, TypedArray>, outputs: ReadonlyMap<string, TypedArray>): void {
  for (const [name, view] of outputs) {
    const rivals = [...inputs].map(([n, v]) => [`input "${n}"`, v] as const);
    const others = [...outputs].flatMap(([n, v]) => (n === name ? [] : [[`output "${n}"`, v] as const]));
    const rival = [...rivals, ...others].find(([, other]) => overlap(view, other));
    if (rival !== undefined)
      throw new InternalError(`Cannot compile: output "${name}" shares memory with ${rival[0]}; give it a buffer of its own`);
  }
}

/** Sessions of a device by their model's bytes, each kept while a program uses it. */
class SessionCache implements Disposable {
  readonly #env: OrtEnv;
  readonly #sessions = new Map<string, { readonly session: OrtSession; users: number }>();
  constructor(env: OrtEnv) {
    this.#env = env;
  }
  /** The session of a lowered stage, until `user` is disposed. */
  take(
    { bytes, inputNames, outputNames }: LoweredStage,
    { user, planned }: { readonly user: Owned; readonly planned: boolean },
  ): OrtSession {
    const key = createHash("sha1").update(bytes).digest("hex"); // shapes are part of the bytes, and what is planned follows from them
    const open = (): OrtSession => this.#env.session(bytes, { inputs: inputNames, outputs: outputNames }, { planned });
    const entry = this.#sessions.get(key) ?? { session: open(), users: 0 };
    this.#sessions.set(key, entry);
    entry.users++;
    user.defer(() => {
      entry.users--;
      if (entry.users > 0) return;
      entry.session[Symbol.dispose]();
      this.#sessions.delete(key);
    });
    return entry.session;
  }
  [Symbol.dispose](): void {
    for (const { session } of this.#sessions.values()) session[Symbol.dispose]();
    this.#sessions.clear();
  }
}

/**
 * Stages whose values are all smaller are planned by ONNX Runtime: 2 to 4 % quicker. Above, planning only costs memory: a DINOv2 step of
 * ViT-S/14, batch 4, took 3.66 GB with it everywhere and 2.96 GB with it nowhere; with this bound it takes as little and is as quick.
 */
const PLANNED_BYTES = 10 * 2 ** 20;

function largestValueBytes({ nodes }: Stage): number {
  const sizes = nodes.flatMap(({ outputs }) => outputs.map(({ dtype, shape }) => sizeOf(shape) * DTYPE_BYTES[dtype]));
  return sizes.reduce((most, bytes) => Math.max(most, bytes), 0);
}

/** The tensors of a program: by value where they are read and written, and by name for outputs. */
interface Memory {
  readonly read: ReadonlyMap<number, OrtTensor>;
  readonly outputs: ReadonlyMap<string, OrtTensor>;
  readonly arenaBytes: number;
}

class CpuProgram implements Program {
  readonly inputs: ReadonlyMap<string, TypedArray>;
  readonly outputs: ReadonlyMap<string, TypedArray>;
  readonly arenaBytes: number;
  readonly stages: number;
  readonly sessions: number;
  readonly #runs: readonly { readonly region: string; readonly run: OrtRun }[];
  readonly #owned: Owned;
  #state: "ready" | "running" | "disposed" = "ready";

  constructor(graph: Graph, options: CompileOptions & { readonly env: OrtEnv; readonly cache: SessionCache }) {
    const { env, cache } = options;
    this.inputs = new Map(graph.inputs.map((i) => [i.name, givenOrNew(i, options.inputs)]));
    this.outputs = new Map(graph.outputs.map((o) => [o.name, givenOrNew(o, options.outputs)]));
    checkApart(this.inputs, this.outputs);
    using owned = new Owned();
    const stages = cut(graph);
    const memory = this.#place(graph, { stages, tensor: (v, data) => owned.use(env.tensor(data, v.dtype, v.shape)) });
    const copies = copiedOutputs(graph, stages);
    const written = new Map(graph.outputs.filter((o) => !copies.includes(o)).map((o) => [o.value.id, memory.outputs.get(o.name)]));
    const used = new Set<OrtSession>();
    const bind = (stage: Stage, to: (v: Value) => OrtTensor | undefined): { region: string; run: OrtRun } => {
      const lowered = lowerStage(stage.nodes, stage.outputs);
      const session = cache.take(lowered, { user: owned, planned: largestValueBytes(stage) <= PLANNED_BYTES });
      used.add(session);
      const need = (t: OrtTensor | undefined, v: Value): OrtTensor => {
        if (t === undefined) throw new InternalError(`Cannot compile stage "${stage.region}": %${v.id} has no memory; verify the graph`);
        return t;
      };
      const inputs = lowered.inputs.map((v) => need(memory.read.get(v.id), v));
      return {
        region: stage.region,
        run: session.bind(
          inputs,
          lowered.outputs.map((v) => need(to(v), v)),
        ),
      };
    };
    this.#runs = [
      ...stages.map((stage) => bind(stage, (v) => written.get(v.id) ?? memory.read.get(v.id))),
      ...copies.map(({ name, value }) =>
        bind({ region: "copy", nodes: [], inputs: [value], outputs: [value] }, () => memory.outputs.get(name)),
      ),
    ];
    this.arenaBytes = memory.arenaBytes;
    this.stages = this.#runs.length;
    this.sessions = used.size;
    this.#owned = owned.move();
  }

  /** Gives every value its memory: named inputs and outputs their own, the rest a place in the arena. */
  #place(
    graph: Graph,
    { stages, tensor }: { readonly stages: readonly Stage[]; readonly tensor: (v: Value, data: TypedArray) => OrtTensor },
  ): Memory {
    const [read, outputs] = [new Map<number, OrtTensor>(), new Map<string, OrtTensor>()];
    for (const i of graph.inputs) read.set(i.value.id, tensor(i.value, this.inputs.get(i.name) ?? allocate(i.value)));
    for (const o of graph.outputs) {
      const t = tensor(o.value, this.outputs.get(o.name) ?? allocate(o.value));
      outputs.set(o.name, t);
      if (!read.has(o.value.id)) read.set(o.value.id, t);
    }
    const plan = planArena(stages, new Set(read.keys()));
    const arena = new ArrayBuffer(Math.max(64, plan.bytes));
    for (const { value, offset } of plan.placements)
      read.set(value.id, tensor(value, viewOf(value.dtype, arena, { offset, length: sizeOf(value.shape) })));
    return { read, outputs, arenaBytes: plan.bytes };
  }

  async run({ signal, onStage }: RunOptions = {}): Promise<void> {
    if (this.#state !== "ready")
      throw new InternalError(
        `Cannot run program: it is ${this.#state}; ${this.#state === "running" ? "await the run first" : "compile it again"}`,
      );
    this.#state = "running";
    try {
      for (const [i, { region, run }] of this.#runs.entries()) {
        signal?.throwIfAborted();
        await run.run();
        onStage?.(region, i);
      }
    } finally {
      this.#state = "ready";
    }
  }

  [Symbol.dispose](): void {
    if (this.#state === "running") throw new InternalError("Cannot dispose program: it is running; await the run first");
    this.#state = "disposed";
    this.#owned[Symbol.dispose]();
  }
}

/** Outputs that no stage writes: graph inputs handed through, and further names of one value. */
function copiedOutputs(graph: Graph, stages: readonly Stage[]): GraphOutput[] {
  const unwritten = new Set(stages.flatMap((s) => s.outputs.map((v) => v.id)));
  return graph.outputs.filter((o) => !unwritten.delete(o.value.id));
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
