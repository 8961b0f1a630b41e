/** @file Shape rules of contractions, reductions and composites. */
import { sameShape } from "../../../core/index.ts";
import type { ReduceOp, OpParams, ValueType } from "../types.ts";
import { arity, axisOf, dim, fail, floats, type InferRule, type InferTable, numbers, sameDtype } from "./rule.ts";

function dotShape(op: "dot" | "dotAdd", [a, b]: readonly [ValueType, ValueType], { transA, transB }: OpParams["dot"]): number[] {
  const rank = a.shape.length;
  if (rank < 2 || rank !== b.shape.length)
    fail(op, [a, b], `they have ${rank} and ${b.shape.length} axes; both need the same number of 2 or more`);
  if (!sameShape(a.shape.slice(0, -2), b.shape.slice(0, -2))) fail(op, [a, b], "leading (batch) axes differ; broadcast one of them");
  const [m, ka] = transA ? [dim(a, -1), dim(a, -2)] : [dim(a, -2), dim(a, -1)];
  const [kb, n] = transB ? [dim(b, -1), dim(b, -2)] : [dim(b, -2), dim(b, -1)];
  if (ka !== kb) fail(op, [a, b], `contracted axes are ${ka} and ${kb} (transA ${transA}, transB ${transB}); make them equal`);
  return [...a.shape.slice(0, -2), m, n];
}

const dot: InferRule<"dot"> = (inputs, params) => {
  const [a, b] = arity("dot", inputs, 2);
  sameDtype("dot", inputs);
  floats("dot", inputs);
  return [{ dtype: a.dtype, shape: dotShape("dot", [a, b], params) }];
};

const dotAdd: InferRule<"dotAdd"> = (inputs, params) => {
  const [a, b, c] = arity("dotAdd", inputs, 3);
  sameDtype("dotAdd", inputs);
  floats("dotAdd", inputs);
  const shape = dotShape("dotAdd", [a, b], params);
  if (shape.length !== 2) fail("dotAdd", inputs, "takes matrices only; use dot and add where there are batch axes");
  const lead = 2 - c.shape.length;
  if (lead < 0 || c.shape.some((d, i) => d !== 1 && d !== shape[lead + i]))
    fail("dotAdd", inputs, `what is added does not fit [${shape.join(",")}]; axes must be equal or 1, from the last`);
  return [{ dtype: a.dtype, shape }];
};

function reduce<K extends "reduceSum" | "reduceSumSquare" | "reduceMax">(op: K): InferRule<K> {
  return (inputs, { axes, keepDims }) => {
    const [x] = arity(op, inputs, 1);
    numbers(op, inputs);
    for (const a of axes) axisOf(op, x, a);
    if (new Set(axes).size !== axes.length) fail(op, inputs, `axes [${axes.join(",")}] repeat; name each once`);
    const shape = keepDims ? x.shape.map((d, i) => (axes.includes(i) ? 1 : d)) : x.shape.filter((_, i) => !axes.includes(i));
    return [{ dtype: x.dtype, shape }];
  };
}

const argMax: InferRule<"argMax"> = (inputs, { axis }) => {
  const [x] = arity("argMax", inputs, 1);
  numbers("argMax", inputs);
  axisOf("argMax", x, axis);
  return [{ dtype: "i32", shape: x.shape.filter((_, i) => i !== axis) }];
};

const topK: InferRule<"topK"> = (inputs, { k }) => {
  const [x] = arity("topK", inputs, 1);
  numbers("topK", inputs);
  if (x.shape.length === 0 || !Number.isInteger(k) || k < 1 || k > dim(x, -1))
    fail("topK", inputs, `the last axis has no ${k} values; take 1 to ${dim(x, -1)}`);
  const shape = [...x.shape.slice(0, -1), k];
  return [
    { dtype: x.dtype, shape },
    { dtype: "i32", shape },
  ];
};

function overLastAxis<K extends "softmax" | "logSoftmax" | "l2Normalize">(op: K): InferRule<K> {
  return (inputs) => {
    const [x] = arity(op, inputs, 1);
    floats(op, inputs);
    if (x.shape.length === 0) fail(op, inputs, "a scalar has no last axis; give it an axis");
    return [{ dtype: x.dtype, shape: x.shape }];
  };
}

