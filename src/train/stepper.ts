/** @file One training step on a device: the traced parts compiled over flat buffers, the optimizer, and the state between steps. */
import { InternalError, type Rng } from "../core/index.ts";
import type { Device, Program } from "../engine/runtime/index.ts";
import { type DinoConfig, dinoSpecs, dinoState, drawDropPath, isFrozen } from "../methods/index.ts";
import { initParam, type ParamSpec } from "../nn/index.ts";
import {
  allocShared,
  type Clip,
  type FusedOptimizer,
  type FusedStepResult,
  makeLayout,
  makeParamGroups,
  namesContaining,
  openFusedOptimizer,
  type OptimizerConfig,
} from "../optim/index.ts";
import { compileDino, floats, type Flats } from "./programs.ts";

export interface StepperOptions {
  readonly config: DinoConfig;
  readonly device: Device;
  readonly optimizer: OptimizerConfig;
  readonly layerDecay?: number;
  readonly patchEmbedLrScale?: number;
  readonly checkpointing?: boolean;
  readonly threads: number;
  readonly stepCounts?: Readonly<Record<string, number>>;
}

/** Scalars of one step, from the schedules. */
export interface StepScalars {
  readonly lr: number;
  readonly weightDecay: number;
  readonly emaMomentum: number;
  readonly teacherTemp: number;
  readonly clip: Clip;
  readonly freezeLastLayer: boolean;
}

export interface StepInputs {
  /** `[2·b, 3, G, G]` and `[L·b, 3, l, l]`, crop-major, of the whole batch. */
  readonly globals: Float32Array;
  readonly locals: Float32Array;
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
  /** The prototype each teacher row chose. */
  readonly prototypes: Int32Array;
  /** The teacher's class tokens `[2·b, d]` of the last micro-batch. */
  readonly features: Float32Array;
  readonly optimizer: FusedStepResult;
}

/** Rows of a micro-batch out of crop-major rows of the batch: `[v, b, …]` -> `[v, micro, …]`. */
function sliceCrops(
  from: Float32Array,
  to: Float32Array,
  { crops, micro, index, batch }: { crops: number; micro: number; index: number; batch: number },
): void {
  const row = from.length / (crops * batch);
  for (let v = 0; v < crops; v++)
    to.set(from.subarray((v * batch + index * micro) * row, (v * batch + (index + 1) * micro) * row), v * micro * row);
}

/** The mirror of sliceCrops: a micro-batch's rows into the batch's. */
function placeCrops(
  from: Float32Array,
  to: Float32Array,
  { crops, micro, index, batch }: { crops: number; micro: number; index: number; batch: number },
): void {
  const row = to.length / (crops * batch);
  for (let v = 0; v < crops; v++) to.set(from.subarray(v * micro * row, (v + 1) * micro * row), (v * batch + index * micro) * row);
}

/** Student, teacher, optimizer and method state of a DINO run, and the step that moves them. */
export class Stepper implements AsyncDisposable {
  readonly config: DinoConfig;
  readonly specs: readonly ParamSpec[];
  /** Method state (centre, running statistics), by name. */
  readonly state: ReadonlyMap<string, Float32Array>;
  readonly flats: Flats;
  readonly optimizer: FusedOptimizer;
  readonly #teacher: Program;
  readonly #targets: Program;
  /** First micro-batch, then two that add to each other's gradients. */
  readonly #students: readonly Program[];
  readonly #lastLayer: ReadonlySet<string>;

  constructor({
    config,
    device,
    optimizer,
    layerDecay = 1,
    patchEmbedLrScale = 1,
    checkpointing = false,
    threads,
    stepCounts,
  }: StepperOptions) {
    this.config = config;
    this.specs = dinoSpecs(config);
    const layout = makeLayout(this.specs);
    const accumulate = config.batchSize / config.microBatchSize;
    const kinds = [
      "params",
      "teacher",
      "grads",
      "mean",
      ...(optimizer.kind === "adamw" ? ["square"] : []),
      ...(accumulate > 1 ? ["grads2"] : []),
    ];
    const { flat, memory } = allocShared(layout, kinds);
    this.flats = flat as unknown as Flats; // the kinds asked for above
    this.state = new Map(
      dinoState(config).map((s) => [s.name, new Float32Array(s.shape.reduce((a, b) => a * b, 1)).fill(s.init.kind === "ones" ? 1 : 0)]),
    );
    const { teacher, params, grads, grads2, mean, square } = this.flats;
    const programs = compileDino(config, { device, specs: this.specs, flats: this.flats, state: this.state, checkpointing });
    this.#teacher = programs.teacher;
    this.#targets = programs.targets;
    this.#students = programs.students;
    const frozen = isFrozen(config);
    this.#lastLayer = namesContaining(this.specs, "last_layer");
    this.optimizer = openFusedOptimizer({
      config: optimizer,
      layout,
      groups: makeParamGroups(this.specs, { depth: config.vit.depth, layerDecay, patchEmbedLrScale, isFrozen: frozen }),
      params,
      grads: grads2 === undefined ? grads : [grads, grads2],
      mean,
      ...(square === undefined ? {} : { square }),
      teacher,
      memory,
      threads,
      ...(stepCounts === undefined ? {} : { stepCounts }),
    });
  }

