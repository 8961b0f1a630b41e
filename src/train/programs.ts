/** @file The traced parts of a DINO step as programs of a device over one set of flat buffers. */
import { InternalError, type TypedArray } from "../core/index.ts";
import { optimize } from "../engine/passes/index.ts";
import type { Device, Program } from "../engine/runtime/index.ts";
import { type DinoConfig, traceStudent, traceTargets, traceTeacher } from "../methods/index.ts";
import type { ParamSpec } from "../nn/index.ts";
import type { FlatParams } from "../optim/index.ts";

/** Everything a run changes, one buffer a kind. */
export type Flats = {
  readonly params: FlatParams;
  readonly teacher: FlatParams;
  readonly grads: FlatParams;
  readonly grads2?: FlatParams;
  readonly mean: FlatParams;
  readonly square?: FlatParams;
};

/** The views of a flat buffer under the names a program uses. */
function named(flat: FlatParams, specs: readonly ParamSpec[], prefix: string): [string, Float32Array][] {
  return specs.map((s) => [prefix + s.name, flat.view(s.name)]);
}

/** A float32 buffer of a program by name. Throws InternalError when it has none. */
export function floats(program: Program, side: "inputs" | "outputs", name: string): Float32Array {
  const view = program[side].get(name);
  if (!(view instanceof Float32Array)) throw new InternalError(`Cannot step: the program has no float32 ${side.slice(0, -1)} "${name}"`);
  return view;
}

export interface DinoPrograms {
  readonly teacher: Program;
  readonly targets: Program;
  /** First micro-batch, then two that add to each other's gradients. */
  readonly students: readonly Program[];
}

interface CompileContext {
  readonly device: Device;
  readonly specs: readonly ParamSpec[];
  readonly flats: Flats;
  readonly state: ReadonlyMap<string, Float32Array>;
  readonly checkpointing: boolean;
}

/** Compiles teacher, targets and student. Without accumulation they hand values to each other in place. */
export function compileDino(config: DinoConfig, context: CompileContext): DinoPrograms {
  const { device, specs, flats, state } = context;
  const whole = config.batchSize === config.microBatchSize;
  const teacher = device.compile(optimize(traceTeacher(config)), {
    inputs: new Map([...named(flats.teacher, specs, "teacher."), ...state]),
  });
  const logits: [string, Float32Array][] = whole ? [["logits", floats(teacher, "outputs", "logits")]] : [];
  const targets = device.compile(optimize(traceTargets(config)), { inputs: new Map([...logits, ...state]) });
  const handed: [string, Float32Array][] = whole
    ? [
        ["targets", floats(targets, "outputs", "targets")],
        ["globals", floats(teacher, "inputs", "globals")],
      ]
    : [];
  const student = (running: FlatParams | undefined, to: FlatParams): Program => compileStudent(config, { ...context, running, to, handed });
  const { grads, grads2 } = flats;
  const students =
    grads2 === undefined ? [student(undefined, grads)] : [student(undefined, grads), student(grads, grads2), student(grads2, grads)];
  return { teacher, targets, students };
}

interface StudentContext extends CompileContext {
  /** Gradients so far, which this program adds to. */
  readonly running: FlatParams | undefined;
  readonly to: FlatParams;
  readonly handed: readonly (readonly [string, Float32Array])[];
}

function compileStudent(config: DinoConfig, { device, specs, flats, state, checkpointing, running, to, handed }: StudentContext): Program {
  const prepare = checkpointing ? { checkpoint: (region: string) => region.includes("blocks.") } : {};
  const inputs = new Map<string, TypedArray>([
    ...named(flats.params, specs, "student."),
    ...state,
    ...(running === undefined ? [] : named(running, specs, "running.")),
    ...handed,
  ]);
  return device.compile(optimize(traceStudent(config, { running: running !== undefined }), prepare), {
    inputs,
    outputs: new Map(named(to, specs, "")),
  });
}
