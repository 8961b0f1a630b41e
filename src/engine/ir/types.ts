/** @file The IR: frozen, typed, static in shape. A Graph is a list of nodes in an order in which it can run. */
import type { DType, Shape, TypedArray } from "../../core/index.ts";

type None = Readonly<Record<never, never>>;

export type CompareDirection = "eq" | "ne" | "lt" | "le" | "gt" | "ge";

/** Two sizes or steps, of rows and of columns. */
export type Pair = readonly [y: number, x: number];

/** How a window moves over the last two axes: its steps, and how many rows and columns lie around the map on each side. */
export interface WindowParams {
  readonly strides: Pair;
  readonly pads: Pair;
}

/** A convolution: `groups` is 1 (dense) or the number of channels (depthwise). */
export interface ConvParams extends WindowParams {
  readonly groups: number;
}

/** The parameters of every op. A key here is an op; every table over ops is typed by it, so a missing rule does not compile. */
export interface OpParams {
  // sources
  readonly constant: { readonly dtype: DType; readonly shape: Shape; readonly data: TypedArray };
  readonly iota: { readonly dtype: DType; readonly shape: Shape; readonly axis: number };
  // elementwise, one input
  readonly neg: None;
  readonly abs: None;
  readonly sign: None;
  readonly exp: None;
  readonly log: None;
  readonly sqrt: None;
  readonly rsqrt: None;
  readonly tanh: None;
  readonly relu: None;
  readonly sigmoid: None;
  readonly erf: None;
  readonly sin: None;
  readonly cos: None;
  readonly cast: { readonly dtype: DType };
  // elementwise, two or three inputs, broadcast as NumPy does
  readonly add: None;
  readonly sub: None;
  readonly mul: None;
  readonly div: None;
  readonly min: None;
  readonly max: None;
  readonly compare: { readonly direction: CompareDirection };
  readonly select: None;
  // shape
  readonly reshape: { readonly shape: Shape };
  readonly transpose: { readonly perm: readonly number[] };
  readonly broadcast: { readonly shape: Shape };
  readonly slice: { readonly starts: readonly number[]; readonly limits: readonly number[] };
  readonly pad: { readonly low: readonly number[]; readonly high: readonly number[] };
  readonly concat: { readonly axis: number };
  readonly split: { readonly axis: number; readonly sizes: readonly number[] };
  /** `unique` promises that no index comes twice: then its gradient may run on all threads. */
  readonly gather: { readonly unique?: true };
  readonly scatterAdd: { readonly rows: number; readonly unique?: true };
  // contraction and reduction
  readonly dot: { readonly transA: boolean; readonly transB: boolean; readonly alpha: number };
  readonly dotAdd: { readonly transA: boolean; readonly transB: boolean; readonly alpha: number };
  readonly reduceSum: { readonly axes: readonly number[]; readonly keepDims: boolean };
  readonly reduceSumSquare: { readonly axes: readonly number[]; readonly keepDims: boolean };
  readonly reduceMax: { readonly axes: readonly number[]; readonly keepDims: boolean };
  readonly argMax: { readonly axis: number };
  readonly topK: { readonly k: number };
  // identities with a meaning
  readonly stopGradient: None;
  readonly barrier: None;
  readonly allReduce: { readonly reduction: "sum" };
  // composites: one op, so that a back end can use a kernel of its own
  readonly softmax: None;
  readonly logSoftmax: None;
  readonly softmaxGrad: None;
  readonly logSoftmaxGrad: None;
  readonly layerNorm: { readonly eps: number };
  readonly layerNormGrad: None;
  readonly gelu: None;
  readonly geluGrad: None;
  readonly attention: { readonly scale: number };
  readonly attentionGrad: { readonly scale: number };
  readonly l2Normalize: { readonly eps: number };
  // over maps [b, c, y, x]
  readonly conv: ConvParams;
  readonly convInputGrad: ConvParams & { readonly size: Pair };
  readonly convWeightGrad: ConvParams & { readonly kernel: Pair };
  readonly maxPool: WindowParams & { readonly kernel: Pair };
  readonly maxPoolGrad: WindowParams & { readonly kernel: Pair };
}

export type OpName = keyof OpParams;

/** One tensor of a graph: a name (its id), an element type and a static shape. */
export interface Value {
  readonly id: number;
  readonly dtype: DType;
  readonly shape: Shape;
}

/** One operation. `region` says which stage it belongs to; `~` at its end marks backward work. */
export interface Node<K extends OpName = OpName> {
  readonly op: K;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly params: OpParams[K];
  readonly region: string;
}

export type InputKind = "param" | "state" | "input";
export type OutputKind = "output" | "state" | "grad";

export interface GraphInput {
  readonly name: string;
  readonly kind: InputKind;
  readonly value: Value;
}

export interface GraphOutput {
  readonly name: string;
  readonly kind: OutputKind;
  readonly value: Value;
}

export interface Graph {
  readonly inputs: readonly GraphInput[];
  readonly nodes: readonly Node[];
  readonly outputs: readonly GraphOutput[];
}

/** The type of a value without its identity. */
export interface ValueType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** Narrows a node of a total table to its op; sound because `op` is the discriminant. */
export function isOp<K extends OpName>(node: Node, op: K): node is Node<K> {
  return node.op === op;
}

/** Families of ops: tables are written family by family. */
export type ShapeOp =
  | "constant"
  | "iota"
  | "reshape"
  | "transpose"
  | "broadcast"
  | "slice"
  | "pad"
  | "concat"
  | "split"
  | "gather"
  | "scatterAdd";
export type ReduceOp =
  | "dot"
  | "dotAdd"
  | "reduceSum"
  | "reduceSumSquare"
  | "reduceMax"
  | "argMax"
  | "topK"
  | "softmax"
  | "logSoftmax"
  | "softmaxGrad"
  | "logSoftmaxGrad"
  | "layerNorm"
  | "layerNormGrad"
  | "geluGrad"
  | "attention"
  | "attentionGrad"
  | "l2Normalize";
export type SpatialOp = "conv" | "convInputGrad" | "convWeightGrad" | "maxPool" | "maxPoolGrad";
export type ElementwiseOp = Exclude<OpName, ShapeOp | ReduceOp | SpatialOp>;
