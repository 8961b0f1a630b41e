/** @file One training step on a device: a method's parts compiled over flat buffers, the optimizers, and the state between steps. */
import { InternalError, type Rng } from "../core/index.ts";
import { Arena, type Device } from "../engine/runtime/index.ts";
import type { Method } from "../methods/index.ts";
import { initParam, type ParamSpec } from "../nn/index.ts";
import { type Clip, FlatParams, type FusedOptimizer, type FusedStepResult, makeLayout, namesContaining } from "../optim/index.ts";
import { openLearner, type OptimOptions, type TrainedLearner } from "./learner.ts";
import { MethodRun, type Tally } from "./method-run.ts";
import type { Flats } from "./programs.ts";

export type { TrainedLearner } from "./learner.ts";

export interface StepperOptions extends OptimOptions {
  readonly method: Method;
  /** The same method at other crop sizes: a step may take any of them (DINOv3's mixed resolutions). */
  readonly variants?: readonly Method[];
  readonly device: Device;
  readonly checkpointing?: boolean;
  /** How the last layer is frozen: its gradient is dropped (DINO), or its rate is 0 while moments and norms go on (DINOv2, DINOv3). */
  readonly freezeBy?: "gradient" | "rate";
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
  readonly freezeBackbone?: boolean | undefined;
  /** Further scalar inputs of the parts, by name: weights of objectives. */
  readonly inputs?: Readonly<Record<string, number>> | undefined;
}

export interface StepInputs {
  /** `[2·b, c, G, G]` and `[L·b, c, l, l]`, crop-major, of the whole batch; `gramCrops` are the globals as the Gram teacher sees them. */
  readonly globals: Float32Array;
  readonly locals: Float32Array;
  readonly gramCrops?: Float32Array | undefined;
  /** Which of the variants the crops are for; the method itself by default. */
  readonly variant?: number | undefined;
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
  /** Of the first learner; where a later one's gradients are not finite, of that one. */
  readonly optimizer: FusedStepResult;
  /** Gradients with a value that is not finite, of all learners, by `NAME` of the parameter or `LEARNER.NAME` of a later learner's. */
  readonly nonFinite: readonly (readonly [name: string, data: Float32Array])[];
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
  readonly #freezeBy: "gradient" | "rate";
  /** The method, then its variants, each compiled when a step first takes it. */
  readonly #runs: readonly (() => MethodRun)[];
  readonly #opened = new Map<Method, MethodRun>();
  /** Between stages: parts, micro-batches and variants come one after the other. */
  readonly #arena = new Arena();

