/** @file The element types of ONNX's tensors, and the bytes they take. */

/** TensorProto.DataType by its number (ONNX 1.17). */
const TYPES = [
  ["undefined", 0],
  ["float32", 32],
  ["uint8", 8],
  ["int8", 8],
  ["uint16", 16],
  ["int16", 16],
  ["int32", 32],
  ["int64", 64],
  ["string", 0],
  ["bool", 8],
  ["float16", 16],
  ["float64", 64],
  ["uint32", 32],
  ["uint64", 64],
  ["complex64", 64],
  ["complex128", 128],
  ["bfloat16", 16],
  ["float8e4m3fn", 8],
  ["float8e4m3fnuz", 8],
  ["float8e5m2", 8],
  ["float8e5m2fnuz", 8],
  ["uint4", 4],
  ["int4", 4],
  ["float4e2m1", 4],
] as const;

export type ElementType = (typeof TYPES)[number][0] | `type ${number}`;

/** The name of an element type; `type 99` for one that is not known. */
export function elementType(code: number): ElementType {
  return TYPES[code]?.[0] ?? `type ${code}`;
}

/** Bytes of so many elements; undefined where their width is not known. */
export function elementBytes(dtype: ElementType, count: number): number | undefined {
  const bits = TYPES.find(([name]) => name === dtype)?.[1] ?? 0;
  return bits === 0 ? undefined : Math.ceil((count * bits) / 8);
}
