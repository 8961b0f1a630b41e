/** @file Buffers of a program's inputs and outputs: those that are given, and new ones. Needs no Node. */
import { type DType, DTYPE_BYTES, formatType, ShapeError, sizeOf, type TypedArray } from "../../core/index.ts";
import type { GraphInput, GraphOutput, Value } from "../ir/index.ts";

/** An array of a dtype over part of a buffer. */
export function viewOf(dtype: DType, buffer: ArrayBufferLike, range: { readonly offset: number; readonly length: number }): TypedArray {
  const { offset, length } = range;
  const make = {
    f32: () => new Float32Array(buffer, offset, length),
    f64: () => new Float64Array(buffer, offset, length),
    bf16: () => new Uint16Array(buffer, offset, length),
    i32: () => new Int32Array(buffer, offset, length),
    i64: () => new BigInt64Array(buffer, offset, length),
    bool: () => new Uint8Array(buffer, offset, length),
    u8: () => new Uint8Array(buffer, offset, length),
  };
  return make[dtype]();
}

/** A new one, of 64 bytes at least. */
export function allocate(value: Value): TypedArray {
  const length = sizeOf(value.shape);
  return viewOf(value.dtype, new ArrayBuffer(Math.max(64, length * DTYPE_BYTES[value.dtype])), { offset: 0, length });
}

/** The buffer of an input or output. Throws ShapeError for a given one of another length. */
export function givenOrNew(item: GraphInput | GraphOutput, given: ReadonlyMap<string, TypedArray> | undefined): TypedArray {
  const view = given?.get(item.name);
  if (view === undefined) return allocate(item.value);
  const { dtype, shape } = item.value;
  if (view.length !== sizeOf(shape))
    throw new ShapeError(
      `Cannot compile: "${item.name}" is ${formatType(dtype, shape)}, its buffer has ${view.length} values; pass one of ${sizeOf(shape)}`,
    );
  return view;
}
