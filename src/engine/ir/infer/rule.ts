/** @file What a shape rule is, and the checks that rules share. */
import { DTypeError, formatType, type Shape, ShapeError } from "../../../core/index.ts";
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

/** The inputs, counted. */
export function arity(op: OpName, inputs: readonly ValueType[], n: number): readonly ValueType[] {
  if (inputs.length !== n) fail(op, inputs, `takes ${n} inputs, got ${inputs.length}`);
  return inputs;
}

export function sameDtype(op: OpName, inputs: readonly ValueType[]): void {
  const first = inputs[0]?.dtype;
  if (inputs.some((t) => t.dtype !== first))
    throw new DTypeError(`Cannot ${op} ${inputs.map(show).join(", ")}: element types differ; cast one of them`);
}

/** NumPy's broadcast of two shapes. */
export function broadcastShapes(op: OpName, a: ValueType, b: ValueType): Shape {
  const rank = Math.max(a.shape.length, b.shape.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a.shape[a.shape.length - rank + i] ?? 1;
    const y = b.shape[b.shape.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) fail(op, [a, b], `axis ${i} is ${x} on one side and ${y} on the other`);
    return x === 1 ? y : x;
  });
}

export function axisOf(op: OpName, t: ValueType, axis: number): number {
  if (!Number.isInteger(axis) || axis < 0 || axis >= t.shape.length) fail(op, [t], `there is no axis ${axis}`);
  return axis;
}

/** The dimension of an axis known to exist. */
export function dim(t: ValueType, axis: number): number {
  return t.shape.at(axis) ?? 1;
}
