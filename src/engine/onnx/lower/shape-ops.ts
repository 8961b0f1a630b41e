/** @file Lowering of ops that move values. */
import { type DType, InternalError, sizeOf, stridesOf, type TypedArray } from "../../../core/index.ts";
import type { ShapeOp } from "../../ir/index.ts";
import { arg, type LowerTable } from "./context.ts";
import { scatterRows } from "./scatter.ts";

type Counting = (of: { readonly length: number }, value: (x: unknown, i: number) => number) => TypedArray;

/** The dtypes that iota counts in. */
const COUNTING: { readonly [K in DType]?: Counting } = {
  f32: (of, value) => Float32Array.from(of, value),
  f64: (of, value) => Float64Array.from(of, value),
  i32: (of, value) => Int32Array.from(of, value),
  i64: (of, value) => BigInt64Array.from(of, (x, i) => BigInt(value(x, i))),
};

export const SHAPE_OPS: LowerTable<ShapeOp> = {
  constant: ({ params }, to) => [to.constant(params.dtype, params.shape, params.data)],
  iota: ({ params: { dtype, shape, axis } }, to) => {
    const stride = stridesOf(shape)[axis] ?? 1;
    const at = (i: number): number => Math.floor(i / stride) % (shape[axis] ?? 1);
    const length = sizeOf(shape);
    const data = COUNTING[dtype]?.({ length }, (_, i) => at(i));
    if (data === undefined) throw new InternalError(`Cannot lower iota of ${dtype}: its shape rule refuses it; verify the graph`);
    return [to.constant(dtype, shape, data)];
  },
  reshape: (node, to) => [to.emit("Reshape", [to.name(arg(node, 0)), to.i64(node.params.shape)])],
  transpose: (node, to) => [to.emit("Transpose", [to.name(arg(node, 0))], { attrs: { perm: { ints: node.params.perm } } })],
  broadcast: (node, to) => [to.emit("Expand", [to.name(arg(node, 0)), to.i64(node.params.shape)])],
  slice: (node, to) => {
    const { starts, limits } = node.params;
    const axes = starts.map((_, i) => i).filter((i) => starts[i] !== 0 || limits[i] !== arg(node, 0).shape[i]);
    const pick = (xs: readonly number[]): string => to.i64(axes.map((i) => xs[i] ?? 0));
    return [to.emit("Slice", [to.name(arg(node, 0)), pick(starts), pick(limits), to.i64(axes)])];
  },
  pad: (node, to) => [to.emit("Pad", [to.name(arg(node, 0)), to.i64([...node.params.low, ...node.params.high])])],
  concat: (node, to) => [
    to.emit(
      "Concat",
      node.inputs.map((v) => to.name(v)),
      { attrs: { axis: { int: node.params.axis } } },
    ),
  ],
  split: (node, to) =>
    to.emitAll("Split", [to.name(arg(node, 0)), to.i64(node.params.sizes)], {
      attrs: { axis: { int: node.params.axis } },
      outputs: node.params.sizes.length,
    }),
  gather: (node, to) => [to.emit("Gather", [to.name(arg(node, 0)), to.name(arg(node, 1))], { attrs: { axis: { int: 0 } } })],
  scatterAdd: (node, to) => [scatterRows(node, to)],
};
