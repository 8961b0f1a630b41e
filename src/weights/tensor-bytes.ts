/** @file Raw little-endian bytes to host tensors and back. */
import { DTYPE_BYTES, InternalError, sizeOf, type DType, type HostTensor, type TypedArray } from "../core/index.ts";
import { halvesToFloats } from "./half.ts";

/** Tensors by name, in file order. */
export type NamedTensors = ReadonlyMap<string, HostTensor>;

/** Element types as stored; `f16` becomes float32 when read. */
export type StoredDType = DType | "f16";

export const STORED_BYTES: { readonly [K in StoredDType]: number } = { ...DTYPE_BYTES, f16: 2 };

/** A name as one of the element types; undefined for any other. */
export function storedDType(name: string): StoredDType | undefined {
  return Object.hasOwn(STORED_BYTES, name) ? (name as StoredDType) : undefined; // a key of the table
}

/** The bytes of a tensor, a view of its memory. */
export function bytesOf(tensor: HostTensor): Uint8Array {
  if (tensor.data.length !== sizeOf(tensor.shape))
    throw new InternalError(`Cannot write a tensor of shape [${tensor.shape.join(",")}]: it holds ${tensor.data.length} values`);
  return new Uint8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength);
}

/** A tensor over `bytes`, which must be exactly its size; takes a buffer that holds just them, copies otherwise. */
export function tensorOf(dtype: StoredDType, shape: readonly number[], bytes: Uint8Array): HostTensor {
  if (dtype === "f16") {
    return { dtype: "f32", shape, data: halvesToFloats(new Uint16Array(owned(bytes))) };
  }
  return { dtype, shape, data: VIEWS[dtype](owned(bytes)) };
}

const VIEWS: { readonly [K in DType]: (b: ArrayBuffer) => TypedArray } = {
  f32: (b) => new Float32Array(b),
  f64: (b) => new Float64Array(b),
  bf16: (b) => new Uint16Array(b),
  i32: (b) => new Int32Array(b),
  i64: (b) => new BigInt64Array(b),
  bool: (b) => new Uint8Array(b),
  u8: (b) => new Uint8Array(b),
};

/** A buffer that holds just these bytes. */
function owned(bytes: Uint8Array): ArrayBuffer {
  const { buffer, byteOffset, byteLength } = bytes;
  if (byteOffset === 0 && buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) return buffer;
  return new Uint8Array(bytes).buffer; // one copy, where from() goes value by value
}
