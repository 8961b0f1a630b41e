/** @file Cases of composites: softmax, norms, GELU's gradient, attention, and their gradients. */
import { NOT_TWICE } from "../../grad/index.ts";
import type { ReduceOp } from "../../ir/index.ts";
import { type CaseInput, type CaseTable, given, type OpCase, type OpCases, random, typed } from "../op-case.ts";
import type { ContractionOp } from "./contractions.ts";

type Numbers = readonly number[];
type Plain = OpCases<"softmax">;

const sum = (xs: Numbers): number => xs.reduce((a, b) => a + b, 0);
/** Rows of d. */
const rows = (x: Numbers, d: number): number[][] => Array.from({ length: x.length / d }, (_, r) => x.slice(r * d, (r + 1) * d));
/** e^x / Σ e^x without the shift by the maximum: right as long as it does not overflow. */
const softmaxOf = (x: Numbers): number[] => {
  const total = sum(x.map((w) => Math.exp(w)));
  return x.map((v) => Math.exp(v) / total);
};

const SCALAR_REFUSED: Plain["refuses"] = [
  { inputs: [typed([])], params: {}, message: "a scalar has no last axis; give it an axis" },
  { inputs: [typed([3], "i32")], params: {}, message: "cast to float32 first" },
];

function overRows(fn: (row: Numbers) => number[], extreme: { readonly data: Numbers; readonly want: Numbers }): Plain {
  const of = (shape: Numbers): OpCase<"softmax"> => ({
    name: `[${shape.join()}]`,
    inputs: [random(shape)],
    params: {},
    types: [`float32[${shape.join()}]`],
    want: (x = []) => [rows(x, shape.at(-1) ?? 1).flatMap(fn)],
  });
  return {
    gradient: "smooth",
    cases: [
      of([2, 3, 5]),
      of([7]),
      of([3, 1]),
      {
        name: "large values",
        inputs: [given([3], extreme.data)],
        params: {},
        types: ["float32[3]"],
        want: () => [extreme.want],
        gradient: "none",
      },
    ],
    refuses: SCALAR_REFUSED,
  };
}

/** A gradient op of dy and what the forward pass kept. */
function gradOp(saved: CaseInput, slope: (dy: Numbers, kept: Numbers) => number[]): Plain {
  return {
    gradient: NOT_TWICE,
    cases: [
      {
        name: `[${saved.shape.join()}]`,
        inputs: [random(saved.shape, { seed: 9 }), saved],
        params: {},
        types: [`float32[${saved.shape.join()}]`],
        want: (dy = [], kept = []) => [slope(dy, kept)],
      },
    ],
    refuses: [
      { inputs: [typed([2]), typed([3])], params: {}, message: "shapes differ; pass the cotangent of the value" },
      { inputs: [typed([2]), typed([2], "f64")], params: {}, message: "element types differ" },
    ],
  };
}

/** Σ_j dy_j ∂y_j/∂x_i, with the Jacobian written out. */
const throughJacobian = (jacobian: (y: Numbers, i: number, j: number) => number) => (dy: Numbers, y: Numbers) =>
  y.map((_, i) => sum(y.map((_y, j) => (dy[j] ?? NaN) * jacobian(y, i, j))));

const PROBABILITIES = softmaxOf([0.3, -1, 2, 0.5]).map((x) => Math.fround(x));

function layerNormOf(x: Numbers, w: Numbers, b: Numbers): number[][] {
  const d = w.length;
  const stats = rows(x, d).map((row) => {
    const mean = sum(row) / d;
    return { row, mean, inv: 1 / Math.sqrt(sum(row.map((v) => v * v)) / d - mean * mean + 1e-6) };
  });
  const y = stats.flatMap(({ row, mean, inv }) => row.map((v, i) => (v - mean) * inv * (w[i] ?? NaN) + (b[i] ?? NaN)));
  return [y, stats.map((s) => s.mean), stats.map((s) => s.inv)];
}

const layerNorm = (shape: Numbers, types: Numbers[]): OpCase<"layerNorm"> => ({
  name: `[${shape.join()}]`,
  inputs: [random(shape), random(shape.slice(-1), { seed: 1 }), random(shape.slice(-1), { seed: 2 })],
  params: { eps: 1e-6 },
  types: types.map((t) => `float32[${t.join()}]`),
  want: (x = [], w = [], b = []) => layerNormOf(x, w, b),
  differentiable: [0],
});

