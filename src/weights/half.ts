/** @file Half-width floats as 16-bit patterns: float16 and bfloat16, to and from float32. */
import { sizeOf, type HostTensor } from "../core/index.ts";
import { DTypeError, formatType } from "../core/index.ts";

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** The value of a float16 bit pattern, exact. */
export function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Every float16 value by its bits; made when first needed. */
let halves: Float32Array | undefined;

/** The values of float16 bit patterns, exact. */
export function halvesToFloats(bits: Uint16Array): Float32Array {
  halves ??= Float32Array.from({ length: 65_536 }, (_, i) => halfToFloat(i));
  const out = new Float32Array(bits.length);
  for (let i = 0; i < out.length; i++) out[i] = halves[bits[i]!]!; // 16 bits, in an array as long
  return out;
}

/** The nearest bfloat16 of a float32, ties to even; NaN stays NaN. */
export function floatToBfloat(value: number): number {
  scratch[0] = value;
  const bits = scratchBits[0] ?? 0;
  if (Number.isNaN(value)) return 0x7fc0;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** The same tensor in float32 (f32 itself is passed through). Throws DTypeError for integers. */
export function toFloat32(tensor: HostTensor): HostTensor {
  const { dtype, shape, data } = tensor;
  if (dtype === "f32") return tensor;
  if (dtype === "f64") return { dtype: "f32", shape, data: new Float32Array(data as Float64Array) }; // f64 is held in a Float64Array
  if (dtype === "bf16") {
    const [out, stored] = [new Float32Array(sizeOf(shape)), data as Uint16Array]; // bf16 is held in a Uint16Array
    const bits = new Uint32Array(out.buffer);
    for (let i = 0; i < bits.length; i++) bits[i] = stored[i]! << 16; // as long as the shape says
    return { dtype: "f32", shape, data: out };
  }
  throw new DTypeError(`Cannot take ${formatType(dtype, shape)} as float32: it is not a floating-point tensor; convert it by hand`);
}
