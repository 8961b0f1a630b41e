/** @file The optimizer step on the CPU: clip, update and teacher average in place over flat shared buffers, split over threads. */
import { InternalError } from "../../core/index.ts";
import { clipCoefficients } from "../clip.ts";
import { kernelScalars, type OptimizerConfig, type StepOptions } from "../config.ts";
import { entryOf, type FlatParams, type Layout } from "../layout.ts";
import type { ParamGroup } from "../param-groups.ts";
import { makeChunks, type Chunk } from "./chunks.ts";
import { Crew } from "./crew.ts";
import { compileOptimizerModule, type WasmParts } from "./kernel-wasm.ts";
import { MODE, SCALARS_PER_PARAM, type JobSetup, type StepTables } from "./phases.ts";
import type { WasmMemory } from "../../core/wasm/index.ts";

export interface FusedOptions {
  readonly config: OptimizerConfig;
  readonly layout: Layout;
  /** One group a parameter, in layout order. */
  readonly groups: readonly ParamGroup[];
  readonly params: FlatParams;
  /** Gradients; several buffers where backward stages ping-pong, and `step` says which one holds the result. */
  readonly grads: FlatParams | readonly FlatParams[];
  /** First moment (AdamW) or momentum buffer (SGD, LARS). */
  readonly mean: FlatParams;
  /** Second moment; AdamW only. */
  readonly square?: FlatParams;
  readonly teacher?: FlatParams;
  /** Of `allocShared`; the WebAssembly kernel runs when every buffer lies in it. */
  readonly memory?: WasmMemory | undefined;
  readonly threads: number;
  /** `auto` (default) = WebAssembly where it can run. Both give the same bits. */
  readonly kernel?: "auto" | "js" | "wasm";
  /** Updates so far of every parameter, from a checkpoint; missing names start at 0. */
  readonly stepCounts?: Readonly<Record<string, number>>;
}

export interface FusedStepOptions extends StepOptions {
  /** Which of `grads` holds the gradients; 0 by default. */
  readonly gradsIndex?: number;
  /** With false norms alone are taken and nothing is changed; true by default. */
  readonly apply?: boolean;
}

export interface FusedStepResult {
  /** ‖g‖ before clipping of every parameter; 0 where the gradient is dropped. */
  readonly gradNorms: ReadonlyMap<string, number>;
  readonly globalNorm: number;
  /** Parameters with a NaN or infinite gradient. When there are any, nothing has been changed. */
  readonly nonFinite: readonly string[];
  /** Whether anything was changed. */
  readonly applied: boolean;
}

export interface FusedOptimizer extends AsyncDisposable {
  readonly kernel: "js" | "wasm";
  readonly threads: number;
  /** Updates so far of every parameter (Adam's t; a parameter frozen at first starts later). Belongs into the checkpoint. */
  stepCounts(): Record<string, number>;
  /** One step in place. The gradients are left as they were. */
  step(options: FusedStepOptions): Promise<FusedStepResult>;
}

function makeTables(paramCount: number, sumCount: number): StepTables {
  return {
    modes: new Uint8Array(new SharedArrayBuffer(paramCount)),
    scalars: new Float32Array(new SharedArrayBuffer(paramCount * SCALARS_PER_PARAM * Float32Array.BYTES_PER_ELEMENT)),
    sums: new Float64Array(new SharedArrayBuffer(sumCount * Float64Array.BYTES_PER_ELEMENT)),
    next: new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)),
  };
}

function chooseWasm(options: FusedOptions, flats: readonly FlatParams[]): WasmParts | undefined {
  const { kernel = "auto", memory } = options;
  if (kernel === "js") return undefined;
  const module = memory !== undefined && flats.every(({ data }) => data.buffer === memory.buffer) ? compileOptimizerModule() : undefined;
  if (memory !== undefined && module !== undefined) return { module, memory };
  if (kernel === "auto") return undefined;
  throw new InternalError(
    'Cannot use the WebAssembly kernel: the buffers are not in one WebAssembly memory; use allocShared() or kernel "auto"',
  );
}

