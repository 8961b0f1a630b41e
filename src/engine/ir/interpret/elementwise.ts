/** @file Interpreter rules of elementwise ops. */
import { isFloat } from "../infer/rule.ts";
import type { CompareDirection, ElementwiseOp } from "../types.ts";
import { erf } from "./erf.ts";
import { cell, type Cell, type EvalTable, fill, input, read } from "./rule.ts";

function unary(fn: (x: number) => number): (inputs: readonly Cell[]) => readonly Cell[] {
  return (inputs) => {
    const x = input(inputs, 0);
    const out = cell(x.shape);
    x.data.forEach((v, i) => {
      out.data[i] = fn(v);
    });
    return [out];
  };
}

function outShape(cells: readonly Cell[]): number[] {
  const rank = Math.max(...cells.map((c) => c.shape.length));
  return Array.from({ length: rank }, (_, i) => Math.max(...cells.map((c) => c.shape[c.shape.length - rank + i] ?? 1)));
}

function binary(fn: (a: number, b: number) => number): (inputs: readonly Cell[]) => readonly Cell[] {
  return (inputs) => {
    const [a, b] = [input(inputs, 0), input(inputs, 1)];
    return [fill(outShape([a, b]), (at) => fn(read(a, at), read(b, at)))];
  };
}

const COMPARE: { readonly [K in CompareDirection]: (a: number, b: number) => boolean } = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
  gt: (a, b) => a > b,
  ge: (a, b) => a >= b,
};

/** x Φ(x), Φ the normal distribution function. */
export function geluOf(x: number): number {
  return 0.5 * x * (1 + erf(x / Math.SQRT2));
}

export const ELEMENTWISE: EvalTable<ElementwiseOp> = {
  neg: unary((x) => -x),
  abs: unary(Math.abs),
  sign: unary(Math.sign),
  exp: unary(Math.exp),
  log: unary(Math.log),
  sqrt: unary(Math.sqrt),
  rsqrt: unary((x) => 1 / Math.sqrt(x)),
  tanh: unary(Math.tanh),
  relu: unary((x) => Math.max(x, 0)),
  sigmoid: unary((x) => 1 / (1 + Math.exp(-x))),
  erf: unary(erf),
  sin: unary(Math.sin),
  cos: unary(Math.cos),
  gelu: unary(geluOf),
  cast: (inputs, { dtype }) => {
    if (dtype === "bool") return unary((x) => Number(x !== 0))(inputs);
    return unary(isFloat(dtype) ? (x) => x : Math.trunc)(inputs); // floats of any width are float64 here
  },
  add: binary((a, b) => a + b),
  sub: binary((a, b) => a - b),
  mul: binary((a, b) => a * b),
  div: binary((a, b) => a / b),
  min: binary(Math.min),
  max: binary(Math.max),
  compare: (inputs, { direction }) => binary((a, b) => Number(COMPARE[direction](a, b)))(inputs),
  select: (inputs) => {
    const [c, a, b] = [input(inputs, 0), input(inputs, 1), input(inputs, 2)];
    return [fill(outShape([c, a, b]), (at) => (read(c, at) === 0 ? read(b, at) : read(a, at)))];
  },
  stopGradient: unary((x) => x),
  barrier: unary((x) => x),
  allReduce: unary((x) => x),
};
