/** @file A program of the CPU device: stages of a graph as ONNX Runtime sessions over buffers of ours. */
import { DTYPE_BYTES, InternalError, Owned, sizeOf, type TypedArray } from "../../core/index.ts";
import { type Graph, type GraphOutput, type Value } from "../ir/index.ts";
import { lowerStage } from "../onnx/index.ts";
import { cut, type Placement, planArena, type Stage } from "../passes/index.ts";
import { Arena } from "./arena.ts";
import { allocate, givenOrNew, viewOf } from "./buffers.ts";
import type { CompileOptions, Program, RunOptions } from "./device.ts";
import type { OrtEnv, OrtRun, OrtSession, OrtTensor } from "./ort/index.ts";
import type { SessionCache } from "./session-cache.ts";

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

/**
 * Stages whose values are all smaller are planned by ONNX Runtime: 2 to 4 % quicker. Above, planning only costs memory: a DINOv2 step of
 * ViT-S/14, batch 4, took 3.66 GB with it everywhere and 2.96 GB with it nowhere; with this bound it takes as little and is as quick.
 */
const PLANNED_BYTES = 10 * 2 ** 20;

function largestValueBytes({ nodes }: Stage): number {
  const sizes = nodes.flatMap(({ outputs }) => outputs.map(({ dtype, shape }) => sizeOf(shape) * DTYPE_BYTES[dtype]));
  return sizes.reduce((most, bytes) => Math.max(most, bytes), 0);
}

/** A stage and where it reads and writes: tensors of a program's inputs and outputs, or places in the arena. */
interface Binding {
  readonly region: string;
  readonly session: OrtSession;
  readonly inputs: readonly Where[];
  readonly outputs: readonly Where[];
}

type Where = OrtTensor | Placement;

function needPlace(where: Where | undefined, { region, v }: { readonly region: string; readonly v: Value }): Where {
  if (where === undefined) throw new InternalError(`Cannot compile stage "${region}": %${v.id} has no memory; verify the graph`);
  return where;
}

/** The runs of a program over one memory of its arena. */
interface Bound {
  readonly memory: ArrayBuffer;
  readonly runs: readonly { readonly region: string; readonly run: OrtRun }[];
  readonly tensors: Owned;
}

export class CpuProgram implements Program {
  readonly inputs: ReadonlyMap<string, TypedArray>;
  readonly outputs: ReadonlyMap<string, TypedArray>;
  readonly arenaBytes: number;
  readonly stages: number;
  readonly sessions: number;
  readonly #env: OrtEnv;
  readonly #arena: Arena;
  readonly #bindings: readonly Binding[];
  readonly #owned: Owned;
  #bound: Bound | undefined;
  #state: "ready" | "running" | "disposed" = "ready";

  constructor(graph: Graph, { env, cache, ...options }: CompileOptions & { readonly env: OrtEnv; readonly cache: SessionCache }) {
    this.#env = env;
    this.inputs = new Map(graph.inputs.map((i) => [i.name, givenOrNew(i, options.inputs)]));
    this.outputs = new Map(graph.outputs.map((o) => [o.name, givenOrNew(o, options.outputs)]));
    checkApart(this.inputs, this.outputs);
    using owned = new Owned();
    const stages = cut(graph);
    const { named, outputs } = this.#tensors(graph, owned);
    const plan = planArena(stages, new Set(named.keys()));
    const places = new Map<number, Where>([...named, ...plan.placements.map((p): [number, Where] => [p.value.id, p])]);
    const copies = copiedOutputs(graph, stages);
    const written = new Map(graph.outputs.filter((o) => !copies.includes(o)).map((o) => [o.value.id, outputs.get(o.name)]));
    const bind = (stage: Stage, to: (v: Value) => Where | undefined): Binding => {
      const lowered = lowerStage(stage.nodes, stage.outputs);
      const session = cache.take(lowered, { user: owned, planned: largestValueBytes(stage) <= PLANNED_BYTES });
      const { region } = stage;
      const inputs = lowered.inputs.map((v) => needPlace(places.get(v.id), { region, v }));
      return { region, session, inputs, outputs: lowered.outputs.map((v) => needPlace(to(v), { region, v })) };
    };
    this.#bindings = [
      ...stages.map((stage) => bind(stage, (v) => written.get(v.id) ?? places.get(v.id))),
      ...copies.map(({ name, value }) => bind({ region: "copy", nodes: [], inputs: [value], outputs: [value] }, () => outputs.get(name))),
    ];
    this.#arena = options.arena ?? new Arena();
    this.#arena.reserve(plan.bytes);
    this.arenaBytes = plan.bytes;
    this.stages = this.#bindings.length;
    this.sessions = new Set(this.#bindings.map(({ session }) => session)).size;
    this.#owned = owned.move();
  }

