/** @file What a kernel of the fused optimizer does, in JavaScript and in WebAssembly: three loops over a span of flat buffers. */

/** A float32 array over shared memory. */
export type SharedFloats = Float32Array<SharedArrayBuffer>;

/** The buffers of one optimizer; `square` for AdamW only, `teacher` where there is one. */
export interface KernelBuffers {
  readonly param: SharedFloats;
  readonly grad: SharedFloats;
  readonly mean: SharedFloats;
  readonly square?: SharedFloats | undefined;
  readonly teacher?: SharedFloats | undefined;
}

/** The update a kernel applies; LARS is `momentum` with a trust ratio among its scalars. */
export type UpdateKind = "adamw" | "momentum";

/** Floats from `start`; `length` is a multiple of 16 and above 0. */
export interface Span {
  readonly start: number;
  readonly length: number;
}

/**
 * Both kernels compute in float32, each operation rounded once, in the order of `adamw()`, `momentumUpdate()` and `ema()`,
 * and sum in float64 in the same order: they agree in every bit.
 */
export interface Kernel {
  /** Σ aᵢbᵢ of a span in float64. */
  dot(a: "grad" | "param", b: "grad" | "param", span: Span): number;
  /** Updates parameter and moments in place; scalars as `kernelScalars()` orders them, in float32. */
  update(span: Span, scalars: Float32Array): void;
  /** Moves the teacher towards the parameter by `rest` = 1 − m. */
  ema(span: Span, rest: number): void;
}
