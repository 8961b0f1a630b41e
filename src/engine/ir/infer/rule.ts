/** @file What a shape rule is, and the checks that rules share. */
import { type DType, DTypeError, formatType, type Shape, ShapeError } from "../../../core/index.ts";
import type { OpName, OpParams, ValueType } from "../types.ts";

/** Types of the inputs and the parameters -> types of the outputs; throws ShapeError or DTypeError. */
export type InferRule<K extends OpName> = (inputs: readonly ValueType[], params: OpParams[K]) => readonly ValueType[];

/** Rules of a family of ops. */
export type InferTable<Names extends OpName> = { readonly [K in Names]: InferRule<K> };

export function show(t: ValueType): string {
  return formatType(t.dtype, t.shape);
}

export function fail(op: OpName, inputs: readonly ValueType[], state: string): never {
  throw new ShapeError(`Cannot ${op} ${inputs.map(show).join(", ")}: ${state}`);
}

export function failDtype(op: OpName, inputs: readonly ValueType[], state: string): never {
  throw new DTypeError(`Cannot ${op} ${inputs.map(show).join(", ")}: ${state}`);
}

type One = ValueType;
interface Tuples {
  readonly 0: readonly [];
  readonly 1: readonly [One];
  readonly 2: readonly [One, One];
  readonly 3: readonly [One, One, One];
  readonly 4: readonly [One, One, One, One];
  readonly 5: readonly [One, One, One, One, One];
}

function isTuple<N extends keyof Tuples>(inputs: readonly ValueType[], n: N): inputs is Tuples[N] {
  return inputs.length === n;
}

/** The inputs, counted. */
export function arity<N extends keyof Tuples>(op: OpName, inputs: readonly ValueType[], n: N): Tuples[N] {
  return isTuple(inputs, n) ? inputs : fail(op, inputs, `${inputs.length} inputs were given; pass ${n}`);
}

export function sameDtype(op: OpName, inputs: readonly ValueType[]): void {
  const first = inputs[0]?.dtype;
  if (inputs.some((t) => t.dtype !== first)) failDtype(op, inputs, "element types differ; cast one of them");
}

const FLOATS: ReadonlySet<DType> = new Set<DType>(["f32", "f64", "bf16"]);

export function isFloat(dtype: DType): boolean {
  return FLOATS.has(dtype);
}

/** Refuses integers and bool, which the op has no meaning or no kernel for. */
export function floats(op: OpName, inputs: readonly ValueType[]): void {
  if (inputs.some((t) => !isFloat(t.dtype))) failDtype(op, inputs, "takes floating point values; cast to float32 first");
}

/** Refuses bool. */
export function numbers(op: OpName, inputs: readonly ValueType[]): void {
  if (inputs.some((t) => t.dtype === "bool")) failDtype(op, inputs, "takes numbers; cast bool to another type first");
}

/** A shape that was given by hand: whole numbers of 0 or more. */
export function checkShape(op: string, { dtype, shape }: ValueType): void {
  if (shape.some((d) => !Number.isSafeInteger(d) || d < 0))
    throw new ShapeError(`Cannot ${op} ${formatType(dtype, shape)}: a size is not a whole number of 0 or more; correct the shape`);
}

/** NumPy's broadcast of two shapes. */
export function broadcastShapes(op: OpName, a: ValueType, b: ValueType): Shape {
  const rank = Math.max(a.shape.length, b.shape.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a.shape[a.shape.length - rank + i] ?? 1;
    const y = b.shape[b.shape.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1)
      fail(op, [a, b], `axis ${i} is ${x} on one side and ${y} on the other; make them equal or one of them 1`);
    return x === 1 ? y : x;
  });
}

export function axisOf(op: OpName, t: ValueType, axis: number): number {
  if (!Number.isInteger(axis) || axis < 0 || axis >= t.shape.length)
    fail(op, [t], `there is no axis ${axis}; ${t.shape.length === 0 ? "a scalar has none" : `use 0 to ${t.shape.length - 1}`}`);
  return axis;
}

/** The dimension of an axis known to exist. */
export function dim(t: ValueType, axis: number): number {
  return t.shape.at(axis) ?? 1;
}
