/** @file Operations on symbolic tensors. A function here only adds nodes. */
import { type DType, DTYPE_NAMES, DTypeError, type Shape, ShapeError, sizeOf, type TypedArray } from "../../core/index.ts";
import { type CompareDirection, isFloat, type OpName, type OpParams } from "../ir/index.ts";
import type { Builder } from "./builder.ts";
import { Tensor } from "./tensor.ts";

/** A tensor, or a number that becomes a scalar of the other operand's dtype. */
export type Operand = Tensor | number;

const NONE = Object.freeze({});

const SCALARS: { readonly [K in DType]?: (x: number) => TypedArray } = {
  f32: (x) => Float32Array.of(x),
  f64: (x) => Float64Array.of(x),
  i32: (x) => Int32Array.of(x),
  i64: (x) => BigInt64Array.of(BigInt(x)),
};

/** A scalar constant. */
export function scalar(builder: Builder, x: number, dtype: DType = "f32"): Tensor {
  const make = SCALARS[dtype];
  if (make === undefined)
    throw new DTypeError(`Cannot make ${x} a ${DTYPE_NAMES[dtype]}: no such scalar is needed; make it float32 and cast`);
  if (!isFloat(dtype) && !Number.isInteger(x))
    throw new DTypeError(`Cannot make ${x} an ${DTYPE_NAMES[dtype]}: it is not a whole number; cast the other operand to float32`);
  return builder.op("constant", [], { dtype, shape: [], data: make(x) });
}

/** A constant tensor of float32. */
export function constant(builder: Builder, shape: Shape, data: Float32Array): Tensor {
  return builder.op("constant", [], { dtype: "f32", shape, data });
}

/** A constant tensor of int32. */
export function constantI32(builder: Builder, shape: Shape, data: Int32Array): Tensor {
  return builder.op("constant", [], { dtype: "i32", shape, data });
}

function pair(a: Operand, b: Operand): [Tensor, Tensor] {
  if (a instanceof Tensor) return [a, b instanceof Tensor ? b : scalar(a.builder, b, a.dtype)];
  if (b instanceof Tensor) return [scalar(b.builder, a, b.dtype), b];
  throw new TypeError("Cannot combine two numbers: neither is a tensor; make one of them with scalar()");
}

type Plain = {
  [K in OpName]: OpParams[K] extends Readonly<Record<never, never>> ? (keyof OpParams[K] extends never ? K : never) : never;
}[OpName];

function unary(op: Plain): (x: Tensor) => Tensor {
  return (x) => x.builder.op(op, [x], NONE);
}
function binary(op: Plain): (a: Operand, b: Operand) => Tensor {
  return (a, b) => {
    const [x, y] = pair(a, b);
    return x.builder.op(op, [x, y], NONE);
  };
}

export const neg: (x: Tensor) => Tensor = unary("neg");
export const abs: (x: Tensor) => Tensor = unary("abs");
export const sign: (x: Tensor) => Tensor = unary("sign");
export const exp: (x: Tensor) => Tensor = unary("exp");
export const log: (x: Tensor) => Tensor = unary("log");
export const sqrt: (x: Tensor) => Tensor = unary("sqrt");
export const rsqrt: (x: Tensor) => Tensor = unary("rsqrt");
export const tanh: (x: Tensor) => Tensor = unary("tanh");
/** max(x, 0); its slope at 0 is 0. */
export const relu: (x: Tensor) => Tensor = unary("relu");
export const sigmoid: (x: Tensor) => Tensor = unary("sigmoid");
export const erf: (x: Tensor) => Tensor = unary("erf");
export const sin: (x: Tensor) => Tensor = unary("sin");
export const cos: (x: Tensor) => Tensor = unary("cos");
/** x Φ(x), the exact (erf) form. */
export const gelu: (x: Tensor) => Tensor = unary("gelu");
export const stopGradient: (x: Tensor) => Tensor = unary("stopGradient");
export const barrier: (x: Tensor) => Tensor = unary("barrier");
/** Softmax over the last axis. */
export const softmax: (x: Tensor) => Tensor = unary("softmax");
/** Log-softmax over the last axis. */
export const logSoftmax: (x: Tensor) => Tensor = unary("logSoftmax");

