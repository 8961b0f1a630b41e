/** @file What a checkpoint holds, and putting it back: student, teacher, optimizer, method state. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { FormatError, type HostTensor, nameHint, sameShape, type Shape } from "../../core/index.ts";
import type { Learner, Method } from "../../methods/index.ts";
import type { ParamSpec } from "../../nn/index.ts";
import type { FlatParams } from "../../optim/index.ts";
import { readSafetensors, type NamedTensors, writeSafetensors } from "../../weights/index.ts";
import type { Stepper } from "../stepper.ts";

type Views = ReadonlyMap<string, { readonly shape: Shape; readonly data: Float32Array }>;
type View = [string, { shape: Shape; data: Float32Array }];

function viewsOf(specs: readonly ParamSpec[], flat: FlatParams | undefined, prefix = ""): View[] {
  return flat === undefined ? [] : specs.map((s) => [prefix + s.name, { shape: s.shape, data: flat.view(s.name) }]);
}

const STEP_COUNTS = "step_counts";

/** Suffix of a learner's files: none for the first one. */
function suffixOf(method: Method, { name }: Learner): string {
  return name === method.learners[0].name ? "" : `-${name}`;
}

/** The file of a learner's optimizer. */
function optimizerFile(method: Method, learner: Learner): string {
  return `optimizer${suffixOf(method, learner)}`;
}

/** The float tensors of each file, in place. */
function filesOf({ method, learners, fixed, state }: Stepper): ReadonlyMap<string, Views> {
  const ofLearners = learners.flatMap(({ learner, flats: { params, teacher, mean, square } }): [string, Views][] => {
    const suffix = suffixOf(method, learner);
    const { specs } = learner;
    return [
      [`student${suffix}`, new Map(viewsOf(specs, params))],
      [`teacher${suffix}`, new Map(viewsOf(specs, teacher))],
      [optimizerFile(method, learner), new Map([...viewsOf(specs, mean, "mean."), ...viewsOf(specs, square, "square.")])],
    ];
  });
  const changing = method.fixed.filter(({ changes }) => changes);
  return new Map([
    ...ofLearners,
    ...changing.map(({ name, specs }): [string, Views] => [name, new Map(viewsOf(specs, fixed.get(name)))]),
    ["method", new Map([...state].map(([name, data]) => [name, { shape: [data.length], data }] as const))],
  ]);
}

function host(views: Views): Map<string, HostTensor> {
  return new Map([...views].map(([name, { shape, data }]) => [name, { dtype: "f32", shape, data }]));
}

/** The file of a network that never changes: a frozen teacher. */
function frozenFile(name: string): string {
  return `frozen-${name}`;
}

/** The networks that never change, in place. A run holds them once. */
function frozenOf({ method, fixed }: Stepper): ReadonlyMap<string, Views> {
  const frozen = method.fixed.filter(({ changes }) => !changes);
  return new Map(frozen.map(({ name, specs }) => [frozenFile(name), new Map(viewsOf(specs, fixed.get(name)))]));
}

/** Writes the networks that never change into a folder, so that it does not depend on the run that they come from. */
export async function writeFrozen(dir: string, stepper: Stepper): Promise<void> {
  for (const [name, views] of frozenOf(stepper)) await writeSafetensors(join(dir, `${name}.safetensors`), host(views), { format: "pt" });
}

/** Whether a folder holds the networks that never change, as writeFrozen leaves them. */
export async function hasFrozen(dir: string, stepper: Stepper): Promise<boolean> {
  const there = await Promise.all(
    [...frozenOf(stepper).keys()].map((name) => stat(join(dir, `${name}.safetensors`)).catch(() => undefined)),
  );
  return there.every((found) => found !== undefined);
}

/** The mirror of writeFrozen. Throws FormatError. */
export async function readFrozen(dir: string, stepper: Stepper): Promise<void> {
  for (const [name, views] of frozenOf(stepper)) {
    const file = join(dir, `${name}.safetensors`);
    const { tensors } = await readSafetensors(file);
    const mismatches = listMismatches(tensors, new Map([...views].map(([key, { shape }]) => [key, shape] as const)));
    if (mismatches.length > 0)
      throw new FormatError(`Cannot read the frozen network "${file}": ${mismatches.join("; ")}; put the file back from a copy`, { file });
    for (const [key, { data }] of views) copyFloats(tensors.get(key), data);
  }
}