  constructor(options: StepperOptions) {
    const { method, variants = [], device, checkpointing = false, freezeBy = "gradient" } = options;
    this.method = method;
    this.#freezeBy = freezeBy;
    this.learners = method.learners.map((l) => openLearner(l, { ...options, accumulates: method.batchSize > method.microBatchSize })) as [
      TrainedLearner,
      ...TrainedLearner[],
    ]; // as many as there are
    this.fixed = new Map(method.fixed.map(({ name, specs }) => [name, new FlatParams(makeLayout(specs))]));
    this.state = allocState(method.state);
    this.#pending = allocState(method.state);
    const learners = new Map(this.learners.map(({ learner, flats }) => [learner.name, flats]));
    const context = { device, arena: this.#arena, learners, fixed: this.fixed, state: this.#pending, checkpointing };
    this.#runs = [method, ...variants].map((m) => () => {
      const run = this.#opened.get(m) ?? new MethodRun(m, context);
      this.#opened.set(m, run);
      return run;
    });
    this.#runOf(undefined); // what cannot be compiled is known before the first step
  }

  #runOf(variant: number | undefined): MethodRun {
    const open = this.#runs[variant === undefined ? 0 : variant + 1];
    if (open === undefined) throw new InternalError(`Cannot step: there is no variant ${variant}`);
    return open();
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
    return this.#arena.bytes;
  }

  /**
   * One step in place. Nothing that lasts is changed before the optimizers run, so an abort, a loss or a gradient that is not finite
   * leaves the state of the step before, in every learner.
   */
  async step(inputs: StepInputs): Promise<StepResult> {
    const { run, tally } = await this.#forwardBackward(inputs);
    inputs.signal?.throwIfAborted();
    const results = await this.#optimize(inputs.scalars, tally);
    const result = results.find(({ nonFinite }) => nonFinite.length > 0) ?? results[0];
    if (result.applied) for (const [name, view] of this.state) view.set(this.#pending.get(name) ?? view);
    const { teacherEntropy = NaN, targetEntropy = NaN, ...watched } = run.watched();
    const [prototypes, features] = [run.output("prototype"), run.output("features")];
    return {
      loss: tally.loss,
      parts: tally.parts,
      teacherEntropy,
      targetEntropy,
      watched,
      prototypes: prototypes instanceof Int32Array ? prototypes : new Int32Array(),
      features: features instanceof Float32Array ? features : new Float32Array(),
      optimizer: result,
      nonFinite: this.#nonFinite(results, tally.gradsIndex),
    };
  }

  /** The work of a step without its effect, for measuring its speed. */
  async measure(inputs: StepInputs): Promise<void> {
    await this.#forwardBackward(inputs);
  }

  async #forwardBackward({ globals, locals, gramCrops, variant, scalars, step, rng, signal }: StepInputs): Promise<{
    readonly run: MethodRun;
    readonly tally: Tally;
  }> {
    for (const [name, view] of this.#pending) view.set(this.state.get(name) ?? view);
    const run = this.#runOf(variant);
    const numbers = { teacherTemp: scalars.teacherTemp, ...scalars.inputs };
    return { run, tally: await run.run({ crops: { globals, locals, gramCrops }, numbers, step, rng, signal }) };
  }

  /** Moves every learner, or none. */
  async #optimize(scalars: StepScalars, { loss, gradsIndex }: Tally): Promise<[FusedStepResult, ...FusedStepResult[]]> {
    const { lr, weightDecay, clip, emaMomentum, freezeLastLayer, freezeBackbone = false } = scalars;
    const run = async (apply: boolean): Promise<[FusedStepResult, ...FusedStepResult[]]> => {
      const results: FusedStepResult[] = [];
      for (const { learner, optimizer } of this.learners) {
        const lastLayer = freezeLastLayer ? namesContaining(learner.specs, "last_layer") : [];
        const backbone = freezeBackbone ? learner.specs.map((s) => s.name).filter((name) => name.startsWith("backbone.")) : [];
        const frozenNow = new Set([...backbone, ...(this.#freezeBy === "gradient" ? lastLayer : [])]);
        const restingNow = new Set(this.#freezeBy === "rate" ? lastLayer : []);
        results.push(await optimizer.step({ lr, weightDecay, clip, emaMomentum, frozenNow, restingNow, gradsIndex, apply }));
      }
      return results as [FusedStepResult, ...FusedStepResult[]]; // as many as there are learners
    };
    if (!Number.isFinite(loss)) return await run(false);
    if (this.learners.length === 1) return await run(true); // one learner looks at its gradients before it moves
    const looked = await run(false);
    return looked.some(({ nonFinite }) => nonFinite.length > 0) ? looked : await run(true);
  }

  #nonFinite(results: readonly FusedStepResult[], gradsIndex: number): [string, Float32Array][] {
    return this.learners.flatMap(({ learner, flats: { grads, grads2 } }, i) => {
      const flat = gradsIndex === 1 && grads2 !== undefined ? grads2 : grads;
      const label = i === 0 ? "" : `${learner.name}.`;
      return (results[i]?.nonFinite ?? []).map((name): [string, Float32Array] => [label + name, flat.view(name)]);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { optimizer } of this.learners) await optimizer[Symbol.asyncDispose]();
    for (const run of this.#opened.values()) run[Symbol.dispose]();
  }
}
