/** @file Interpreter rules of composites, each as its formula says. */
import type { ReduceOp } from "../types.ts";
import { erf } from "./erf.ts";
import { cell, type Cell, type EvalTable, fill, input, mapRows, read, rowsOf } from "./rule.ts";

type Composite = Exclude<ReduceOp, "dot" | "dotAdd" | "reduceSum" | "reduceSumSquare" | "reduceMax" | "argMax" | "topK">;

const sum = (row: Float64Array): number => row.reduce((a, b) => a + b, 0);

function softmaxRow(row: Float64Array): Float64Array {
  const max = row.reduce((a, b) => Math.max(a, b), -Infinity);
  const e = row.map((x) => Math.exp(x - max));
  const total = sum(e);
  return e.map((x) => x / total);
}

function logSoftmaxRow(row: Float64Array): Float64Array {
  const max = row.reduce((a, b) => Math.max(a, b), -Infinity);
  const logTotal = Math.log(sum(row.map((x) => Math.exp(x - max))));
  return row.map((x) => x - max - logTotal);
}

/** dy · (row-wise Jacobian of softmax): y (dy − Σ dy y). */
function softmaxGrad(dy: Cell, y: Cell): Cell {
  const ys = rowsOf(y);
  return mapRows(dy, (row, r) => {
    const p = ys[r] ?? row;
    const inner = sum(row.map((d, i) => d * (p[i] ?? 0)));
    return row.map((d, i) => (p[i] ?? 0) * (d - inner));
  });
}

function layerNorm(inputs: readonly Cell[], eps: number): readonly Cell[] {
  const [x, w, b] = [input(inputs, 0), input(inputs, 1), input(inputs, 2)];
  const rows = rowsOf(x);
  const means = rows.map((row) => sum(row) / row.length);
  const invs = rows.map((row, r) => 1 / Math.sqrt(sum(row.map((v) => (v - (means[r] ?? 0)) ** 2)) / row.length + eps));
  const y = mapRows(x, (row, r) => row.map((v, i) => (v - (means[r] ?? 0)) * (invs[r] ?? 0) * (w.data[i] ?? 0) + (b.data[i] ?? 0)));
  const shape = [...x.shape.slice(0, -1), 1];
  return [y, { shape, data: Float64Array.from(means) }, { shape, data: Float64Array.from(invs) }];
}

function layerNormGrad(inputs: readonly Cell[]): readonly Cell[] {
  const [dy, x, w, mean, inv] = [input(inputs, 0), input(inputs, 1), input(inputs, 2), input(inputs, 3), input(inputs, 4)];
  const [dw, db] = [cell(w.shape), cell(w.shape)];
  const xs = rowsOf(x);
  const dx = mapRows(dy, (row, r) => {
    const s = inv.data[r] ?? 0;
    const hat = (xs[r] ?? row).map((v) => (v - (mean.data[r] ?? 0)) * s);
    const g = row.map((d, i) => d * (w.data[i] ?? 0));
    row.forEach((d, i) => {
      dw.data[i] = (dw.data[i] ?? 0) + d * (hat[i] ?? 0);
      db.data[i] = (db.data[i] ?? 0) + d;
    });
    const m1 = sum(g) / g.length;
    const m2 = sum(g.map((v, i) => v * (hat[i] ?? 0))) / g.length;
    return g.map((v, i) => s * (v - m1 - (hat[i] ?? 0) * m2));
  });
  return [dx, dw, db];
}

/** For each query row: its place `[b, h]`, its row, and its probabilities softmax(s q kᵀ). */
function eachQuery(q: Cell, k: Cell, options: { scale: number; visit: (at: number[], row: number, p: Float64Array) => void }): void {
  const [b = 1, h = 1, t = 1, d = 1] = q.shape;
  const tokens = k.shape[2] ?? 1;
  for (let i = 0; i < b * h * t; i++) {
    const [at, row] = [[Math.floor(i / (h * t)), Math.floor(i / t) % h], i % t];
    const scores = Float64Array.from({ length: tokens }, (_, j) => {
      let s = 0;
      for (let c = 0; c < d; c++) s += read(q, [...at, row, c]) * read(k, [...at, j, c]);
      return s * options.scale;
    });
    options.visit(at, row, softmaxRow(scores));
  }
}

