/** @file One training step on a device: a method's parts compiled over flat buffers, the optimizers, and the state between steps. */
import { InternalError, type Rng, type TypedArray } from "../core/index.ts";
import type { Device, Program } from "../engine/runtime/index.ts";
import type { Learner, Method } from "../methods/index.ts";
import { initParam, type ParamSpec } from "../nn/index.ts";
import {
  allocShared,
  type Clip,
  type DecayRule,
  FlatParams,
  type FusedOptimizer,
  type FusedStepResult,
  makeLayout,
  makeParamGroups,
  namesContaining,
  openFusedOptimizer,
  type OptimizerConfig,
} from "../optim/index.ts";
import { allocLike, type Piece, putPiece, takePiece } from "./hand-over.ts";
import { type CompiledPart, compileMethod, type Flats, floats } from "./programs.ts";

export interface StepperOptions {
  readonly method: Method;
  readonly device: Device;
  readonly optimizer: OptimizerConfig;
  readonly layerDecay?: number;
  readonly patchEmbedLrScale?: number;
  readonly decayRule?: DecayRule;
  readonly checkpointing?: boolean;
  readonly threads: number;
  /** Updates so far of every parameter, by learner. */
  readonly stepCounts?: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** Scalars of one step, from the schedules. */
export interface StepScalars {
  readonly lr: number;
  readonly weightDecay: number;
  readonly emaMomentum: number;
  readonly teacherTemp: number;
  readonly clip: Clip;
  readonly freezeLastLayer: boolean;
  /** Only heads learn: a new head is warmed up on a given backbone. */
  readonly freezeBackbone?: boolean;
  /** Further scalar inputs of the parts, by name: weights of objectives. */
  readonly inputs?: Readonly<Record<string, number>>;
}

export interface StepInputs {
  /** `[2·b, 3, G, G]` and `[L·b, 3, l, l]`, crop-major, of the whole batch; `gramCrops` are the globals as the Gram teacher sees them. */
  readonly globals: Float32Array;
  readonly locals: Float32Array;
  readonly gramCrops?: Float32Array | undefined;
  readonly step: number;
  readonly rng: Rng;
  readonly scalars: StepScalars;
  readonly signal?: AbortSignal | undefined;
}

export interface StepResult {
  readonly loss: number;
  /** Parts of the loss by name. */
  readonly parts: Readonly<Record<string, number>>;
  readonly teacherEntropy: number;
  readonly targetEntropy: number;
  /** Further scalars that the method watches, by name. */
  readonly watched: Readonly<Record<string, number>>;
  /** The prototype each teacher row chose. */
  readonly prototypes: Int32Array;
  /** The teacher's class tokens `[2·b, d]` of the last micro-batch. */
  readonly features: Float32Array;
  readonly optimizer: FusedStepResult;
}

/** A learner with its numbers and its optimizer. */
export interface TrainedLearner {
  readonly learner: Learner;
  readonly flats: Flats;
  readonly optimizer: FusedOptimizer;
}

function openLearner(learner: Learner, options: StepperOptions): TrainedLearner {
  const { method, optimizer: config, layerDecay = 1, patchEmbedLrScale = 1, decayRule = "dino", threads, stepCounts } = options;
  const layout = makeLayout(learner.specs);
  const kinds = [
    "params",
    "teacher",
    "grads",
    "mean",
    ...(config.kind === "adamw" ? ["square"] : []),
    ...(method.batchSize > method.microBatchSize ? ["grads2"] : []),
  ];
  const { flat, memory } = allocShared(layout, kinds);
  const flats = flat as unknown as Flats; // the kinds asked for above
  const { params, teacher, grads, grads2, mean, square } = flats;
  const counts = stepCounts?.[learner.name];
  const optimizer = openFusedOptimizer({
    config,
    layout,
    groups: makeParamGroups(learner.specs, {
      depth: learner.depth,
      layerDecay,
      patchEmbedLrScale,
      decayRule,
      isFrozen: learner.isFrozen,
    }),
    params,
    grads: grads2 === undefined ? grads : [grads, grads2],
    mean,
    ...(square === undefined ? {} : { square }),
    teacher,
    memory,
    threads,
    ...(counts === undefined ? {} : { stepCounts: counts }),
  });
  return { learner, flats, optimizer };
}

function allocState(specs: readonly ParamSpec[]): Map<string, Float32Array> {
  return new Map(specs.map((s) => [s.name, new Float32Array(s.shape.reduce((a, b) => a * b, 1)).fill(s.init.kind === "ones" ? 1 : 0)]));
}

/** Learners, fixed networks and state of a run, and the step that moves them. */
export class Stepper implements AsyncDisposable {
  readonly method: Method;
  readonly learners: readonly [TrainedLearner, ...TrainedLearner[]];
  /** Networks that are only read, by name. */
  readonly fixed: ReadonlyMap<string, FlatParams>;
  /** Method state (centres, running statistics), by name. */
  readonly state: ReadonlyMap<string, Float32Array>;
  /** The state as the parts see it: it becomes `state` when the step is applied. */
  readonly #pending: ReadonlyMap<string, Float32Array>;
  readonly #parts: readonly CompiledPart[];
  /** Values of the whole batch, by name. */
  readonly #values = new Map<string, TypedArray>();
  /** Buffers of inputs that hold the pieces of this micro-batch already: parts share them. */
  readonly #fed = new Map<TypedArray, number>();