  /** Draws the student's start values and copies them to the teacher (heads too: they must start equal). */
  init(rng: Rng): void {
    for (const s of this.specs) initParam(s, this.flats.params.view(s.name), rng);
    this.flats.teacher.data.set(this.flats.params.data);
  }

  /** Bytes between stages. */
  get arenaBytes(): number {
    return this.#teacher.arenaBytes + this.#targets.arenaBytes + this.#students.reduce((n, p) => n + p.arenaBytes, 0);
  }

  /**
   * One step in place. Nothing that lasts is changed before the optimizer runs, so an abort or a non-finite gradient leaves
   * the state of the step before.
   */
  async step(inputs: StepInputs): Promise<StepResult> {
    const { signal, scalars } = inputs;
    await this.#runTeacher(inputs);
    floats(this.#targets, "inputs", "teacherTemp")[0] = scalars.teacherTemp;
    await this.#targets.run({ signal });
    const { loss, parts, gradsIndex } = await this.#runStudent(inputs);
    signal?.throwIfAborted();
    const result = await this.optimizer.step({
      lr: scalars.lr,
      weightDecay: scalars.weightDecay,
      clip: scalars.clip,
      emaMomentum: scalars.emaMomentum,
      frozenNow: scalars.freezeLastLayer ? this.#lastLayer : new Set(),
      gradsIndex,
    });
    if (result.applied) this.#commitState();
    return {
      loss,
      parts,
      teacherEntropy: floats(this.#targets, "outputs", "teacherEntropy")[0] ?? NaN,
      targetEntropy: floats(this.#targets, "outputs", "targetEntropy")[0] ?? NaN,
      prototypes: this.#targets.outputs.get("prototype") as Int32Array, // traced as int32
      features: floats(this.#teacher, "outputs", "features"),
      optimizer: result,
    };
  }

  /** The work of a step without its effect, for measuring its speed. */
  async measure(inputs: StepInputs): Promise<void> {
    await this.#runTeacher(inputs);
    floats(this.#targets, "inputs", "teacherTemp")[0] = inputs.scalars.teacherTemp;
    await this.#targets.run({ signal: inputs.signal });
    await this.#runStudent(inputs);
  }

  async #runTeacher({ globals, signal }: StepInputs): Promise<void> {
    const { batchSize: batch, microBatchSize: micro } = this.config;
    const [input, logits, all] = [
      floats(this.#teacher, "inputs", "globals"),
      floats(this.#teacher, "outputs", "logits"),
      floats(this.#targets, "inputs", "logits"),
    ];
    for (let index = 0; index < batch / micro; index++) {
      sliceCrops(globals, input, { crops: 2, micro, index, batch });
      await this.#teacher.run({ signal });
      if (all !== logits) placeCrops(logits, all, { crops: 2, micro, index, batch });
    }
  }

  async #runStudent({
    globals,
    locals,
    step,
    rng,
    signal,
  }: StepInputs): Promise<{ loss: number; parts: Record<string, number>; gradsIndex: number }> {
    const { batchSize: batch, microBatchSize: micro, crops } = this.config;
    const targets = floats(this.#targets, "outputs", "targets");
    const parts: Record<string, number> = {};
    let [loss, at] = [0, 0];
    for (let index = 0; index < batch / micro; index++) {
      at = index === 0 ? 0 : 2 - (index % 2 === 1 ? 1 : 0);
      const program = this.#students[at];
      if (program === undefined) throw new InternalError(`Cannot step: there is no program for micro-batch ${index}`);
      const rows = { micro, index, batch };
      sliceCrops(globals, floats(program, "inputs", "globals"), { crops: 2, ...rows });
      if (crops.localCount > 0) sliceCrops(locals, floats(program, "inputs", "locals"), { crops: crops.localCount, ...rows });
      if (floats(program, "inputs", "targets") !== targets)
        sliceCrops(targets, floats(program, "inputs", "targets"), { crops: 2, ...rows });
      drawDropPath(this.config, program.inputs as ReadonlyMap<string, Float32Array>, { rng, step, offset: index * micro }); // drop-path inputs are float32
      await program.run({ signal });
      loss += floats(program, "outputs", "loss")[0] ?? NaN;
      for (const name of program.outputs.keys())
        if (name.startsWith("loss.")) parts[name] = (parts[name] ?? 0) + (floats(program, "outputs", name)[0] ?? NaN);
    }
    return { loss, parts, gradsIndex: at === 1 ? 1 : 0 };
  }

  /** What a step writes beside the parameters becomes the next step's state. */
  #commitState(): void {
    for (const [name, view] of this.state)
      for (const program of [this.#teacher, this.#targets, this.#students.at(-1)]) {
        const next = program?.outputs.get(name);
        if (next instanceof Float32Array) view.set(next);
      }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.optimizer[Symbol.asyncDispose]();
    for (const p of [this.#teacher, this.#targets, ...this.#students]) p[Symbol.dispose]();
  }
}
