/**
 * @file Sums at indices in ONNX. ONNX Runtime's ScatterND(add) gives each thread a share of the indices and adds without locks: where an
 * index comes twice, a sum can get lost (seen with two threads, 8000 rows of 384 onto 2). ScatterElements(add) adds in order.
 */
import { type DType, type Shape, sizeOf } from "../../../core/index.ts";
import type { Node } from "../../ir/index.ts";
import { arg, type Lowering } from "./context.ts";

const ADD = { reduction: { string: "add" } } as const;

function zeros(to: Lowering, dtype: DType, shape: Shape): string {
  const data = dtype === "i32" ? new Int32Array(1) : dtype === "f64" ? new Float64Array(1) : new Float32Array(1);
  return to.emit("Expand", [to.constant(dtype, [], data), to.i64(shape)]);
}

interface Sums {
  readonly updates: string;
  /** int64, of the updates' shape. */
  readonly indices: string;
  readonly shape: Shape;
  readonly dtype: DType;
}

/** Zeros of `shape` with each update added at its index of the first axis. */
export function addAtIndices(to: Lowering, { updates, indices, shape, dtype }: Sums): string {
  return to.emit("ScatterElements", [zeros(to, dtype, shape), indices, updates], { attrs: { axis: { int: 0 }, ...ADD } });
}

/** Rows added at their indices: on all threads where no index comes twice, in order otherwise. */
export function scatterRows(node: Node<"scatterAdd">, to: Lowering): string {
  const updates = arg(node, 0);
  const { rows, unique = false } = node.params;
  const [n = 1, ...rest] = updates.shape;
  const wide = to.emit("Cast", [to.name(arg(node, 1))], { attrs: { to: { int: 7 } } });
  const column = to.emit("Reshape", [wide, to.i64([-1, 1])]);
  const shape = [rows, ...rest];
  if (unique) return to.emit("ScatterND", [zeros(to, updates.dtype, shape), column, to.name(updates)], { attrs: ADD });
  const d = sizeOf(rest);
  const flat = rest.length === 1 ? to.name(updates) : to.emit("Reshape", [to.name(updates), to.i64([n, d])]);
  const indices = to.emit("Expand", [column, to.i64([n, d])]);
  const y = addAtIndices(to, { updates: flat, indices, shape: [rows, d], dtype: updates.dtype });
  return rest.length === 1 ? y : to.emit("Reshape", [y, to.i64(shape)]);
}