/** softmax(s q kᵀ) v for one head after another, from the definition. */
function attentionOf(
  [q, k, v]: readonly [Numbers, Numbers, Numbers],
  { groups, d, scale }: { groups: number; d: number; scale: number },
): number[] {
  const part = (x: Numbers, g: number): number[][] => rows(x.slice((g * x.length) / groups, ((g + 1) * x.length) / groups), d);
  return Array.from({ length: groups }, (_, g) => {
    const [queries, keys, values] = [part(q, g), part(k, g), part(v, g)];
    return queries.flatMap((row) => {
      const p = softmaxOf(keys.map((key) => scale * sum(key.map((x, c) => x * (row[c] ?? NaN)))));
      return Array.from({ length: d }, (_c, c) => sum(p.map((w, j) => w * (values[j]?.[c] ?? NaN))));
    });
  }).flat();
}

interface Sizes {
  readonly b: number;
  readonly h: number;
  readonly t: number;
  readonly n: number;
  readonly d: number;
}

function qkv({ b, h, t, n, d }: Sizes): CaseInput[] {
  return [random([b, h, t, d]), random([b, h, n, d], { seed: 1 }), random([b, h, n, d], { seed: 2 })];
}

function attention(sizes: Sizes, more: Partial<OpCase<"attention">> = {}): OpCase<"attention"> {
  const { b, h, t, n, d } = sizes;
  return {
    name: `${b} pictures, ${h} heads, ${t} queries, ${n} keys of ${d}`,
    inputs: qkv(sizes),
    params: { scale: 0.5 },
    types: [`float32[${[b, h, t, d].join()}]`],
    want: (q = [], k = [], v = []) => [attentionOf([q, k, v], { groups: b * h, d, scale: 0.5 })],
    ...more,
  };
}

const shapes = (...list: readonly Numbers[]): ReturnType<typeof typed>[] => list.map((s) => typed(s));

