/** @file The parts of a method as programs of a device over flat buffers, and the values that pass between them. */
import { InternalError, type TypedArray } from "../core/index.ts";
import { optimize } from "../engine/passes/index.ts";
import type { Arena, Device, Program } from "../engine/runtime/index.ts";
import type { Method, Part } from "../methods/index.ts";
import type { ParamSpec } from "../nn/index.ts";
import type { FlatParams } from "../optim/index.ts";

/** Everything of one learner that a run changes, one buffer a kind. */
export type Flats = {
  readonly params: FlatParams;
  readonly teacher: FlatParams;
  readonly grads: FlatParams;
  readonly grads2?: FlatParams;
  readonly mean: FlatParams;
  readonly square?: FlatParams;
};

/** A part with its programs: one, or where gradients are added up three: the first micro-batch's, then two that add to each other's. */
export interface CompiledPart {
  readonly part: Part;
  readonly programs: readonly Program[];
}

export interface CompileContext {
  readonly device: Device;
  /** Memory that all programs of a step share: they run one after the other. */
  readonly arena: Arena;
  readonly learners: ReadonlyMap<string, Flats>;
  readonly fixed: ReadonlyMap<string, FlatParams>;
  readonly state: ReadonlyMap<string, Float32Array>;
  readonly checkpointing: boolean;
}

/** The views of a flat buffer under the names a program uses. */
function named(flat: FlatParams, specs: readonly ParamSpec[], prefix: string): [string, Float32Array][] {
  return specs.map((s) => [prefix + s.name, flat.view(s.name)]);
}

/** Parameters and state under the names that parts give them. */
function lasting(method: Method, { learners, fixed, state }: CompileContext): [string, TypedArray][] {
  const ofLearners = method.learners.flatMap(({ name, follower, specs }) => {
    const flats = learners.get(name);
    return flats === undefined ? [] : [...named(flats.params, specs, `${name}.`), ...named(flats.teacher, specs, `${follower}.`)];
  });
  const ofFixed = method.fixed.flatMap(({ name, specs }) => {
    const flat = fixed.get(name);
    return flat === undefined ? [] : named(flat, specs, `${name}.`);
  });
  return [...ofLearners, ...ofFixed, ...state];
}

/**
 * Compiles every part. A value that an earlier part gives out, or takes in from the host, is the later one's in place
 * where both see it whole; else it is copied piece by piece.
 */
export function compileMethod(method: Method, context: CompileContext): CompiledPart[] {
  const whole = method.batchSize === method.microBatchSize;
  const inputs = new Map(lasting(method, context));
  return method.parts.map((part) => {
    const programs = compilePart(part, method, { ...context, inputs });
    for (const program of programs) {
      const seen = whole ? [...program.inputs, ...program.outputs] : [];
      for (const [name, view] of seen) if (method.cuts.has(name)) inputs.set(name, view);
    }
    return { part, programs };
  });
}

function compilePart(
  part: Part,
  method: Method,
  { device, arena, inputs, learners, checkpointing }: CompileContext & { readonly inputs: ReadonlyMap<string, TypedArray> },
): Program[] {
  const learner = method.learners.find(({ name }) => name === part.learner);
  const flats = learners.get(part.learner ?? "");
  if (learner === undefined || flats === undefined) return [device.compile(optimize(part.trace({ running: false })), { inputs, arena })];
  const prepare = checkpointing ? { checkpoint: (region: string) => region.includes("blocks.") } : {};
  const compile = (running: FlatParams | undefined, to: FlatParams): Program =>
    device.compile(optimize(part.trace({ running: running !== undefined }), prepare), {
      inputs: new Map([...inputs, ...(running === undefined ? [] : named(running, learner.specs, "running."))]),
      outputs: new Map(named(to, learner.specs, "")),
      arena,
    });
  const { grads, grads2 } = flats;
  return grads2 === undefined ? [compile(undefined, grads)] : [compile(undefined, grads), compile(grads, grads2), compile(grads2, grads)];
}

/** A float32 buffer of a program by name. Throws InternalError when it has none. */
export function floats(program: Program, side: "inputs" | "outputs", name: string): Float32Array {
  const view = program[side].get(name);
  if (!(view instanceof Float32Array)) throw new InternalError(`Cannot step: the program has no float32 ${side.slice(0, -1)} "${name}"`);
  return view;
}