/** out[at] += x */
function addAt(out: Cell, at: readonly number[], x: number): void {
  const i = at.reduce((sum, a, axis) => sum * (out.shape[axis] ?? 1) + a, 0);
  out.data[i] = (out.data[i] ?? 0) + x;
}

function attention(q: Cell, k: Cell, { v, scale }: { v: Cell; scale: number }): Cell {
  const out = cell(q.shape);
  const d = q.shape[3] ?? 1;
  const visit = (at: number[], row: number, p: Float64Array): void =>
    p.forEach((weight, j) => {
      for (let c = 0; c < d; c++) addAt(out, [...at, row, c], weight * read(v, [...at, j, c]));
    });
  eachQuery(q, k, { scale, visit });
  return out;
}

/** Row by row: dv_j += p_j dy, dp_j = dy · v_j, ds = s p (dp − Σ dp p), dq += ds_j k_j, dk_j += ds_j q. */
function attentionGrad(inputs: readonly Cell[], scale: number): readonly Cell[] {
  const [dy, q, k, v] = [input(inputs, 0), input(inputs, 1), input(inputs, 2), input(inputs, 3)];
  const [dq, dk, dv] = [cell(q.shape), cell(k.shape), cell(v.shape)];
  const channels = [...Array(q.shape[3] ?? 1).keys()];
  const visit = (at: number[], row: number, p: Float64Array): void => {
    const dp = p.map((_, j) => channels.reduce((total, c) => total + read(dy, [...at, row, c]) * read(v, [...at, j, c]), 0));
    const inner = sum(dp.map((x, j) => x * (p[j] ?? 0)));
    p.forEach((weight, j) => {
      const ds = scale * weight * ((dp[j] ?? 0) - inner);
      for (const c of channels) {
        addAt(dq, [...at, row, c], ds * read(k, [...at, j, c]));
        addAt(dk, [...at, j, c], ds * read(q, [...at, row, c]));
        addAt(dv, [...at, j, c], weight * read(dy, [...at, row, c]));
      }
    });
  };
  eachQuery(q, k, { scale, visit });
  return [dq, dk, dv];
}

export const COMPOSITES: EvalTable<Composite> = {
  softmax: (inputs) => [mapRows(input(inputs, 0), softmaxRow)],
  logSoftmax: (inputs) => [mapRows(input(inputs, 0), logSoftmaxRow)],
  softmaxGrad: (inputs) => [softmaxGrad(input(inputs, 0), input(inputs, 1))],
  logSoftmaxGrad: (inputs) => {
    const ys = rowsOf(input(inputs, 1));
    return [
      mapRows(input(inputs, 0), (row, r) => {
        const total = sum(row);
        return row.map((d, i) => d - Math.exp(ys[r]?.[i] ?? NaN) * total);
      }),
    ];
  },
  layerNorm: (inputs, { eps }) => layerNorm(inputs, eps),
  layerNormGrad,
  geluGrad: (inputs) => {
    const [dy, x] = [input(inputs, 0), input(inputs, 1)];
    // d gelu / dx = Φ(x) + x φ(x)
    return [fill(dy.shape, (at) => read(dy, at) * geluSlope(read(x, at)))];
  },
  attention: (inputs, { scale }) => [attention(input(inputs, 0), input(inputs, 1), { v: input(inputs, 2), scale })],
  attentionGrad: (inputs, { scale }) => attentionGrad(inputs, scale),
  l2Normalize: (inputs, { eps }) => [
    mapRows(input(inputs, 0), (row) => {
      const norm = Math.max(Math.sqrt(sum(row.map((v) => v * v))), eps);
      return row.map((v) => v / norm);
    }),
  ],
};

function geluSlope(x: number): number {
  return 0.5 * (1 + erf(x / Math.SQRT2)) + (x * Math.exp(-0.5 * x * x)) / Math.sqrt(2 * Math.PI);
}
