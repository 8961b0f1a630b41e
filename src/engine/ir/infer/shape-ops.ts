/** @file Shape rules of ops that move values without computing. */
import { DTypeError, sizeOf } from "../../../core/index.ts";
import type { ShapeOp, ValueType } from "../types.ts";
import { arity, axisOf, dim, fail, type InferRule, type InferTable, sameDtype, show } from "./rule.ts";

const constant: InferRule<"constant"> = (inputs, { dtype, shape, data }) => {
  arity("constant", inputs, 0);
  if (data.length !== sizeOf(shape)) fail("constant", [{ dtype, shape }], `data has ${data.length} values`);
  return [{ dtype, shape }];
};

const iota: InferRule<"iota"> = (inputs, { dtype, shape, axis }) => {
  arity("iota", inputs, 0);
  axisOf("iota", { dtype, shape }, axis);
  return [{ dtype, shape }];
};

const reshape: InferRule<"reshape"> = (inputs, { shape }) => {
  const [x] = arity("reshape", inputs, 1) as [ValueType]; // counted by arity
  if (sizeOf(shape) !== sizeOf(x.shape)) fail("reshape", [x], `[${shape.join(",")}] has another number of values`);
  return [{ dtype: x.dtype, shape }];
};

const transpose: InferRule<"transpose"> = (inputs, { perm }) => {
  const [x] = arity("transpose", inputs, 1) as [ValueType]; // counted by arity
  const sorted = [...perm].sort((a, b) => a - b);
  if (perm.length !== x.shape.length || sorted.some((a, i) => a !== i))
    fail("transpose", [x], `[${perm.join(",")}] is no order of its axes`);
  return [{ dtype: x.dtype, shape: perm.map((p) => dim(x, p)) }];
};

const broadcast: InferRule<"broadcast"> = (inputs, { shape }) => {
  const [x] = arity("broadcast", inputs, 1) as [ValueType]; // counted by arity
  const lead = shape.length - x.shape.length;
  if (lead < 0 || x.shape.some((d, i) => d !== 1 && d !== shape[lead + i])) fail("broadcast", [x], `does not fit [${shape.join(",")}]`);
  return [{ dtype: x.dtype, shape }];
};

const slice: InferRule<"slice"> = (inputs, { starts, limits }) => {
  const [x] = arity("slice", inputs, 1) as [ValueType]; // counted by arity
  if (starts.length !== x.shape.length || limits.length !== x.shape.length) fail("slice", [x], "needs a start and a limit for each axis");
  const shape = x.shape.map((d, i) => {
    const [lo, hi] = [starts[i] ?? 0, limits[i] ?? d];
    if (lo < 0 || hi > d || lo >= hi) fail("slice", [x], `axis ${i} has no range ${lo}..${hi}`);
    return hi - lo;
  });
  return [{ dtype: x.dtype, shape }];
};

const pad: InferRule<"pad"> = (inputs, { low, high }) => {
  const [x] = arity("pad", inputs, 1) as [ValueType]; // counted by arity
  if (low.length !== x.shape.length || high.length !== x.shape.length) fail("pad", [x], "needs a low and a high width for each axis");
  if ([...low, ...high].some((n) => n < 0)) fail("pad", [x], "widths must be 0 or more; slice to make it smaller");
  return [{ dtype: x.dtype, shape: x.shape.map((d, i) => d + (low[i] ?? 0) + (high[i] ?? 0)) }];
};

const concat: InferRule<"concat"> = (inputs, { axis }) => {
  const [first] = inputs;
  if (first === undefined) return fail("concat", [], "there is nothing to join");
  sameDtype("concat", inputs);
  axisOf("concat", first, axis);
  if (inputs.some((t) => t.shape.length !== first.shape.length || t.shape.some((d, i) => i !== axis && d !== first.shape[i])))
    fail("concat", inputs, `shapes differ off axis ${axis}`);
  const total = inputs.reduce((n, t) => n + dim(t, axis), 0);
  return [{ dtype: first.dtype, shape: first.shape.map((d, i) => (i === axis ? total : d)) }];
};

const split: InferRule<"split"> = (inputs, { axis, sizes }) => {
  const [x] = arity("split", inputs, 1) as [ValueType]; // counted by arity
  axisOf("split", x, axis);
  if (sizes.reduce((a, b) => a + b, 0) !== dim(x, axis) || sizes.some((n) => n < 1))
    fail("split", [x], `sizes [${sizes.join(",")}] do not fill axis ${axis}`);
  return sizes.map((n) => ({ dtype: x.dtype, shape: x.shape.map((d, i) => (i === axis ? n : d)) }));
};

function needIndices(op: "gather" | "scatterAdd", indices: ValueType): void {
  if (indices.dtype !== "i32" || indices.shape.length !== 1)
    throw new DTypeError(`Cannot ${op} by ${show(indices)}: indices must be int32[n]`);
}

const gather: InferRule<"gather"> = (inputs) => {
  const [x, indices] = arity("gather", inputs, 2) as [ValueType, ValueType]; // counted by arity
  needIndices("gather", indices);
  if (x.shape.length === 0) fail("gather", inputs, "a scalar has no rows");
  return [{ dtype: x.dtype, shape: [dim(indices, 0), ...x.shape.slice(1)] }];
};

const scatterAdd: InferRule<"scatterAdd"> = (inputs, { rows }) => {
  const [updates, indices] = arity("scatterAdd", inputs, 2) as [ValueType, ValueType]; // counted by arity
  needIndices("scatterAdd", indices);
  if (dim(updates, 0) !== dim(indices, 0)) fail("scatterAdd", inputs, "there must be one index for each row");
  return [{ dtype: updates.dtype, shape: [rows, ...updates.shape.slice(1)] }];
};

export const SHAPE_OPS: InferTable<ShapeOp> = {
  constant,
  iota,
  reshape,
  transpose,
  broadcast,
  slice,
  pad,
  concat,
  split,
  gather,
  scatterAdd,
};
