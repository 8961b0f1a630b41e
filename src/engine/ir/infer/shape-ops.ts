/** @file Shape rules of ops that move values without computing. */
import { type DType, sizeOf, type TypedArray } from "../../../core/index.ts";
import type { ShapeOp, ValueType } from "../types.ts";
import { arity, axisOf, checkShape, dim, fail, failDtype, type InferRule, type InferTable, numbers, sameDtype } from "./rule.ts";

/** The array that holds each dtype: a constant of any other would be lowered to wrong bytes. */
const ARRAYS: { readonly [K in DType]: TypedArray["constructor"] } = {
  f32: Float32Array,
  f64: Float64Array,
  bf16: Uint16Array,
  i32: Int32Array,
  i64: BigInt64Array,
  bool: Uint8Array,
  u8: Uint8Array,
};

const constant: InferRule<"constant"> = (inputs, { dtype, shape, data }) => {
  arity("constant", inputs, 0);
  checkShape("constant", { dtype, shape });
  if (data.length !== sizeOf(shape)) fail("constant", [{ dtype, shape }], `its data has ${data.length} values; pass ${sizeOf(shape)}`);
  if (data.constructor !== ARRAYS[dtype])
    failDtype("constant", [{ dtype, shape }], `its data is a ${data.constructor.name}; pass a ${ARRAYS[dtype].name}`);
  return [{ dtype, shape }];
};

const iota: InferRule<"iota"> = (inputs, { dtype, shape, axis }) => {
  arity("iota", inputs, 0);
  checkShape("iota", { dtype, shape });
  axisOf("iota", { dtype, shape }, axis);
  if (dtype !== "i32" && dtype !== "i64" && dtype !== "f32" && dtype !== "f64")
    failDtype("iota", [{ dtype, shape }], "there is no counting in it; make it int32 or float32 and cast");
  return [{ dtype, shape }];
};

const reshape: InferRule<"reshape"> = (inputs, { shape }) => {
  const [x] = arity("reshape", inputs, 1);
  checkShape("reshape", { dtype: x.dtype, shape });
  if (sizeOf(shape) !== sizeOf(x.shape))
    fail("reshape", [x], `[${shape.join(",")}] has ${sizeOf(shape)} values, not ${sizeOf(x.shape)}; correct the shape`);
  return [{ dtype: x.dtype, shape }];
};

const transpose: InferRule<"transpose"> = (inputs, { perm }) => {
  const [x] = arity("transpose", inputs, 1);
  const sorted = [...perm].sort((a, b) => a - b);
  if (perm.length !== x.shape.length || sorted.some((a, i) => a !== i))
    fail("transpose", [x], `[${perm.join(",")}] is no order of its axes; name each axis once`);
  return [{ dtype: x.dtype, shape: perm.map((p) => dim(x, p)) }];
};

const broadcast: InferRule<"broadcast"> = (inputs, { shape }) => {
  const [x] = arity("broadcast", inputs, 1);
  checkShape("broadcast", { dtype: x.dtype, shape });
  const lead = shape.length - x.shape.length;
  if (lead < 0 || x.shape.some((d, i) => d !== 1 && d !== shape[lead + i]))
    fail("broadcast", [x], `it does not fit [${shape.join(",")}]; axes must be equal or 1, from the last`);
  return [{ dtype: x.dtype, shape }];
};

const slice: InferRule<"slice"> = (inputs, { starts, limits }) => {
  const [x] = arity("slice", inputs, 1);
  if (starts.length !== x.shape.length || limits.length !== x.shape.length)
    fail("slice", [x], `${starts.length} starts and ${limits.length} limits were given; pass one of each an axis`);
  const shape = x.shape.map((d, i) => {
    const [lo, hi] = [starts[i] ?? 0, limits[i] ?? d];
    if (!Number.isInteger(lo) || !Number.isInteger(hi) || lo < 0 || hi > d || lo >= hi)
      fail("slice", [x], `axis ${i} has no range ${lo}..${hi}; stay within 0..${d}, start below limit`);
    return hi - lo;
  });
  return [{ dtype: x.dtype, shape }];
};

const pad: InferRule<"pad"> = (inputs, { low, high }) => {
  const [x] = arity("pad", inputs, 1);
  if (low.length !== x.shape.length || high.length !== x.shape.length)
    fail("pad", [x], `${low.length} low and ${high.length} high widths were given; pass one of each an axis`);
  if ([...low, ...high].some((n) => !Number.isInteger(n) || n < 0))
    fail("pad", [x], "a width is not a whole number of 0 or more; slice to make it smaller");
  return [{ dtype: x.dtype, shape: x.shape.map((d, i) => d + (low[i] ?? 0) + (high[i] ?? 0)) }];
};

const concat: InferRule<"concat"> = (inputs, { axis }) => {
  const [first] = inputs;
  if (first === undefined) return fail("concat", [], "there is nothing to join; pass a tensor");
  sameDtype("concat", inputs);
  axisOf("concat", first, axis);
  if (inputs.some((t) => t.shape.length !== first.shape.length || t.shape.some((d, i) => i !== axis && d !== first.shape[i])))
    fail("concat", inputs, `shapes differ off axis ${axis}; make them equal there`);
  const total = inputs.reduce((n, t) => n + dim(t, axis), 0);
  return [{ dtype: first.dtype, shape: first.shape.map((d, i) => (i === axis ? total : d)) }];
};

const split: InferRule<"split"> = (inputs, { axis, sizes }) => {
  const [x] = arity("split", inputs, 1);
  axisOf("split", x, axis);
  if (sizes.reduce((a, b) => a + b, 0) !== dim(x, axis) || sizes.some((n) => !Number.isInteger(n) || n < 1))
    fail("split", [x], `sizes [${sizes.join(",")}] do not fill axis ${axis}; they must be 1 or more and add up to ${dim(x, axis)}`);
  return sizes.map((n) => ({ dtype: x.dtype, shape: x.shape.map((d, i) => (i === axis ? n : d)) }));
};

function needIndices(op: "gather" | "scatterAdd", inputs: readonly ValueType[]): void {
  const indices = inputs[1];
  if (indices?.dtype !== "i32") failDtype(op, inputs, "indices are not int32; cast them");
  if (indices.shape.length !== 1) fail(op, inputs, "indices have not one axis; reshape them");
}

const gather: InferRule<"gather"> = (inputs) => {
  const [x, indices] = arity("gather", inputs, 2);
  needIndices("gather", inputs);
  if (x.shape.length === 0) fail("gather", inputs, "a scalar has no rows; give it an axis");
  return [{ dtype: x.dtype, shape: [dim(indices, 0), ...x.shape.slice(1)] }];
};

const scatterAdd: InferRule<"scatterAdd"> = (inputs, { rows }) => {
  const [updates, indices] = arity("scatterAdd", inputs, 2);
  needIndices("scatterAdd", inputs);
  numbers("scatterAdd", [updates]);
  checkShape("scatterAdd", { dtype: updates.dtype, shape: [rows] });
  if (updates.shape[0] !== dim(indices, 0)) fail("scatterAdd", inputs, "rows and indices differ in number; pass one index a row");
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
