/** @file What an interpreter rule is: straight loops in float64, slow and obvious, the truth of the tests. */
import { type Shape, sizeOf } from "../../../core/index.ts";
import type { Node, OpName } from "../types.ts";

/** A value at interpretation: every dtype is held in float64 (bool as 0 and 1). */
export interface Cell {
  readonly shape: Shape;
  readonly data: Float64Array;
}

export type EvalRule<K extends OpName> = (inputs: readonly Cell[], params: Node<K>["params"]) => readonly Cell[];
export type EvalTable<Names extends OpName> = { readonly [K in Names]: EvalRule<K> };

export function cell(shape: Shape): Cell {
  return { shape, data: new Float64Array(sizeOf(shape)) };
}

/** Fills a new cell by a function of the coordinates. */
export function fill(shape: Shape, fn: (at: number[], flat: number) => number): Cell {
  const out = cell(shape);
  const at = Array<number>(shape.length).fill(0);
  for (let flat = 0; flat < out.data.length; flat++) {
    out.data[flat] = fn(at, flat);
    for (let i = shape.length - 1; i >= 0; i--) {
      at[i] = (at[i] ?? 0) + 1;
      if ((at[i] ?? 0) < (shape[i] ?? 1)) break;
      at[i] = 0;
    }
  }
  return out;
}

/** The value at coordinates, where missing leading axes and axes of 1 are broadcast. */
export function read(x: Cell, at: readonly number[]): number {
  const lead = at.length - x.shape.length;
  let flat = 0;
  for (let i = 0; i < x.shape.length; i++) {
    const n = x.shape[i] ?? 1;
    flat = flat * n + (n === 1 ? 0 : (at[lead + i] ?? 0));
  }
  return x.data[flat] ?? NaN;
}

/** Input i of a rule; its presence was checked when the graph was built. */
export function input(inputs: readonly Cell[], i: number): Cell {
  const x = inputs[i];
  if (x === undefined) throw new RangeError(`Cannot read input ${i}: there are ${inputs.length}; one of its rules is wrong`);
  return x;
}

/** The rows of a cell along its last axis. */
export function rowsOf(x: Cell): Float64Array[] {
  const d = x.shape.at(-1) ?? 1;
  return Array.from({ length: x.data.length / d }, (_, r) => x.data.subarray(r * d, (r + 1) * d));
}

/** Applies a function to each row along the last axis. */
export function mapRows(x: Cell, fn: (row: Float64Array, index: number) => Float64Array): Cell {
  const out = cell(x.shape);
  const d = x.shape.at(-1) ?? 1;
  rowsOf(x).forEach((row, r) => out.data.set(fn(row, r), r * d));
  return out;
}
