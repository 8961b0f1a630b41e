/** @file What a test case of an op is, and the values to fill one with. Shared by the suites over the op table. */
import { type DType, Rng, sizeOf, type Shape } from "../../core/index.ts";
import type { Tolerance } from "../../core/testing/golden.ts";
import type { NO_GRADIENT, NOT_TWICE } from "../grad/index.ts";
import type { OpName, OpParams, ValueType } from "../ir/index.ts";

/** A value to run an op on: plain numbers, whatever the dtype. */
export interface CaseInput extends ValueType {
  readonly data: readonly number[];
}

interface CaseOf<Params> {
  readonly name: string;
  readonly inputs: readonly CaseInput[];
  readonly params: Params;
  /** The outputs' types, printed: `float32[2,3]`. */
  readonly types: readonly string[];
  /** The outputs, or the first of them, by hand or by a formula of its own; absent where the interpreter's code is that formula. */
  readonly want?: (...inputs: readonly (readonly number[])[]) => readonly (readonly number[])[];
  /** How near ONNX Runtime must come to the interpreter. */
  readonly tolerance?: Tolerance;
  /** What of the gradient is checked: all, only device against interpreter (large cases), or nothing (at a kink, at an extreme). */
  readonly gradient?: "all" | "device" | "none";
  /** Outputs that get a cotangent; every float one when absent. */
  readonly differentiable?: readonly number[];
}

/** Inputs that the op must refuse, with the words it does so. */
interface RefusalOf<Params> {
  readonly inputs: readonly ValueType[];
  readonly params: Params;
  readonly message: string;
}

/** Every op has at least one case, and says whether it has a gradient. */
interface CasesOf<Params> {
  readonly gradient: "smooth" | typeof NO_GRADIENT | typeof NOT_TWICE;
  readonly cases: readonly [CaseOf<Params>, ...CaseOf<Params>[]];
  readonly refuses: readonly RefusalOf<Params>[];
}

/** Ops with equal parameters have equal types of cases. */
export type OpCase<K extends OpName> = CaseOf<OpParams[K]>;
export type OpCases<K extends OpName> = CasesOf<OpParams[K]>;

/** Cases of a family of ops: a missing one does not compile. */
export type CaseTable<Names extends OpName> = { readonly [K in Names]: OpCases<K> };

type FillName = "signed" | "positive" | "apart" | "whole" | "truth";
type Fill = (rng: Rng, n: number) => number[];

/** Ways to fill an input: every value is a float32, so that all back ends start from the same numbers. */
const FILLS: { readonly [F in FillName]: Fill } = {
  /** Magnitudes of 0.2 to 2 of both signs: away from the kinks at 0. */
  signed: (rng, n) => Array.from({ length: n }, () => Math.fround(rng.uniform(0.2, 2) * (rng.bernoulli(0.5) ? 1 : -1))),
  positive: (rng, n) => Array.from({ length: n }, () => Math.fround(rng.uniform(0.3, 3))),
  /** No two values nearer than 0.1: away from ties. */
  apart: (rng, n) => Array.from(rng.permutation(n), (i) => Math.fround((i - n / 2) * 0.1 + 0.03)),
  whole: (rng, n) => Array.from({ length: n }, () => rng.int(19) - 9),
  truth: (rng, n) => Array.from({ length: n }, () => Number(rng.bernoulli(0.5))),
};

const FILL_OF: { readonly [K in DType]: FillName } = {
  f32: "signed",
  f64: "signed",
  bf16: "signed",
  i32: "whole",
  i64: "whole",
  u8: "truth",
  bool: "truth",
};

export interface InputOptions {
  readonly dtype?: DType;
  readonly fill?: FillName;
  /** Tells apart two inputs of one shape. */
  readonly seed?: number;
}

/** A seeded input. */
export function random(shape: Shape, { dtype = "f32", fill = FILL_OF[dtype], seed = 0 }: InputOptions = {}): CaseInput {
  const rng = new Rng(seed, `case/${shape.join()}`);
  return { dtype, shape, data: FILLS[fill](rng, sizeOf(shape)) };
}

/** An input by hand. */
export function given(shape: Shape, data: readonly number[], dtype: DType = "f32"): CaseInput {
  return { dtype, shape, data: dtype === "f32" ? data.map((x) => Math.fround(x)) : data };
}

/** A type for refusals. */
export function typed(shape: Shape, dtype: DType = "f32"): ValueType {
  return { dtype, shape };
}
