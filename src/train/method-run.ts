/** @file A method compiled for its crop sizes: feeds its parts, runs them in order, and hands values from one to the next. */
import { InternalError, type Rng, type TypedArray } from "../core/index.ts";
import type { Program } from "../engine/runtime/index.ts";
import type { Method } from "../methods/index.ts";
import { allocLike, type Piece, putPiece, takePiece } from "./hand-over.ts";
import { type CompileContext, type CompiledPart, compileMethod, floats } from "./programs.ts";

/** What the students' programs of a step gave, added up. */
export interface Tally {
  loss: number;
  readonly parts: Record<string, number>;
  /** Which of the two gradient buffers was written last. */
  gradsIndex: number;
}

export interface MethodInputs {
  /** Crops of the whole batch by name. */
  readonly crops: Readonly<Record<string, Float32Array | undefined>>;
  /** Scalar inputs by name. */
  readonly numbers: Readonly<Record<string, number>>;
  readonly step: number;
  readonly rng: Rng;
  readonly signal: AbortSignal | undefined;
}

const WHOLE: Piece = { index: 0, count: 1 };

/** The parts of one method over the learners' buffers. State is read from and written to the `state` it was compiled over. */
export class MethodRun implements Disposable {
  readonly method: Method;
  readonly #state: ReadonlyMap<string, Float32Array>;
  readonly #parts: readonly CompiledPart[];
  /** Values of the whole batch, by name. */
  readonly #values = new Map<string, TypedArray>();
  /** Buffers of inputs that hold the pieces of this micro-batch already: parts share them. */
  readonly #fed = new Map<TypedArray, number>();

  constructor(method: Method, context: CompileContext) {
    this.method = method;
    this.#state = context.state;
    this.#parts = compileMethod(method, context);
  }

  get programs(): readonly Program[] {
    return this.#parts.flatMap(({ programs }) => programs);
  }

  /** Forward and backward of every part; gradients are in the learners' buffers afterwards. */
  async run({ crops, numbers, step, rng, signal }: MethodInputs): Promise<Tally> {
    for (const [name, value] of [...Object.entries(crops), ...this.method.draw({ rng, step })])
      if (value !== undefined) this.#values.set(name, value);
    this.#fed.clear();
    const tally: Tally = { loss: 0, parts: {}, gradsIndex: 0 };
    const count = this.method.batchSize / this.method.microBatchSize;
    for (const phase of phases(this.#parts)) {
      const pieces = phase[0]?.part.per === "batch" ? [WHOLE] : Array.from({ length: count }, (_, index) => ({ index, count }));
      for (const piece of pieces)
        for (const compiled of phase) {
          const program = programOf(compiled, piece);
          this.#feed(program, piece, numbers);
          await program.run({ signal });
          this.#collect(program, piece);
          if (compiled.part.learner !== undefined) addTo(tally, program, compiled.programs.indexOf(program));
        }
    }
    return tally;
  }

  /** The last value that some part gave out under a name. */
  output(name: string): TypedArray | undefined {
    return this.programs.find(({ outputs }) => outputs.has(name))?.outputs.get(name);
  }

  /** The scalars that parts over the whole batch gave out. */
  watched(): Record<string, number> {
    const found: Record<string, number> = {};
    for (const { part, programs } of this.#parts)
      if (part.per === "batch")
        for (const [name, view] of programs[0]?.outputs ?? [])
          if (view instanceof Float32Array && view.length === 1 && !this.#state.has(name)) found[name] = view[0] ?? NaN;
    return found;
  }

  /** Puts numbers and the values of the batch, or of one micro-batch, into a program's inputs. */
  #feed(program: Program, piece: Piece, numbers: MethodInputs["numbers"]): void {
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
      const state = this.#state.get(name);
      if (state !== undefined && view instanceof Float32Array) state.set(view);
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

  [Symbol.dispose](): void {
    for (const p of this.programs) p[Symbol.dispose]();
  }
}

/** The first micro-batch has a program; two more add to each other's gradients in turn. */
function programOf({ programs }: CompiledPart, { index }: Piece): Program {
  const program = programs[index === 0 || programs.length === 1 ? 0 : 2 - (index % 2)];
  if (program === undefined) throw new InternalError(`Cannot step: there is no program for micro-batch ${index}`);
  return program;
}

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