  constructor(options: StepperOptions) {
    const { method, device, checkpointing = false } = options;
    this.method = method;
    this.learners = method.learners.map((l) => openLearner(l, options)) as [TrainedLearner, ...TrainedLearner[]]; // as many as there are
    this.fixed = new Map(method.fixed.map(({ name, specs }) => [name, new FlatParams(makeLayout(specs))]));
    this.state = allocState(method.state);
    this.#pending = allocState(method.state);
    const learners = new Map(this.learners.map(({ learner, flats }) => [learner.name, flats]));
    this.#parts = compileMethod(method, { device, learners, fixed: this.fixed, state: this.#pending, checkpointing });
  }

  /** Parameters of the first learner, and their buffers. */
  get specs(): readonly ParamSpec[] {
    return this.learners[0].learner.specs;
  }
  get flats(): Flats {
    return this.learners[0].flats;
  }
  get optimizer(): FusedOptimizer {
    return this.learners[0].optimizer;
  }

  /** Draws every learner's start values and copies them to its average (heads too: they must start equal). */
  init(rng: Rng): void {
    this.learners.forEach(({ learner, flats }, i) => {
      const own = i === 0 ? rng : rng.split(learner.name);
      for (const s of learner.specs) initParam(s, flats.params.view(s.name), own);
      flats.teacher.data.set(flats.params.data);
    });
  }

  /** Bytes between stages. */
  get arenaBytes(): number {
    return this.#parts.flatMap(({ programs }) => programs).reduce((n, p) => n + p.arenaBytes, 0);
  }

  /**
   * One step in place. Nothing that lasts is changed before the optimizers run, so an abort or a non-finite gradient leaves
   * the state of the step before.
   */
  async step(inputs: StepInputs): Promise<StepResult> {
    const { signal } = inputs;
    const { loss, parts, gradsIndex } = await this.#runParts(inputs);
    signal?.throwIfAborted();
    const result = await this.#optimize(inputs.scalars, gradsIndex);
    if (result.applied) for (const [name, view] of this.state) view.set(this.#pending.get(name) ?? view);
    const { teacherEntropy = NaN, targetEntropy = NaN, ...watched } = this.#watched();
    const output = (name: string): TypedArray | undefined =>
      this.#parts
        .flatMap(({ programs }) => programs)
        .find(({ outputs }) => outputs.has(name))
        ?.outputs.get(name);
    const [prototypes, features] = [output("prototype"), output("features")];
    return {
      loss,
      parts,
      teacherEntropy,
      targetEntropy,
      watched,
      prototypes: prototypes instanceof Int32Array ? prototypes : new Int32Array(),
      features: features instanceof Float32Array ? features : new Float32Array(),
      optimizer: result,
    };
  }

  /** The work of a step without its effect, for measuring its speed. */
  async measure(inputs: StepInputs): Promise<void> {
    await this.#runParts(inputs);
  }

  async #runParts({ globals, locals, gramCrops, step, rng, scalars, signal }: StepInputs): Promise<Tally> {
    for (const [name, view] of this.#pending) view.set(this.state.get(name) ?? view);
    const given = Object.entries({ globals, locals, ...(gramCrops === undefined ? {} : { gramCrops }) });
    for (const [name, value] of [...given, ...this.method.draw({ rng, step })]) this.#values.set(name, value);
    this.#fed.clear();
    const tally: Tally = { loss: 0, parts: {}, gradsIndex: 0 };
    const count = this.method.batchSize / this.method.microBatchSize;
    for (const phase of phases(this.#parts)) {
      const pieces = phase[0]?.part.per === "batch" ? [WHOLE] : Array.from({ length: count }, (_, index) => ({ index, count }));
      for (const piece of pieces)
        for (const compiled of phase) {
          const program = await this.#runPart(compiled, piece, { scalars, signal });
          if (compiled.part.learner !== undefined) addTo(tally, program, compiled.programs.indexOf(program));
        }
    }
    return tally;
  }

  async #runPart({ programs }: CompiledPart, piece: Piece, { scalars, signal }: Pick<StepInputs, "scalars" | "signal">): Promise<Program> {
    // the first micro-batch's, then two programs that add to each other's gradients
    const program = programs[piece.index === 0 || programs.length === 1 ? 0 : 2 - (piece.index % 2)];
    if (program === undefined) throw new InternalError(`Cannot step: there is no program for micro-batch ${piece.index}`);
    this.#feed(program, piece, scalars);
    await program.run({ signal });
    this.#collect(program, piece);
    return program;
  }

  /** Puts scalars and the values of the batch, or of one micro-batch, into a program's inputs. */
  #feed(program: Program, piece: Piece, scalars: StepScalars): void {
    const numbers: Readonly<Record<string, number>> = { teacherTemp: scalars.teacherTemp, ...scalars.inputs };
    for (const [name, view] of program.inputs) {
      const number = numbers[name];
      if (number !== undefined && view instanceof Float32Array) view[0] = number;
      const cut = this.method.cuts.get(name);
      if (cut === undefined) continue;
      const value = this.#values.get(name);
      if (value === undefined) throw new InternalError(`Cannot step: nothing gives "${name}"; add it to the crops, the draws or a part`);
      if (value === view || this.#fed.get(view) === piece.index) continue;
      takePiece(value, view, { ...piece, cut });
      this.#fed.set(view, piece.index);
    }
  }

  /** Takes what a program gave out: values for later parts, and state. */
  #collect(program: Program, piece: Piece): void {
    for (const [name, view] of program.outputs) {
      const pending = this.#pending.get(name);
      if (pending !== undefined && view instanceof Float32Array) pending.set(view);
      const cut = this.method.cuts.get(name);
      if (cut === undefined) continue;
      if (piece.count === 1) {
        this.#values.set(name, view);
        continue;
      }
      const whole = this.#values.get(name) ?? allocLike(view, cut.kind === "whole" ? 1 : piece.count);
      this.#values.set(name, whole);
      putPiece(view, whole, { ...piece, cut });
    }
  }