function gradLike<K extends "softmaxGrad" | "logSoftmaxGrad" | "geluGrad">(op: K): InferRule<K> {
  return (inputs) => {
    const [dy, saved] = arity(op, inputs, 2);
    sameDtype(op, inputs);
    floats(op, inputs);
    if (!sameShape(dy.shape, saved.shape)) fail(op, inputs, "shapes differ; pass the cotangent of the value");
    return [{ dtype: dy.dtype, shape: dy.shape }];
  };
}

const layerNorm: InferRule<"layerNorm"> = (inputs) => {
  const [x, w, b] = arity("layerNorm", inputs, 3);
  sameDtype("layerNorm", inputs);
  floats("layerNorm", inputs);
  if (x.shape.length === 0) fail("layerNorm", inputs, "a scalar has no last axis; give it an axis");
  const d = dim(x, -1);
  if (!sameShape(w.shape, [d]) || !sameShape(b.shape, [d]))
    fail("layerNorm", inputs, `weight and bias do not fit the last axis; make them [${d}]`);
  const stat = [...x.shape.slice(0, -1), 1];
  return [
    { dtype: x.dtype, shape: x.shape },
    { dtype: x.dtype, shape: stat },
    { dtype: x.dtype, shape: stat },
  ];
};

const layerNormGrad: InferRule<"layerNormGrad"> = (inputs) => {
  const [dy, x, w, mean, inv] = arity("layerNormGrad", inputs, 5);
  sameDtype("layerNormGrad", inputs);
  floats("layerNormGrad", inputs);
  const stat = [...x.shape.slice(0, -1), 1];
  if (!sameShape(dy.shape, x.shape) || !sameShape(w.shape, [dim(x, -1)]) || !sameShape(mean.shape, stat) || !sameShape(inv.shape, stat))
    fail("layerNormGrad", inputs, "shapes differ; pass dy, x, the weight, and layerNorm's second and third outputs");
  return [
    { dtype: x.dtype, shape: x.shape },
    { dtype: x.dtype, shape: w.shape },
    { dtype: x.dtype, shape: w.shape },
  ];
};

function checkAttention(op: "attention" | "attentionGrad", qkv: readonly [ValueType, ValueType, ValueType]): void {
  const [q, k, v] = qkv;
  sameDtype(op, qkv);
  floats(op, qkv);
  if (q.shape.length !== 4) fail(op, qkv, "queries have not four axes; make all three [batch, head, token, dim]");
  const [b, h, , d] = k.shape;
  if (!sameShape(k.shape, v.shape) || q.shape[0] !== b || q.shape[1] !== h || q.shape[3] !== d)
    fail(op, qkv, "they differ; queries, keys and values must agree in batch, head and dim, keys and values in tokens");
}

const attention: InferRule<"attention"> = (inputs) => {
  const [q, k, v] = arity("attention", inputs, 3);
  checkAttention("attention", [q, k, v]);
  return [{ dtype: q.dtype, shape: q.shape }];
};

const attentionGrad: InferRule<"attentionGrad"> = (inputs) => {
  const [d, ...qkv] = arity("attentionGrad", inputs, 4);
  checkAttention("attentionGrad", qkv);
  sameDtype("attentionGrad", inputs);
  if (!sameShape(d.shape, qkv[0].shape)) fail("attentionGrad", inputs, "shapes differ; pass the cotangent of attention's output first");
  return qkv.map(({ dtype, shape }) => ({ dtype, shape }));
};

export const REDUCTIONS: InferTable<ReduceOp> = {
  dot,
  dotAdd,
  reduceSum: reduce("reduceSum"),
  reduceSumSquare: reduce("reduceSumSquare"),
  reduceMax: reduce("reduceMax"),
  argMax,
  topK,
  softmax: overLastAxis("softmax"),
  logSoftmax: overLastAxis("logSoftmax"),
  l2Normalize: overLastAxis("l2Normalize"),
  softmaxGrad: gradLike("softmaxGrad"),
  logSoftmaxGrad: gradLike("logSoftmaxGrad"),
  geluGrad: gradLike("geluGrad"),
  layerNorm,
  layerNormGrad,
  attention,
  attentionGrad,
};
