/** @file How a naming stores each parameter: a list of links from our (Meta's) names to stored parts, by which tensors are read and written. */
import { FormatError, type HostTensor, InternalError, sameShape, type Shape, sizeOf } from "../../core/index.ts";
import { toFloat32 } from "../half.ts";
import type { NamedTensors } from "../tensor-bytes.ts";

/** A stretch of a parameter's values. */
export interface Part {
  /** Its name in the file; undefined where the naming does not store it: it is left out when written and zero when read. */
  readonly name: string | undefined;
  readonly shape: Shape;
}

/** One parameter. */
export interface Link {
  /** Our name. */
  readonly name: string;
  readonly shape: Shape;
  /** Laid end to end, row-major, they are its values. */
  readonly parts: readonly Part[];
}

/** Names and shapes as stored. */
export type Shapes = ReadonlyMap<string, Shape>;

export function shapesOf(tensors: NamedTensors): Map<string, Shape> {
  return new Map([...tensors].map(([name, { shape }]) => [name, shape]));
}

/** What a file of this naming must hold. */
export function storedShapes(links: readonly Link[]): Map<string, Shape> {
  return new Map(links.flatMap(({ parts }) => parts.flatMap(({ name, shape }) => (name === undefined ? [] : [[name, shape] as const]))));
}

function floats(tensors: NamedTensors, name: string): Float32Array {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new InternalError(`Cannot rename weights: "${name}" is missing`);
  if (!/^(f|bf)/.test(tensor.dtype))
    throw new FormatError(
      `Cannot use weights: "${name}" holds ${tensor.dtype}; give float32, float16, bfloat16 or float64 (quantised weights are not known)`,
    );
  const { data } = toFloat32(tensor);
  if (!(data instanceof Float32Array)) throw new InternalError(`Cannot rename weights: "${name}" is no float32`);
  return data;
}

function lengthOf(parts: readonly Part[]): number {
  return parts.reduce((n, { shape }) => n + sizeOf(shape), 0);
}

/** Our tensors -> stored ones; parts are views of the given memory. Every parameter must be there in its shape. */
export function splitTensors(tensors: NamedTensors, links: readonly Link[]): Map<string, HostTensor> {
  const out = new Map<string, HostTensor>();
  for (const { name, parts } of links) {
    const data = floats(tensors, name);
    if (data.length !== lengthOf(parts)) throw new InternalError(`Cannot write "${name}": its parts are not the whole of it`);
    let at = 0;
    for (const part of parts) {
      const end = at + sizeOf(part.shape);
      if (part.name !== undefined) out.set(part.name, { dtype: "f32", shape: part.shape, data: data.subarray(at, end) });
      at = end;
    }
  }
  return out;
}

function join(tensors: NamedTensors, { shape, parts }: Link): Float32Array {
  const [only] = parts;
  if (parts.length === 1 && only?.name !== undefined) return floats(tensors, only.name);
  const data = new Float32Array(sizeOf(shape));
  let at = 0;
  for (const part of parts) {
    if (part.name !== undefined) data.set(floats(tensors, part.name), at);
    at += sizeOf(part.shape);
  }
  return data;
}

/** One parameter of its stored parts, as float32; what is whole in the file shares its memory. Names and shapes are checked before. */
export function joinTensor(tensors: NamedTensors, link: Link): HostTensor {
  return { dtype: "f32", shape: link.shape, data: join(tensors, link) };
}

/** Stored tensors, as float32 -> ours: `joinTensor` of every link. */
export function joinTensors(tensors: NamedTensors, links: readonly Link[]): Map<string, HostTensor> {
  return new Map(links.map((link) => [link.name, joinTensor(tensors, link)]));
}

/** What does not fit. */
export interface KeyReport {
  readonly missing: readonly (readonly [name: string, wanted: Shape])[];
  readonly extra: readonly string[];
  readonly wrong: readonly (readonly [name: string, found: Shape, wanted: Shape])[];
  /** Names that are there in their shapes. */
  readonly fits: number;
}

/** Compares what is there with what is wanted; `ignored` names, and tensors of no value, may be there. */
export function compareKeys(found: Shapes, wanted: Shapes, ignored: RegExp): KeyReport {
  const there = [...wanted].flatMap(([name, shape]) => {
    const got = found.get(name);
    return got === undefined ? [] : [[name, got, shape] as const];
  });
  const wrong = there.filter(([, got, shape]) => !sameShape(got, shape));
  return {
    missing: [...wanted].filter(([name]) => !found.has(name)),
    extra: [...found].filter(([name, shape]) => !wanted.has(name) && !ignored.test(name) && sizeOf(shape) > 0).map(([name]) => name),
    wrong,
    fits: there.length - wrong.length,
  };
}

export function isClean({ missing, extra, wrong }: KeyReport): boolean {
  return missing.length + extra.length + wrong.length === 0;
}

/** "0-3, 7" */
function ranges(numbers: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const n of numbers.toSorted((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last !== undefined && n === last[1] + 1) last[1] = n;
    else runs.push([n, n]);
  }
  return runs.map(([a, b]) => (a === b ? String(a) : `${a}-${b}`)).join(", ");
}

/** Names that differ in the number of their block only are told as one: `blocks.{0-11}.ls1.gamma`. */
function listNames(entries: readonly (readonly [name: string, note: string])[]): string {
  const blocks = new Map<string, number[]>();
  for (const [name, note] of entries) {
    const [, before = "", number, after = ""] = /^((?:.*?\.)?(?:blocks|layers?\d*|stages\.\d+)\.)(\d+)(\..*)$/.exec(name) ?? [];
    const key = number === undefined ? `${name}${note}` : `${before}{}${after}${note}`;
    const known = blocks.get(key) ?? [];
    if (number !== undefined) known.push(Number(number));
    blocks.set(key, known);
  }
  const told = ([key, numbers]: readonly [string, readonly number[]]): string =>
    key.replace("{}", numbers.length === 1 ? String(numbers[0]) : `{${ranges(numbers)}}`);
  return [...blocks].map(told).join(", ");
}

/** Everything that does not fit, in one sentence without an end. */
export function describeReport({ missing, extra, wrong }: KeyReport): string {
  const shown = (shape: Shape): string => `[${shape.join(",")}]`;
  const parts = [
    [missing, "missing", missing.map(([name, shape]) => [name, ` ${shown(shape)}`] as const)],
    [extra, "extra", extra.map((name) => [name, ""] as const)],
    [wrong, "wrongly shaped", wrong.map(([name, got, wanted]) => [name, ` ${shown(got)} instead of ${shown(wanted)}`] as const)],
  ] as const;
  return parts
    .filter(([all]) => all.length > 0)
    .map(([all, what, entries]) => `${all.length} ${what} (${listNames(entries)})`)
    .join(", ");
}