  /** Moves every learner, or none. */
  async #optimize(scalars: StepScalars, gradsIndex: number): Promise<FusedStepResult> {
    const { lr, weightDecay, clip, emaMomentum, freezeLastLayer, freezeBackbone = false } = scalars;
    const results: FusedStepResult[] = [];
    for (const { learner, optimizer } of this.learners) {
      const frozenNow = new Set([
        ...(freezeLastLayer ? namesContaining(learner.specs, "last_layer") : []),
        ...(freezeBackbone ? learner.specs.map((s) => s.name).filter((name) => name.startsWith("backbone.")) : []),
      ]);
      results.push(await optimizer.step({ lr, weightDecay, clip, emaMomentum, frozenNow, gradsIndex }));
    }
    const [first] = results;
    if (first === undefined) throw new InternalError("Cannot step: the method has no learner");
    return results.find((r) => !r.applied) ?? first;
  }

  /** The scalars that parts over the whole batch give out. */
  #watched(): Record<string, number> {
    const found: Record<string, number> = {};
    for (const { part, programs } of this.#parts)
      if (part.per === "batch")
        for (const [name, view] of programs[0]?.outputs ?? [])
          if (view instanceof Float32Array && view.length === 1 && !this.state.has(name)) found[name] = view[0] ?? NaN;
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { optimizer } of this.learners) await optimizer[Symbol.asyncDispose]();
    for (const { programs } of this.#parts) for (const p of programs) p[Symbol.dispose]();
  }
}

/** What the students' programs of a step gave, added up. */
interface Tally {
  loss: number;
  readonly parts: Record<string, number>;
  /** Which of the two gradient buffers was written last. */
  gradsIndex: number;
}

const WHOLE: Piece = { index: 0, count: 1 };

function addTo(tally: Tally, program: Program, at: number): void {
  tally.gradsIndex = at === 1 ? 1 : 0;
  tally.loss += floats(program, "outputs", "loss")[0] ?? NaN;
  for (const name of program.outputs.keys())
    if (name.startsWith("loss.")) tally.parts[name] = (tally.parts[name] ?? 0) + (floats(program, "outputs", name)[0] ?? NaN);
}

/** Parts in runs of one kind: those of micro-batches run together, micro-batch by micro-batch. */
function phases(parts: readonly CompiledPart[]): CompiledPart[][] {
  const runs: CompiledPart[][] = [];
  for (const compiled of parts) {
    const last = runs.at(-1);
    if (last !== undefined && last[0]?.part.per === compiled.part.per) last.push(compiled);
    else runs.push([compiled]);
  }
  return runs;
}