/** Writes the files of a checkpoint (or the teacher's alone) into a folder. */
export async function writeState(dir: string, stepper: Stepper, only?: "teacher"): Promise<void> {
  for (const [name, views] of filesOf(stepper)) {
    if (only !== undefined && !name.startsWith(only)) continue;
    const tensors = host(views);
    for (const { learner, optimizer } of stepper.learners) {
      if (name !== optimizerFile(stepper.method, learner)) continue;
      const counts = optimizer.stepCounts();
      const data = Int32Array.from(learner.specs, (s) => counts[s.name] ?? 0);
      tensors.set(STEP_COUNTS, { dtype: "i32", shape: [data.length], data });
    }
    await writeSafetensors(join(dir, `${name}.safetensors`), tensors, { format: "pt" });
  }
}

/** Every difference between the tensors of a file and those wanted, in words; empty when they fit. */
export function listMismatches(tensors: NamedTensors, wanted: ReadonlyMap<string, Shape>): readonly string[] {
  const missing = [...wanted.keys()].filter((name) => !tensors.has(name));
  const extra = [...tensors.keys()].filter((name) => !wanted.has(name));
  const wrong = [...wanted].flatMap(([name, shape]) => {
    const found = tensors.get(name);
    return found === undefined || sameShape(found.shape, shape)
      ? []
      : `${name} is [${found.shape.join(", ")}] and should be [${shape.join(", ")}]`;
  });
  const some = (names: readonly string[]): string =>
    `${names.slice(0, 8).join(", ")}${names.length > 8 ? `, and ${names.length - 8} more` : ""}`;
  return [
    ...(missing.length > 0 ? [`${missing.length} missing (${some(missing)})`] : []),
    ...(extra.length > 0 ? [`${extra.length} extra (${some(extra)}; ${nameHint(extra[0] ?? "", wanted.keys())})`] : []),
    ...(wrong.length > 0 ? [`${wrong.length} of another shape (${some(wrong)})`] : []),
  ];
}

/** Reads a checkpoint's files into the stepper; all (or those named) are checked before the first number is changed. */
export async function readState(dir: string, stepper: Stepper, { only }: { readonly only?: readonly string[] } = {}): Promise<void> {
  const copies: (() => void)[] = [];
  for (const [name, views] of filesOf(stepper)) {
    if (only !== undefined && !only.includes(name)) continue;
    const file = join(dir, `${name}.safetensors`);
    const { tensors } = await readSafetensors(file);
    const wanted = new Map([...views].map(([key, { shape }]) => [key, shape] as const));
    for (const { learner } of stepper.learners)
      if (name === optimizerFile(stepper.method, learner)) wanted.set(STEP_COUNTS, [learner.specs.length]);
    const mismatches = listMismatches(tensors, wanted);
    if (mismatches.length > 0)
      throw new FormatError(`Cannot resume from "${file}": ${mismatches.join("; ")}; use an older checkpoint or start anew with --init`, {
        file,
      });
    for (const [key, { data }] of views) copies.push(() => copyFloats(tensors.get(key), data));
  }
  for (const copy of copies) copy();
}

/** The updates of every parameter so far, of a checkpoint, by learner. */
export async function readStepCounts(dir: string, method: Method): Promise<Readonly<Record<string, Readonly<Record<string, number>>>>> {
  const all: Record<string, Record<string, number>> = {};
  for (const learner of method.learners) {
    const { tensors } = await readSafetensors(join(dir, `${optimizerFile(method, learner)}.safetensors`), { names: [STEP_COUNTS] });
    const counts = tensors.get(STEP_COUNTS)?.data;
    all[learner.name] = Object.fromEntries(learner.specs.map((s, i) => [s.name, Number(counts?.[i] ?? 0)]));
  }
  return all;
}

function copyFloats(from: HostTensor | undefined, to: Float32Array): void {
  if (from?.data instanceof Float32Array) to.set(from.data);
}
