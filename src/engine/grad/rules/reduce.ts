/** @file VJP rules of contractions, reductions and composites. */
import type { OpParams, ReduceOp } from "../../ir/index.ts";
import {
  broadcast,
  cast,
  compare,
  div,
  dot,
  maximum,
  mul,
  reduceSum,
  reshape,
  scatterAdd,
  sqrt,
  sub,
  type Tensor,
} from "../../trace/index.ts";
import { at, NO_GRADIENT, NOT_TWICE, unbroadcast, type VjpContext, type VjpTable } from "./rule.ts";

/** y = α op(a) op(b): da = α dy op(b)ᵀ and db = α op(a)ᵀ dy, written so that no operand is transposed by itself. */
function dotGrads(a: Tensor, b: Tensor, { d, params }: { d: Tensor; params: OpParams["dot"] }): readonly [() => Tensor, () => Tensor] {
  const { transA, transB, alpha } = params;
  return [
    () => (transA ? dot(b, d, { transA: transB, transB: true, alpha }) : dot(d, b, { transB: !transB, alpha })),
    () => (transB ? dot(d, a, { transA: true, transB: transA, alpha }) : dot(a, d, { transA: !transA, alpha })),
  ];
}

/** The shape of x with reduced axes kept as 1. */
function keptShape(x: Tensor, axes: readonly number[]): number[] {
  return x.shape.map((d, i) => (axes.includes(i) ? 1 : d));
}

/** Rows-with-indices scatter of a top-k cotangent back to the last axis. */
function topKGrad({ inputs, outputs, grads, params }: VjpContext<"topK">): Tensor {
  const [x, indices, d] = [at(inputs, 0), at(outputs, 1), at(grads, 0)];
  const n = x.shape.at(-1) ?? 1;
  const rows = x.shape.slice(0, -1).reduce((a, b) => a * b, 1);
  const base = x.builder.op("constant", [], { dtype: "i32", shape: [rows, 1], data: Int32Array.from({ length: rows }, (_, r) => r * n) });
  const flat = x.builder.op("add", [reshape(indices, [rows, params.k]), base], {});
  const [updates, places] = [reshape(d, [rows * params.k]), reshape(flat, [rows * params.k])];
  return reshape(scatterAdd(updates, places, { rows: rows * n, unique: true }), x.shape);
}

/** Gradients that one op makes together, made when the first of them is asked for. */
function together(n: number, make: () => readonly Tensor[]): (() => Tensor)[] {
  let made: readonly Tensor[] | undefined;
  return Array.from({ length: n }, (_, i) => () => at((made ??= make()), i));
}

export const REDUCTIONS: VjpTable<ReduceOp> = {
  dot: ({ inputs, grads, params }) => dotGrads(at(inputs, 0), at(inputs, 1), { d: at(grads, 0), params }),
  dotAdd: ({ inputs, grads, params }) => [
    ...dotGrads(at(inputs, 0), at(inputs, 1), { d: at(grads, 0), params }),
    () => unbroadcast(at(grads, 0), at(inputs, 2).shape),
  ],
  reduceSum: ({ inputs, grads, params }) => {
    const x = at(inputs, 0);
    return [() => broadcast(reshape(at(grads, 0), keptShape(x, params.axes)), x.shape)];
  },
  reduceSumSquare: ({ inputs, grads, params }) => {
    const x = at(inputs, 0);
    return [() => mul(x, mul(reshape(at(grads, 0), keptShape(x, params.axes)), 2))];
  },
  reduceMax: ({ inputs, outputs, grads, params }) => {
    const x = at(inputs, 0);
    return [
      () => {
        const kept = keptShape(x, params.axes);
        const hit = cast(compare(x, "eq", reshape(at(outputs, 0), kept)), x.dtype);
        return mul(div(hit, reduceSum(hit, params.axes, true)), reshape(at(grads, 0), kept)); // ties share
      },
    ];
  },
  argMax: NO_GRADIENT,
  topK: (c) => [() => topKGrad(c)],
  softmax: ({ outputs, grads }) => [() => at(grads, 0).builder.op("softmaxGrad", [at(grads, 0), at(outputs, 0)], {})],
  logSoftmax: ({ outputs, grads }) => [() => at(grads, 0).builder.op("logSoftmaxGrad", [at(grads, 0), at(outputs, 0)], {})],
  softmaxGrad: NOT_TWICE,
  logSoftmaxGrad: NOT_TWICE,
  layerNorm: ({ inputs, outputs, grads }) =>
    together(3, () => {
      const saved = [at(inputs, 0), at(inputs, 1), at(outputs, 1), at(outputs, 2)];
      return at(grads, 0).builder.node("layerNormGrad", [at(grads, 0), ...saved], {});
    }),
  layerNormGrad: NOT_TWICE,
  geluGrad: NOT_TWICE,
  // keeps q, k and v only: the probabilities are made again (contracts 4)
  attention: ({ inputs, grads, params }) =>
    together(3, () => at(grads, 0).builder.node("attentionGrad", [at(grads, 0), ...inputs], params)),
  attentionGrad: NOT_TWICE,
  l2Normalize: ({ inputs, outputs, grads, params }) => {
    // y = x / n, n = max(‖x‖, eps): dx = (dy − y Σ dy y) / n, the projection only where the norm is above eps
    const [x, y, d] = [at(inputs, 0), at(outputs, 0), at(grads, 0)];
    return [
      () => {
        const last = [x.shape.length - 1];
        const norm = sqrt(reduceSum(mul(x, x), last, true));
        const above = cast(compare(norm, "gt", params.eps), x.dtype);
        const inner = mul(above, reduceSum(mul(d, y), last, true));
        return div(sub(d, mul(y, inner)), maximum(norm, params.eps));
      },
    ];
  },
};