export const COMPOSITE_CASES: CaseTable<Exclude<ReduceOp, ContractionOp>> = {
  softmax: overRows(softmaxOf, { data: [1e4, 1e4, -1e4], want: [0.5, 0.5, 0] }),
  logSoftmax: overRows((row) => softmaxOf(row).map((p) => Math.log(p)), { data: [1e4, -1e4, 0], want: [0, -2e4, -1e4] }),
  softmaxGrad: gradOp(
    given([4], PROBABILITIES),
    throughJacobian((y, i, j) => (y[j] ?? NaN) * (Number(i === j) - (y[i] ?? NaN))),
  ),
  logSoftmaxGrad: gradOp(
    given(
      [4],
      PROBABILITIES.map((p) => Math.log(p)),
    ),
    throughJacobian((y, i, j) => Number(i === j) - Math.exp(y[i] ?? NaN)),
  ),
  geluGrad: gradOp(random([3, 2]), (dy, x) => x.map((v, i) => ((dy[i] ?? NaN) * (geluAt(v + 1e-5) - geluAt(v - 1e-5))) / 2e-5)),
  layerNorm: {
    gradient: "smooth",
    cases: [
      layerNorm(
        [2, 3, 5],
        [
          [2, 3, 5],
          [2, 3, 1],
          [2, 3, 1],
        ],
      ),
      layerNorm(
        [4, 3],
        [
          [4, 3],
          [4, 1],
          [4, 1],
        ],
      ),
      layerNorm([6], [[6], [1], [1]]),
      layerNorm(
        [20, 4],
        [
          [20, 4],
          [20, 1],
          [20, 1],
        ],
      ),
    ],
    refuses: [
      { inputs: shapes([2, 3], [2], [3]), params: { eps: 1e-6 }, message: "weight and bias do not fit the last axis; make them [3]" },
      { inputs: shapes([], [1], [1]), params: { eps: 1e-6 }, message: "a scalar has no last axis" },
      { inputs: [typed([3]), typed([3]), typed([3], "f64")], params: { eps: 1e-6 }, message: "element types differ" },
    ],
  },
  layerNormGrad: {
    gradient: NOT_TWICE,
    cases: [
      {
        name: "a row and its statistics",
        inputs: [
          random([1, 3], { seed: 9 }),
          given([1, 3], [1, 2, 6]),
          random([3], { seed: 1 }),
          given([1, 1], [3]),
          given([1, 1], [0.25]),
        ],
        params: {},
        types: ["float32[1,3]", "float32[3]", "float32[3]"],
      },
    ],
    refuses: [
      { inputs: shapes([2, 3], [2, 3], [3], [2], [2]), params: {}, message: "shapes differ; pass dy, x, the weight, and layerNorm's" },
    ],
  },
  attention: {
    gradient: "smooth",
    cases: [
      attention({ b: 2, h: 2, t: 3, n: 3, d: 2 }),
      attention({ b: 1, h: 3, t: 1, n: 4, d: 2 }),
      attention({ b: 1, h: 1, t: 1, n: 1, d: 1 }),
      // more than one chunk, the last one smaller
      attention({ b: 2, h: 2, t: 513, n: 513, d: 1 }, { gradient: "device", tolerance: { atol: 2e-5, rtol: 1e-4 } }),
      attention({ b: 2, h: 3, t: 300, n: 700, d: 1 }, { gradient: "device", tolerance: { atol: 2e-5, rtol: 1e-4 } }),
      attention({ b: 1, h: 2, t: 1, n: 700, d: 2 }, { gradient: "device" }),
    ],
    refuses: [
      {
        inputs: shapes([2, 3, 4], [2, 3, 4], [2, 3, 4]),
        params: { scale: 1 },
        message: "queries have not four axes; make all three [batch, head",
      },
      {
        inputs: shapes([1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 5, 4]),
        params: { scale: 1 },
        message: "they differ; queries, keys and values must agree",
      },
      { inputs: shapes([1, 2, 3, 4], [1, 1, 3, 4], [1, 1, 3, 4]), params: { scale: 1 }, message: "they differ" },
    ],
  },
  attentionGrad: {
    gradient: NOT_TWICE,
    cases: [
      {
        name: "more keys than queries",
        inputs: [random([1, 2, 2, 3], { seed: 9 }), ...qkv({ b: 1, h: 2, t: 2, n: 4, d: 3 })],
        params: { scale: 0.5 },
        types: ["float32[1,2,2,3]", "float32[1,2,4,3]", "float32[1,2,4,3]"],
      },
    ],
    refuses: [
      {
        inputs: shapes([1, 1, 3, 2], [1, 1, 2, 2], [1, 1, 3, 2], [1, 1, 3, 2]),
        params: { scale: 1 },
        message: "shapes differ; pass the cotangent of attention's output first",
      },
    ],
  },
  l2Normalize: {
    gradient: "smooth",
    cases: [
      {
        name: "rows",
        inputs: [random([2, 3])],
        params: { eps: 1e-12 },
        types: ["float32[2,3]"],
        want: (x = []) => [rows(x, 3).flatMap((row) => row.map((v) => v / Math.hypot(...row)))],
      },
      { name: "a vector of one", inputs: [given([1], [-3])], params: { eps: 1e-12 }, types: ["float32[1]"], want: () => [[-1]] },
      {
        name: "shorter than eps: a plain division",
        inputs: [given([2], [0.3, 0.4])],
        params: { eps: 2 },
        types: ["float32[2]"],
        want: (x = []) => [x.map((v) => v / 2)],
      },
      {
        name: "zeros",
        inputs: [given([2], [0, 0])],
        params: { eps: 1e-12 },
        types: ["float32[2]"],
        want: () => [[0, 0]],
        gradient: "none",
      },
    ],
    refuses: [{ inputs: [typed([])], params: { eps: 1e-12 }, message: "a scalar has no last axis" }],
  },
};

/** GELU by its definition: x Φ(x), with Φ integrated. */
function geluAt(x: number): number {
  const n = 400;
  const h = x / n;
  const density = (t: number): number => Math.exp((-t * t) / 2) / Math.sqrt(2 * Math.PI);
  let area = density(0) + density(x);
  for (let i = 1; i < n; i++) area += (i % 2 === 1 ? 4 : 2) * density(i * h);
  return x * (0.5 + (area * h) / 3);
}
