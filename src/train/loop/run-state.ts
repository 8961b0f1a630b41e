/** @file What a checkpoint holds, and putting it back: student, teacher, optimizer, method state. */
import { join } from "node:path";
import { FormatError, type HostTensor, nameHint, sameShape, type Shape } from "../../core/index.ts";
import type { ParamSpec } from "../../nn/index.ts";
import { readSafetensors, type NamedTensors, writeSafetensors } from "../../weights/index.ts";
import type { Stepper } from "../stepper.ts";

type Views = ReadonlyMap<string, { readonly shape: Shape; readonly data: Float32Array }>;

function viewsOf(
  stepper: Stepper,
  flat: "params" | "teacher" | "mean" | "square",
  prefix = "",
): [string, { shape: Shape; data: Float32Array }][] {
  const from = stepper.flats[flat];
  return from === undefined ? [] : stepper.specs.map((s) => [prefix + s.name, { shape: s.shape, data: from.view(s.name) }]);
}

/** The float tensors of each file, in place. */
function filesOf(stepper: Stepper): ReadonlyMap<string, Views> {
  const state = [...stepper.state].map(([name, data]) => [name, { shape: [data.length], data }] as const);
  return new Map([
    ["student", new Map(viewsOf(stepper, "params"))],
    ["teacher", new Map(viewsOf(stepper, "teacher"))],
    ["optimizer", new Map([...viewsOf(stepper, "mean", "mean."), ...viewsOf(stepper, "square", "square.")])],
    ["method", new Map(state)],
  ]);
}

const STEP_COUNTS = "step_counts";

function host(views: Views): Map<string, HostTensor> {
  return new Map([...views].map(([name, { shape, data }]) => [name, { dtype: "f32", shape, data }]));
}

/** Writes the four files of a checkpoint (or the teacher's alone) into a folder. */
export async function writeState(dir: string, stepper: Stepper, only?: "teacher"): Promise<void> {
  for (const [name, views] of filesOf(stepper)) {
    if (only !== undefined && name !== only) continue;
    const tensors = host(views);
    if (name === "optimizer") {
      const counts = stepper.optimizer.stepCounts();
      tensors.set(STEP_COUNTS, {
        dtype: "i32",
        shape: [stepper.specs.length],
        data: Int32Array.from(stepper.specs, (s) => counts[s.name] ?? 0),
      });
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

/** Reads a checkpoint's files into the stepper; all are checked before the first number is changed. Returns Adam's step counts. */
export async function readState(dir: string, stepper: Stepper): Promise<void> {
  const copies: (() => void)[] = [];
  for (const [name, views] of filesOf(stepper)) {
    const file = join(dir, `${name}.safetensors`);
    const { tensors } = await readSafetensors(file);
    const wanted = new Map([...views].map(([key, { shape }]) => [key, shape] as const));
    if (name === "optimizer") wanted.set(STEP_COUNTS, [stepper.specs.length]);
    const mismatches = listMismatches(tensors, wanted);
    if (mismatches.length > 0)
      throw new FormatError(`Cannot resume from "${file}": ${mismatches.join("; ")}; use an older checkpoint or start anew with --init`, {
        file,
      });
    for (const [key, { data }] of views) copies.push(() => copyFloats(tensors.get(key), data));
  }
  for (const copy of copies) copy();
}

/** The updates of every parameter so far, of a checkpoint. */
export async function readStepCounts(dir: string, specs: readonly ParamSpec[]): Promise<Readonly<Record<string, number>>> {
  const { tensors } = await readSafetensors(join(dir, "optimizer.safetensors"), { names: [STEP_COUNTS] });
  const counts = tensors.get(STEP_COUNTS)?.data;
  return Object.fromEntries(specs.map((s, i) => [s.name, Number(counts?.[i] ?? 0)]));
}

function copyFloats(from: HostTensor | undefined, to: Float32Array): void {
  if (from?.data instanceof Float32Array) to.set(from.data);
}
