/** @file Raw little-endian bytes to host tensors and back. */
import { DTYPE_BYTES, FormatError, InternalError, sizeOf, type DType, type HostTensor, type TypedArray } from "../core/index.ts";
import { halvesToFloats } from "./half.ts";

/** Tensors by name, in file order. */
export type NamedTensors = ReadonlyMap<string, HostTensor>;

/** Types that no tensor of ours has: read as the next wider one that holds all their values. */
type NarrowDType = "f16" | "i8" | "i16" | "u16" | "u32" | "u64";
/** Element types as stored. */
export type StoredDType = DType | NarrowDType;

export const STORED_BYTES: { readonly [K in StoredDType]: number } = { ...DTYPE_BYTES, f16: 2, i8: 1, i16: 2, u16: 2, u32: 4, u64: 8 };

const WIDER: { readonly [K in NarrowDType]: DType } = { f16: "f32", i8: "i32", i16: "i32", u16: "i32", u32: "i64", u64: "i64" };

const isNarrow = (dtype: StoredDType): dtype is NarrowDType => Object.hasOwn(WIDER, dtype);

/** The type that values of a stored type have once they are read. */
export function readAs(dtype: StoredDType): DType {
  return isNarrow(dtype) ? WIDER[dtype] : dtype;
}

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

/**
 * A tensor over `bytes`, which must be exactly its size; takes a buffer that holds just them, copies otherwise. Narrow types are widened.
 * Throws FormatError for an unsigned number that int64 does not hold.
 */
export function tensorOf(dtype: StoredDType, shape: readonly number[], bytes: Uint8Array): HostTensor {
  const buffer = owned(bytes);
  if (isNarrow(dtype)) return { dtype: WIDER[dtype], shape, data: WIDEN[dtype](buffer) };
  return { dtype, shape, data: VIEWS[dtype](buffer) };
}

const WIDEN: { readonly [K in NarrowDType]: (b: ArrayBuffer) => TypedArray } = {
  f16: (b) => halvesToFloats(new Uint16Array(b)),
  i8: (b) => new Int32Array(new Int8Array(b)),
  i16: (b) => new Int32Array(new Int16Array(b)),
  u16: (b) => new Int32Array(new Uint16Array(b)),
  u32: (b) => BigInt64Array.from(new Uint32Array(b), BigInt),
  u64: signed,
};

function signed(buffer: ArrayBuffer): BigInt64Array {
  const values = new BigInt64Array(buffer);
  const large = values.findIndex((x) => x < 0n);
  if (large < 0) return values;
  throw new FormatError(
    `Cannot read values of uint64: ${BigInt.asUintN(64, values[large] ?? 0n)} is more than int64 holds; save them as another type`,
  );
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
