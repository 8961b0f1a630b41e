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

/** a[i·d …] · b[j·d …] */
function rowDot(a: Cell, i: number, { b, j, d }: { b: Cell; j: number; d: number }): number {
  let s = 0;
  for (let c = 0; c < d; c++) s += (a.data[i * d + c] ?? NaN) * (b.data[j * d + c] ?? NaN);
  return s;
}

/** out[i·d …] += x · a[j·d …] */
function addRow(out: Cell, i: number, { x, a, j, d }: { x: number; a: Cell; j: number; d: number }): void {
  for (let c = 0; c < d; c++) out.data[i * d + c] = (out.data[i * d + c] ?? NaN) + x * (a.data[j * d + c] ?? NaN);
}

/** For each query row i: the first of the key rows of its picture and head, and its probabilities softmax(s q kᵀ). */
function eachQuery(q: Cell, k: Cell, options: { scale: number; visit: (i: number, keys: number, p: Float64Array) => void }): void {
  const [b = 1, h = 1, t = 1, d = 1] = q.shape;
  const n = k.shape[2] ?? 1;
  for (let i = 0; i < b * h * t; i++) {
    const keys = Math.floor(i / t) * n;
    const scores = Float64Array.from({ length: n }, (_, j) => options.scale * rowDot(q, i, { b: k, j: keys + j, d }));
    options.visit(i, keys, softmaxRow(scores));
  }
}

function attention(q: Cell, k: Cell, { v, scale }: { v: Cell; scale: number }): Cell {
  const out = cell(q.shape);
  const d = q.shape[3] ?? 1;
  eachQuery(q, k, { scale, visit: (i, keys, p) => p.forEach((x, j) => addRow(out, i, { x, a: v, j: keys + j, d })) });
  return out;
}

/** Row by row: dv_j += p_j dy, dp_j = dy · v_j, ds = s p (dp − Σ dp p), dq += ds_j k_j, dk_j += ds_j q. */
function attentionGrad(inputs: readonly Cell[], scale: number): readonly Cell[] {
  const [dy, q, k, v] = [input(inputs, 0), input(inputs, 1), input(inputs, 2), input(inputs, 3)];
  const [dq, dk, dv] = [cell(q.shape), cell(k.shape), cell(v.shape)];
  const d = q.shape[3] ?? 1;
  const visit = (i: number, keys: number, p: Float64Array): void => {
    const dp = p.map((_, j) => rowDot(dy, i, { b: v, j: keys + j, d }));
    const inner = sum(dp.map((x, j) => x * (p[j] ?? NaN)));
    p.forEach((weight, j) => {
      const ds = scale * weight * ((dp[j] ?? NaN) - inner);
      addRow(dq, i, { x: ds, a: k, j: keys + j, d });
      addRow(dk, keys + j, { x: ds, a: q, j: i, d });
      addRow(dv, keys + j, { x: weight, a: dy, j: i, d });
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
