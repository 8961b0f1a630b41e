/** @file Interpreter rules of contractions and reductions. */
import type { ReduceOp } from "../types.ts";
import { COMPOSITES } from "./composites.ts";
import { type Cell, type EvalTable, fill, input, read } from "./rule.ts";

function dot(a: Cell, b: Cell, { transA, transB, alpha }: { transA: boolean; transB: boolean; alpha: number }): Cell {
  const [m, k] = transA ? [a.shape.at(-1) ?? 1, a.shape.at(-2) ?? 1] : [a.shape.at(-2) ?? 1, a.shape.at(-1) ?? 1];
  const n = (transB ? b.shape.at(-2) : b.shape.at(-1)) ?? 1;
  return fill([...a.shape.slice(0, -2), m, n], (at, flat) => {
    const [i, j] = [at.at(-2) ?? 0, at.at(-1) ?? 0];
    const batch = Math.floor(flat / (m * n));
    const [a0, b0] = [batch * m * k, batch * k * n];
    let sum = 0;
    for (let c = 0; c < k; c++)
      sum += (a.data[a0 + (transA ? c * m + i : i * k + c)] ?? NaN) * (b.data[b0 + (transB ? j * k + c : c * n + j)] ?? NaN);
    return alpha * sum;
  });
}

function reduce(
  x: Cell,
  options: { axes: readonly number[]; keepDims: boolean; start: number; join: (a: number, b: number) => number },
): Cell {
  const { axes, keepDims, start, join } = options;
  const kept = fill(
    x.shape.map((d, i) => (axes.includes(i) ? 1 : d)),
    () => start,
  );
  const strides = kept.shape.map((_, i) => kept.shape.slice(i + 1).reduce((a, b) => a * b, 1));
  fill(x.shape, (at, flat) => {
    const to = at.reduce((sum, a, i) => sum + (axes.includes(i) ? 0 : a * (strides[i] ?? 0)), 0);
    kept.data[to] = join(kept.data[to] ?? start, x.data[flat] ?? NaN);
    return 0;
  });
  return keepDims ? kept : { shape: x.shape.filter((_, i) => !axes.includes(i)), data: kept.data };
}

export const REDUCTIONS: EvalTable<ReduceOp> = {
  dot: (inputs, params) => [dot(input(inputs, 0), input(inputs, 1), params)],
  dotAdd: (inputs, params) => {
    const y = dot(input(inputs, 0), input(inputs, 1), params);
    return [fill(y.shape, (at) => read(y, at) + read(input(inputs, 2), at))];
  },
  reduceSum: (inputs, params) => [reduce(input(inputs, 0), { ...params, start: 0, join: (a, b) => a + b })],
  reduceSumSquare: (inputs, params) => [reduce(input(inputs, 0), { ...params, start: 0, join: (a, b) => a + b * b })],
  reduceMax: (inputs, params) => [reduce(input(inputs, 0), { ...params, start: -Infinity, join: Math.max })],
  argMax: (inputs, { axis }) => {
    const x = input(inputs, 0);
    const shape = x.shape.filter((_, i) => i !== axis);
    return [
      fill(shape, (at) => {
        let best = 0;
        const value = (i: number): number => read(x, at.toSpliced(axis, 0, i));
        for (let i = 1; i < (x.shape[axis] ?? 1); i++) if (value(i) > value(best)) best = i;
        return best;
      }),
    ];
  },
  topK: (inputs, { k }) => {
    const x = input(inputs, 0);
    const d = x.shape.at(-1) ?? 1;
    const order = Array.from({ length: x.data.length / d }, (_, r) => {
      const row = x.data.subarray(r * d, (r + 1) * d);
      return [...row.keys()].sort((i, j) => (row[j] ?? 0) - (row[i] ?? 0) || i - j);
    });
    const shape = [...x.shape.slice(0, -1), k];
    const pick = (flat: number): [number, number] => [Math.floor(flat / k), order[Math.floor(flat / k)]?.[flat % k] ?? 0];
    return [
      fill(shape, (_, flat) => {
        const [row, i] = pick(flat);
        return x.data[row * d + i] ?? NaN;
      }),
      fill(shape, (_, flat) => pick(flat)[1]),
    ];
  },
  ...COMPOSITES,
};