function checkOptions(options: FusedOptions, flats: readonly FlatParams[]): void {
  const { layout, groups, config, threads } = options;
  if (groups.length !== layout.entries.length)
    throw new InternalError(`Cannot open the optimizer: ${groups.length} groups for ${layout.entries.length} parameters; give one each`);
  if (layout.entries.length === 0) throw new InternalError("Cannot open the optimizer: there are no parameters; give at least one");
  if (flats.some(({ data }) => data.length !== layout.length))
    throw new InternalError(
      `Cannot open the optimizer: a buffer has another length than the layout's ${layout.length} floats; allocate it by this layout`,
    );
  if (config.kind === "adamw" && options.square === undefined)
    throw new InternalError("Cannot open AdamW: there is no buffer of squares; pass `square`");
  if (!(config.kind !== "adamw" || config.eps > 0)) throw new RangeError("Cannot open AdamW: eps is not above 0; give for example 1e-8");
  if (!Number.isInteger(threads) || threads < 1) throw new RangeError(`Cannot open the optimizer: ${threads} threads; give at least 1`);
}

/** Padding is read by the kernels and must be zero, whatever a caller wrote into the whole buffer before. */
function clearPadding(layout: Layout, flats: readonly FlatParams[]): void {
  for (const { data } of flats)
    for (const { offset, length, paddedLength } of layout.entries) data.fill(0, offset + length, offset + paddedLength);
}

/** Opens the optimizer and its threads. Buffers stay the caller's; close with `await using` or `[Symbol.asyncDispose]`. */
export function openFusedOptimizer(options: FusedOptions): FusedOptimizer {
  const { config, layout, params, mean, square, teacher, threads } = options;
  const grads = "layout" in options.grads ? [options.grads] : options.grads;
  const flats = [params, ...grads, mean, ...(square === undefined ? [] : [square]), ...(teacher === undefined ? [] : [teacher])];
  checkOptions(options, flats);
  clearPadding(layout, flats);
  const chunks = makeChunks(layout);
  const sumsPerChunk = config.kind === "lars" ? 3 : 1;
  const setup: JobSetup = {
    kind: config.kind === "adamw" ? "adamw" : "momentum",
    sumsPerChunk,
    buffers: { param: params.data, mean: mean.data, square: config.kind === "adamw" ? square?.data : undefined, teacher: teacher?.data },
    grads: grads.map(({ data }) => data),
    chunks,
    tables: makeTables(layout.entries.length, chunks.length * sumsPerChunk),
    wasm: chooseWasm(options, flats),
  };
  const t = Float64Array.from(layout.entries, ({ name }) => options.stepCounts?.[name] ?? 0);
  return new ThreadedOptimizer(options, { setup, t, crew: new Crew(setup, { threads, scalarsPerParam: config.kind === "adamw" ? 8 : 5 }) });
}

interface Internals {
  readonly setup: JobSetup;
  /** Updates so far by parameter index. */
  readonly t: Float64Array;
  readonly crew: Crew;
}

/** Adds up the chunks of every parameter, in chunk order. */
function sumByParam(
  chunks: readonly Chunk[],
  sums: Float64Array,
  options: { readonly perChunk: number; readonly which: number; readonly n: number },
): Float64Array {
  const { perChunk, which, n } = options;
  const byParam = new Float64Array(n);
  for (const [i, { param }] of chunks.entries()) byParam[param]! += sums[i * perChunk + which]!; // param < n, i < chunks.length
  return byParam;
}

class ThreadedOptimizer implements FusedOptimizer {
  readonly kernel: "js" | "wasm";
  readonly threads: number;
  readonly #options: FusedOptions;
  readonly #setup: JobSetup;
  readonly #t: Float64Array;
  readonly #crew: Crew;
  #busy = false;

  constructor(options: FusedOptions, { setup, t, crew }: Internals) {
    this.kernel = setup.wasm === undefined ? "js" : "wasm";
    this.threads = options.threads;
    this.#options = options;
    this.#setup = setup;
    this.#t = t;
    this.#crew = crew;
  }

