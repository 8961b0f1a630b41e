/** @file Interpreter rules of ops that move values without computing. */
import { numbersOf } from "../numbers.ts";
import type { ShapeOp } from "../types.ts";
import { cell, type Cell, type EvalTable, fill, input, read } from "./rule.ts";

/** Holds a caller to the promise that no index comes twice. */
function checkUnique(op: "gather" | "scatterAdd", { data }: Cell): void {
  const twice = data.find((index, i) => data.indexOf(index) !== i);
  if (twice !== undefined)
    throw new RangeError(`Cannot ${op}: index ${twice} comes twice, though the trace promises unique ones; leave \`unique\` out`);
}

export const SHAPE_OPS: EvalTable<ShapeOp> = {
  constant: (_, { shape, data }) => [{ shape, data: Float64Array.from(numbersOf(data)) }],
  iota: (_, { shape, axis }) => [fill(shape, (at) => at[axis] ?? 0)],
  reshape: (inputs, { shape }) => [{ shape, data: input(inputs, 0).data.slice() }],
  transpose: (inputs, { perm }) => {
    const x = input(inputs, 0);
    return [
      fill(
        perm.map((p) => x.shape[p] ?? 1),
        (at) => {
          const from = Array<number>(perm.length).fill(0);
          perm.forEach((p, i) => {
            from[p] = at[i] ?? 0;
          });
          return read(x, from);
        },
      ),
    ];
  },
  broadcast: (inputs, { shape }) => [fill(shape, (at) => read(input(inputs, 0), at))],
  slice: (inputs, { starts, limits }) => [
    fill(
      starts.map((s, i) => (limits[i] ?? s) - s),
      (at) =>
        read(
          input(inputs, 0),
          at.map((a, i) => a + (starts[i] ?? 0)),
        ),
    ),
  ],
  pad: (inputs, { low, high }) => {
    const x = input(inputs, 0);
    const shape = x.shape.map((d, i) => d + (low[i] ?? 0) + (high[i] ?? 0));
    return [
      fill(shape, (at) => {
        const from = at.map((a, i) => a - (low[i] ?? 0));
        return from.every((a, i) => a >= 0 && a < (x.shape[i] ?? 0)) ? read(x, from) : 0;
      }),
    ];
  },
  concat: (inputs, { axis }) => {
    const total = inputs.reduce((n, x) => n + (x.shape[axis] ?? 0), 0);
    return [
      fill(
        input(inputs, 0).shape.map((d, i) => (i === axis ? total : d)),
        (at) => {
          let offset = at[axis] ?? 0;
          for (const x of inputs) {
            const n = x.shape[axis] ?? 0;
            if (offset < n) return read(x, at.with(axis, offset));
            offset -= n;
          }
          return NaN;
        },
      ),
    ];
  },
  split: (inputs, { axis, sizes }) => {
    const x = input(inputs, 0);
    let start = 0;
    return sizes.map((n) => {
      const from = start;
      start += n;
      return fill(
        x.shape.map((d, i) => (i === axis ? n : d)),
        (at) => read(x, at.with(axis, (at[axis] ?? 0) + from)),
      );
    });
  },
  gather: (inputs, { unique }) => {
    const [x, indices] = [input(inputs, 0), input(inputs, 1)];
    if (unique === true) checkUnique("gather", indices);
    return [fill([indices.data.length, ...x.shape.slice(1)], (at) => read(x, at.with(0, indices.data[at[0] ?? 0] ?? NaN)))];
  },
  scatterAdd: (inputs, { rows, unique }) => {
    const [updates, indices] = [input(inputs, 0), input(inputs, 1)];
    if (unique === true) checkUnique("scatterAdd", indices);
    const out = cell([rows, ...updates.shape.slice(1)]);
    const d = updates.data.length / indices.data.length;
    indices.data.forEach((to, row) => {
      for (let i = 0; i < d; i++) out.data[to * d + i] = (out.data[to * d + i] ?? 0) + (updates.data[row * d + i] ?? 0);
    });
    return [out];
  },
};