export const add: (a: Operand, b: Operand) => Tensor = binary("add");
export const sub: (a: Operand, b: Operand) => Tensor = binary("sub");
export const mul: (a: Operand, b: Operand) => Tensor = binary("mul");
export const div: (a: Operand, b: Operand) => Tensor = binary("div");
export const minimum: (a: Operand, b: Operand) => Tensor = binary("min");
export const maximum: (a: Operand, b: Operand) => Tensor = binary("max");

export function compare(a: Operand, direction: CompareDirection, b: Operand): Tensor {
  const [x, y] = pair(a, b);
  return x.builder.op("compare", [x, y], { direction });
}

/** `condition ? a : b`, element by element. Slow on CPU back ends: mask by multiplication in hot loops. */
export function select(condition: Tensor, a: Operand, b: Operand): Tensor {
  const [x, y] = pair(a, b);
  return x.builder.op("select", [condition, x, y], NONE);
}

export function cast(x: Tensor, dtype: DType): Tensor {
  return x.dtype === dtype ? x : x.builder.op("cast", [x], { dtype });
}

export function reshape(x: Tensor, shape: Shape): Tensor {
  return x.shape.length === shape.length && x.shape.every((d, i) => d === shape[i]) ? x : x.builder.op("reshape", [x], { shape });
}

export function transpose(x: Tensor, perm: readonly number[]): Tensor {
  return perm.length === x.shape.length && perm.every((p, i) => p === i) ? x : x.builder.op("transpose", [x], { perm });
}

export function broadcast(x: Tensor, shape: Shape): Tensor {
  return x.shape.length === shape.length && x.shape.every((d, i) => d === shape[i]) ? x : x.builder.op("broadcast", [x], { shape });
}

function checkAxis(verb: string, x: Tensor, axis: number): void {
  if (!(axis in x.shape)) throw new ShapeError(`Cannot ${verb} ${x.toString()}: there is no axis ${axis}; it has ${x.shape.length}`);
}

/** The range start..limit of one axis. */
export function slice(x: Tensor, axis: number, range: readonly [start: number, limit: number]): Tensor {
  const [start, limit] = range;
  checkAxis("slice", x, axis);
  if (start === 0 && limit === x.shape[axis]) return x;
  return x.builder.op("slice", [x], {
    starts: x.shape.map((_, i) => (i === axis ? start : 0)),
    limits: x.shape.map((d, i) => (i === axis ? limit : d)),
  });
}

/** Zeros around one axis. */
export function pad(x: Tensor, axis: number, widths: readonly [low: number, high: number]): Tensor {
  checkAxis("pad", x, axis);
  const at = (n: number): number[] => x.shape.map((_, i) => (i === axis ? n : 0));
  return x.builder.op("pad", [x], { low: at(widths[0]), high: at(widths[1]) });
}

export function concat(xs: readonly [Tensor, ...Tensor[]], axis: number): Tensor {
  return xs.length === 1 ? xs[0] : xs[0].builder.op("concat", xs, { axis });
}

export function split(x: Tensor, axis: number, sizes: readonly number[]): Tensor[] {
  return x.builder.node("split", [x], { axis, sizes });
}

export interface IndexOptions {
  /** The caller's promise that no index comes twice. Sums at such indices run on all threads; the interpreter holds you to it. */
  readonly unique?: boolean;
}

function promise({ unique = false }: IndexOptions): { readonly unique?: true } {
  return unique ? { unique } : {};
}

/** Rows of `x` by int32 indices: `[n, …]`, `[m]` -> `[m, …]`. */
export function gather(x: Tensor, indices: Tensor, options: IndexOptions = {}): Tensor {
  return x.builder.op("gather", [x, indices], promise(options));
}

