/** @file One pass of floats along an axis, by a table of taps. */
import { ConfigError } from "../core/index.ts";
import { type Kernel, type Line, makePlainTaps, makeTaps, type Taps } from "./kernels.ts";

/** A pass over equal lengths changes nothing and is left out, as PIL does. */
export function line(length: number, outLength: number): Line | undefined {
  return length === outLength ? undefined : { length, outLength };
}

/** Taps of a kernel; undefined for a pass that changes nothing. Throws ConfigError for a filter that torch does not have. */
export function floatTaps(of: Line | undefined, kernel: Exclude<Kernel, "nearest">, antialias: boolean): Taps | undefined {
  if (of === undefined) return undefined;
  if (antialias) return makeTaps(of, kernel);
  if (kernel === "bilinear" || kernel === "bicubic") return makePlainTaps(of, kernel);
  throw new ConfigError(`Cannot resample with "${kernel}" without antialias: torch has no such filter; use "bilinear" or "bicubic"`);
}

/** out[o, i, n] = sum over taps of w[i, t] * in[o, start(i) + t, n]. */
export function floatPass(
  data: Float32Array,
  taps: Taps,
  shape: { readonly outer: number; readonly length: number; readonly inner: number },
): Float32Array {
  const { outer, length, inner } = shape;
  const outLength = taps.starts.length;
  const out = new Float32Array(outer * outLength * inner);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < outLength; i++)
      for (let n = 0; n < inner; n++) {
        let sum = 0;
        const p = (o * length + taps.starts[i]!) * inner + n; // i < outLength
        for (let t = 0; t < taps.counts[i]!; t++) sum += data[p + t * inner]! * taps.weights[i * taps.stride + t]!;
        out[(o * outLength + i) * inner + n] = sum;
      }
  return out;
}