  stepCounts(): Record<string, number> {
    return Object.fromEntries(this.#options.layout.entries.map(({ name, index }) => [name, this.#t[index] ?? 0]));
  }

  async step(options: FusedStepOptions): Promise<FusedStepResult> {
    this.#check(options);
    this.#busy = true;
    try {
      return await this.#step(options);
    } finally {
      this.#busy = false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#crew[Symbol.asyncDispose]();
  }

  async #step(options: FusedStepOptions): Promise<FusedStepResult> {
    const { gradsIndex = 0, emaMomentum, apply = true } = options;
    const { entries } = this.#options.layout;
    this.#setModes(options.frozenNow ?? new Set());
    await this.#run({ phase: "sums", gradsIndex });
    const squares = this.#sums(0);
    const nonFinite = entries.filter(({ index }) => !Number.isFinite(squares[index])).map(({ name }) => name);
    const gradNorms = new Map(entries.map(({ name, index }) => [name, Math.sqrt(squares[index] ?? 0)]));
    const globalNorm = Math.sqrt(squares.reduce((sum, square) => sum + square, 0));
    if (nonFinite.length > 0 || !apply) return { gradNorms, globalNorm, nonFinite, applied: false };
    this.#setScalars(options, squares);
    await this.#run({ phase: "apply", gradsIndex, emaRest: this.#options.teacher === undefined ? undefined : 1 - (emaMomentum ?? 1) });
    return { gradNorms, globalNorm, nonFinite, applied: true };
  }

  async #run(request: Parameters<Crew["run"]>[0]): Promise<void> {
    this.#setup.tables.next[0] = 0;
    await this.#crew.run(request);
  }

  #sums(which: number): Float64Array {
    const { chunks, tables, sumsPerChunk } = this.#setup;
    return sumByParam(chunks, tables.sums, { perChunk: sumsPerChunk, which, n: this.#t.length });
  }

  #setModes(frozenNow: ReadonlySet<string>): void {
    const { layout, groups } = this.#options;
    for (const { name, index } of layout.entries)
      this.#setup.tables.modes[index] = groups[index]?.frozen === true || frozenNow.has(name) ? MODE.emaOnly : MODE.update;
  }

  #setScalars(options: FusedStepOptions, squares: Float64Array): void {
    const { config, layout, groups } = this.#options;
    const { modes, scalars } = this.#setup.tables;
    const clips = clipCoefficients(
      options.clip,
      squares,
      groups.map(({ module }) => module),
    );
    const lars = config.kind === "lars" ? { paramParam: this.#sums(1), gradParam: this.#sums(2) } : undefined;
    for (const { index, name, shape } of layout.entries) {
      if (modes[index] !== MODE.update) continue;
      const { lrScale, weightDecay } = groups[index]!; // one group a parameter
      const step = {
        clip: clips[index] ?? 1,
        lr: options.restingNow?.has(name) === true ? 0 : options.lr * lrScale,
        weightDecay: weightDecay ? options.weightDecay : 0,
        t: ++this.#t[index]!, // one count a parameter
        oneDim: shape.length === 1,
        sums: { gradGrad: squares[index] ?? 0, paramParam: lars?.paramParam[index] ?? 0, gradParam: lars?.gradParam[index] ?? 0 },
      };
      scalars.set(kernelScalars(config, step), index * SCALARS_PER_PARAM);
    }
  }

  #check(options: FusedStepOptions): void {
    const { lr, weightDecay, emaMomentum, clip, gradsIndex = 0 } = options;
    if (this.#busy) throw new InternalError("Cannot step: the step before has not ended; await it first");
    const numbers = { lr, weightDecay, emaMomentum: emaMomentum ?? 0, clip: clip.kind === "none" ? 0 : clip.norm };
    for (const [name, value] of Object.entries(numbers))
      if (!Number.isFinite(value) || value < 0) throw new RangeError(`Cannot step: ${name} is ${value}; give a finite number of 0 or more`);
    if (this.#options.teacher !== undefined && emaMomentum === undefined)
      throw new InternalError("Cannot step: there is a teacher and no emaMomentum; pass it");
    if (gradsIndex >= this.#setup.grads.length)
      throw new InternalError(`Cannot step: there is no gradient buffer ${gradsIndex}; there are ${this.#setup.grads.length}`);
    for (const name of [...(options.frozenNow ?? []), ...(options.restingNow ?? [])]) entryOf(this.#options.layout, name);
  }
}
