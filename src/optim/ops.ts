/** @file The five operations optimizers are written in, so that one definition runs as numbers, as a traced graph or as WebAssembly. */

/** Arithmetic over `T`: a number, a traced tensor, a local of a kernel under construction. */
export interface Ops<T> {
  add(a: T, b: T): T;
  sub(a: T, b: T): T;
  mul(a: T, b: T): T;
  div(a: T, b: T): T;
  sqrt(a: T): T;
}

/** Float64, the truth of the tests. */
export const F64_OPS: Ops<number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  sqrt: (a) => Math.sqrt(a),
};

/** Float32: each result rounded once, which is what IEEE float32 hardware computes for these five operations. */
export const F32_OPS: Ops<number> = {
  add: (a, b) => Math.fround(a + b),
  sub: (a, b) => Math.fround(a - b),
  mul: (a, b) => Math.fround(a * b),
  div: (a, b) => Math.fround(a / b),
  sqrt: (a) => Math.fround(Math.sqrt(a)),
};