/** Zeros `[rows, …]` with each row of `updates` added at its index; an index may come more than once, unless it is promised not to. */
export function scatterAdd(updates: Tensor, indices: Tensor, options: number | (IndexOptions & { readonly rows: number })): Tensor {
  const { rows, ...rest } = typeof options === "number" ? { rows: options } : options;
  return updates.builder.op("scatterAdd", [updates, indices], { rows, ...promise(rest) });
}

export interface DotOptions {
  readonly transA?: boolean;
  readonly transB?: boolean;
  readonly alpha?: number;
}

/** `alpha · op(a) · op(b)` over the last two axes; leading axes are batch axes and must be equal. */
export function dot(a: Tensor, b: Tensor, { transA = false, transB = false, alpha = 1 }: DotOptions = {}): Tensor {
  return a.builder.op("dot", [a, b], { transA, transB, alpha });
}

/** `alpha · op(a) · op(b) + c` for matrices; `c` is broadcast to the result. */
export function dotAdd(a: Tensor, b: Tensor, options: DotOptions & { readonly plus: Tensor }): Tensor {
  const { transA = false, transB = false, alpha = 1, plus } = options;
  return a.builder.op("dotAdd", [a, b, plus], { transA, transB, alpha });
}

export function reduceSum(x: Tensor, axes: readonly number[], keepDims = false): Tensor {
  return axes.length === 0 ? x : x.builder.op("reduceSum", [x], { axes, keepDims });
}

export function reduceSumSquare(x: Tensor, axes: readonly number[], keepDims = false): Tensor {
  return x.builder.op("reduceSumSquare", [x], { axes, keepDims });
}

export function reduceMax(x: Tensor, axes: readonly number[], keepDims = false): Tensor {
  return x.builder.op("reduceMax", [x], { axes, keepDims });
}

export function reduceMean(x: Tensor, axes: readonly number[], keepDims = false): Tensor {
  return mul(reduceSum(x, axes, keepDims), 1 / sizeOf(axes.map((a) => x.shape[a] ?? 1)));
}

export function sumAll(x: Tensor): Tensor {
  return reduceSum(
    x,
    x.shape.map((_, i) => i),
  );
}

export function argMax(x: Tensor, axis: number): Tensor {
  return x.builder.op("argMax", [x], { axis });
}

/** The k largest of the last axis, largest first, and their int32 indices. */
export function topK(x: Tensor, k: number): { readonly values: Tensor; readonly indices: Tensor } {
  const [values = x, indices = x] = x.builder.node("topK", [x], { k }); // it infers two outputs
  return { values, indices };
}

/** Layer norm over the last axis: `(x − mean) / sqrt(var + eps) · w + b`, biased variance. */
export function layerNorm(x: Tensor, w: Tensor, options: { readonly bias: Tensor; readonly eps: number }): Tensor {
  const [y = x] = x.builder.node("layerNorm", [x, w, options.bias], { eps: options.eps }); // it infers three outputs: y, mean, 1/σ
  return y;
}

/** `x / max(‖x‖₂, eps)` over the last axis. */
export function l2Normalize(x: Tensor, eps = 1e-12): Tensor {
  return x.builder.op("l2Normalize", [x], { eps });
}

/** `softmax(scale · q kᵀ) v` for q `[b,h,t,d]`, k and v `[b,h,n,d]`. */
export function attention(q: Tensor, k: Tensor, options: { readonly v: Tensor; readonly scale: number }): Tensor {
  return q.builder.op("attention", [q, k, options.v], { scale: options.scale });
}

/** Runs `fn` with its nodes marked as one region, the unit of stages. */
export function region<T>(x: Tensor | Builder, name: string, fn: () => T): T {
  return (x instanceof Tensor ? x.builder : x).inRegion(name, fn);
}
