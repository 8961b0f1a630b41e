/** @file Resampling kernels, and the table of taps that turns one line of pixels into another. */

export type Kernel = "nearest" | "box" | "bilinear" | "hamming" | "bicubic" | "lanczos";
export type SmoothKernel = Exclude<Kernel, "nearest">;

interface KernelRule {
  /** Half the width at scale 1, in source pixels. */
  readonly support: number;
  readonly weight: (x: number) => number;
}

/** Keys' cubic: a = -0.5 for antialiased resizing, -0.75 where torch interpolates without antialias. */
function cubic(x: number, a: number): number {
  const t = Math.abs(x);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * a;
  return 0;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

const KERNELS: { readonly [K in SmoothKernel]: KernelRule } = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: {
    support: 1,
    weight: (x) => (Math.abs(x) >= 1 ? 0 : sinc(x) * (0.54 + 0.46 * Math.cos(x * Math.PI))),
  },
  bicubic: { support: 2, weight: (x) => cubic(x, -0.5) },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** For each output position: its first source pixel, how many follow, and their weights at `i * stride`. Weights sum to 1. */
export interface Taps {
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  readonly weights: Float64Array;
  readonly stride: number;
}

/** The part of a line that is resampled: `length` pixels into `outLength`. Offsets are the caller's. */
export interface Line {
  readonly length: number;
  readonly outLength: number;
}

/** Antialiased taps: the kernel is widened by the shrink factor, cut at the ends, and normalised again (PIL and torch agree). */
export function makeTaps({ length, outLength }: Line, kernel: SmoothKernel): Taps {
  const { support: unit, weight } = KERNELS[kernel];
  const scale = length / outLength;
  const filterScale = Math.max(1, scale);
  const support = unit * filterScale;
  const stride = Math.ceil(support) * 2 + 1;
  const taps = {
    starts: new Int32Array(outLength),
    counts: new Int32Array(outLength),
    weights: new Float64Array(outLength * stride),
    stride,
  };
  const inverse = 1 / filterScale;
  for (let i = 0; i < outLength; i++) {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const count = Math.min(length, Math.trunc(centre + support + 0.5)) - first;
    taps.starts[i] = first;
    taps.counts[i] = count;
    const at = i * stride;
    let sum = 0;
    for (let t = 0; t < count; t++) {
      const w = weight((t + first - centre + 0.5) * inverse);
      taps.weights[at + t] = w;
      sum += w;
    }
    if (sum !== 0) for (let t = 0; t < count; t++) taps.weights[at + t]! /= sum; // t < count <= stride
  }
  return taps;
}

/** Torch's `interpolate` without antialias: fixed support, indices clamped to the edge, cubic with a = -0.75. */
export function makePlainTaps({ length, outLength }: Line, kernel: "bilinear" | "bicubic"): Taps {
  const stride = kernel === "bilinear" ? 2 : 4;
  const taps = {
    starts: new Int32Array(outLength),
    counts: new Int32Array(outLength),
    weights: new Float64Array(outLength * stride),
    stride,
  };
  const clamp = (i: number): number => Math.min(length - 1, Math.max(0, i));
  for (let i = 0; i < outLength; i++) {
    const centre = (i + 0.5) * (length / outLength) - 0.5;
    const x = kernel === "bilinear" ? Math.max(0, centre) : centre;
    const base = Math.floor(x) - (kernel === "bilinear" ? 0 : 1);
    const start = clamp(base);
    taps.starts[i] = start;
    taps.counts[i] = clamp(base + stride - 1) - start + 1;
    for (let t = 0; t < stride; t++) {
      const d = base + t - x;
      const w = kernel === "bilinear" ? Math.max(0, 1 - Math.abs(d)) : cubic(d, -0.75);
      taps.weights[i * stride + clamp(base + t) - start]! += w; // clamped taps share the edge pixel
    }
  }
  return taps;
}

/** Weights as integers with `bits` fractional bits, rounded half away from zero. */
export function quantise(weights: Float64Array, bits: number): Int32Array {
  const one = 2 ** bits;
  const out = new Int32Array(weights.length);
  for (let i = 0; i < out.length; i++) {
    const w = weights[i]! * one; // i < weights.length
    out[i] = w < 0 ? w - 0.5 : w + 0.5; // the store truncates
  }
  return out;
}

/** PIL keeps 22 fractional bits: 32 minus 8 of the pixel and 2 of head room. */
export const PIL_BITS = 22;

/** Torch keeps as many bits as let the largest weight fit in 16 signed bits, at most 22. */
export function torchBits(weights: Float64Array): number {
  let largest = 0;
  for (const w of weights) largest = Math.max(largest, w);
  let bits = 0;
  while (bits < 22 && Math.trunc(0.5 + largest * 2 ** (bits + 1)) < 2 ** 15) bits++;
  return bits;
}
