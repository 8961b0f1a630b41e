/** @file Element types of tensors and the typed arrays that hold them. */
import { InternalError } from "./errors.ts";

export type DType = "f32" | "f64" | "bf16" | "i32" | "i64" | "bool" | "u8";
export type Shape = readonly number[];
export type TypedArray = Float32Array | Float64Array | Uint16Array | Int32Array | BigInt64Array | Uint8Array;

/** Bytes of one element. */
export const DTYPE_BYTES: { readonly [K in DType]: number } = { f32: 4, f64: 8, bf16: 2, i32: 4, i64: 8, bool: 1, u8: 1 };

/** Long names, as tensors are printed: `float32[2,3]`. */
export const DTYPE_NAMES: { readonly [K in DType]: string } = {
  f32: "float32",
  f64: "float64",
  bf16: "bfloat16",
  i32: "int32",
  i64: "int64",
  bool: "bool",
  u8: "uint8",
};

/** Number of elements of a shape. */
export function sizeOf(shape: Shape): number {
  let n = 1;
  for (const d of shape) n *= d;
  return n;
}

/** `float32[2,3]`. */
export function formatType(dtype: DType, shape: Shape): string {
  return `${DTYPE_NAMES[dtype]}[${shape.join(",")}]`;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((d, i) => d === b[i]);
}

/** Row-major strides, in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = Array<number>(shape.length).fill(1);
  for (let i = shape.length - 2; i >= 0; i--) strides[i] = (strides[i + 1] ?? 1) * (shape[i + 1] ?? 1);
  return strides;
}

/** A dense host tensor: `data` is row-major, `shape` its axes. */
export interface HostTensor {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly data: TypedArray;
}

/** Makes a float32 host tensor and checks that the data fills it. */
export function f32(shape: Shape, data: Float32Array): HostTensor {
  if (data.length !== sizeOf(shape)) throw new InternalError(`Cannot make ${formatType("f32", shape)}: data has ${data.length} values`);
  return { dtype: "f32", shape, data };
}