  /** Tensors over the buffers of inputs and outputs: by value where they are read, and by name for outputs. */
  #tensors(
    graph: Graph,
    owned: Owned,
  ): { readonly named: ReadonlyMap<number, OrtTensor>; readonly outputs: ReadonlyMap<string, OrtTensor> } {
    const tensor = (v: Value, data: TypedArray): OrtTensor => owned.use(this.#env.tensor(data, v.dtype, v.shape));
    const [named, outputs] = [new Map<number, OrtTensor>(), new Map<string, OrtTensor>()];
    for (const i of graph.inputs) named.set(i.value.id, tensor(i.value, this.inputs.get(i.name) ?? allocate(i.value)));
    for (const o of graph.outputs) {
      const t = tensor(o.value, this.outputs.get(o.name) ?? allocate(o.value));
      outputs.set(o.name, t);
      if (!named.has(o.value.id)) named.set(o.value.id, t);
    }
    return { named, outputs };
  }

  /** The runs over the arena's memory: those of the run before, or new ones where it has another by now. */
  #runsOver(memory: ArrayBuffer): Bound["runs"] {
    if (this.#bound?.memory === memory) return this.#bound.runs;
    using tensors = new Owned();
    const placed = new Map<number, OrtTensor>();
    const at = (where: Where): OrtTensor => {
      if (!("offset" in where)) return where;
      const { value, offset } = where;
      const view = viewOf(value.dtype, memory, { offset, length: sizeOf(value.shape) });
      const tensor = placed.get(value.id) ?? tensors.use(this.#env.tensor(view, value.dtype, value.shape));
      placed.set(value.id, tensor);
      return tensor;
    };
    const runs = this.#bindings.map(({ region, session, inputs, outputs }) => ({
      region,
      run: session.bind(inputs.map(at), outputs.map(at)),
    }));
    this.#bound?.tensors[Symbol.dispose]();
    this.#bound = { memory, runs, tensors: tensors.move() };
    return runs;
  }

  async run({ signal, onStage }: RunOptions = {}): Promise<void> {
    if (this.#state !== "ready")
      throw new InternalError(
        `Cannot run program: it is ${this.#state}; ${this.#state === "running" ? "await the run first" : "compile it again"}`,
      );
    const memory = this.#arena.hold();
    this.#state = "running";
    try {
      for (const [i, { region, run }] of this.#runsOver(memory).entries()) {
        signal?.throwIfAborted();
        await run.run();
        onStage?.(region, i);
      }
    } finally {
      this.#state = "ready";
      this.#arena.release();
    }
  }

  [Symbol.dispose](): void {
    if (this.#state === "running") throw new InternalError("Cannot dispose program: it is running; await the run first");
    this.#state = "disposed";
    this.#bound?.tensors[Symbol.dispose]();
    this.#bound = undefined;
    this.#owned[Symbol.dispose]();
  }
}

/** Outputs that no stage writes: graph inputs handed through, and further names of one value. */
function copiedOutputs(graph: Graph, stages: readonly Stage[]): GraphOutput[] {
  const unwritten = new Set(stages.flatMap((s) => s.outputs.map((v) => v.id)));
  return graph.outputs.filter((o) => !unwritten.delete(o.value.id));
}
