/** @file Weights as a model file stores them: float32, float16 cast back, or int8 with a scale for each output channel. */
import type { HostTensor } from "../../core/index.ts";
import type { Lowering } from "../../engine/onnx/index.ts";

export type WeightDType = "f32" | "f16" | "int8";

const LARGEST_HALF = 65504;
const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);

/** The nearest float16 of a float32 as a bit pattern, ties to even; beyond its range infinite. IEEE 754 §4.3.1. */
export function floatToHalf(value: number): number {
  float[0] = value;
  const x = bits[0] ?? 0;
  const sign = (x >>> 16) & 0x8000;
  const magnitude = x & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and above
  if (magnitude < 0x38800000) {
    // below 2^-14: a multiple of 2^-24
    const steps = Math.abs(value) * 2 ** 24;
    const low = Math.floor(steps);
    const up = steps - low > 0.5 || (steps - low === 0.5 && low % 2 === 1);
    return sign | (low + (up ? 1 : 0));
  }
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}

/** The step of int8 for each row of the first axis: `max |row| / 127`, 1 for a row of zeros. */
export function rowScales({ shape, data }: HostTensor): Float32Array {
  const [rows = 1] = shape;
  const width = data.length / rows;
  return Float32Array.from({ length: rows }, (_, r) => {
    let most = 0;
    for (let i = r * width; i < (r + 1) * width; i++) most = Math.max(most, Math.abs(Number(data[i])));
    return Math.fround(most / 127) || 1;
  });
}

/** Symmetric int8 by rows of the first axis: `round(x / scale)`. */
export function quantizeRows({ data }: HostTensor, scales: Float32Array): Int8Array {
  const width = data.length / scales.length;
  const values = new Int8Array(data.length);
  for (const [r, scale] of scales.entries())
    for (let i = r * width; i < (r + 1) * width; i++) values[i] = Math.max(-127, Math.min(127, Math.round(Number(data[i]) / scale)));
  return values;
}

/** Layers that see pixels, which int8 leaves alone: their weights are few and their inputs wide. */
const FIRST_LAYERS: ReadonlySet<string> = new Set(["patch_embed.proj.weight", "downsample_layers.0.0.weight", "conv1.weight"]);

/** Whether int8 stores a tensor: matrices and dense convolutions past the first layer. */
export function isQuantized(name: string, shape: readonly number[]): boolean {
  if (!name.endsWith(".weight") || FIRST_LAYERS.has(name)) return false;
  return shape.length === 2 || (shape.length === 4 && (shape[1] ?? 1) > 1);
}

/** Whether float16 holds a tensor: one with several axes, without values beyond its range. */
function isHalved({ shape, data }: HostTensor): boolean {
  return shape.length > 1 && (data as Float32Array).every((x) => Math.abs(x) <= LARGEST_HALF); // weights are float32
}

/** Emits a weight, made small when it is written; the name of its float32 value. Vectors (biases, norms, scales) stay float32. */
export function emitWeight(
  to: Lowering,
  tensor: HostTensor,
  { name, dtype }: { readonly name: string; readonly dtype: WeightDType },
): string {
  const { shape } = tensor;
  if (dtype === "f16" && isHalved(tensor)) {
    const stored = to.initializer({
      name,
      dtype: "f16",
      shape,
      get data() {
        return Uint16Array.from(tensor.data as Float32Array, floatToHalf); // weights are float32
      },
    });
    return to.emit("Cast", [stored], { attrs: { to: { int: 1 } } });
  }
  if (dtype === "int8" && isQuantized(name, shape)) {
    const scales = rowScales(tensor);
    const stored = to.initializer({
      name,
      dtype: "i8",
      shape,
      get data() {
        return quantizeRows(tensor, scales);
      },
    });
    const scale = to.initializer({ name: `${name}_scale`, dtype: "f32", shape: [scales.length], data: scales });
    return to.emit("DequantizeLinear", [stored, scale], { attrs: { axis: { int: 0 } } });
  }
  return to.initializer({ name, dtype: "f32", shape, data: tensor.data });
}
