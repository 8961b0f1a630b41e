/** @file Lowering of contractions, reductions and composites. */
import type { Node, OpParams, ReduceOp } from "../../ir/index.ts";
import { arg, type Lowering, type LowerTable } from "./context.ts";

const LAST = { axis: { int: -1 } } as const;
const INT32 = { to: { int: 6 } } as const;

function sumLast(to: Lowering, x: string, op: "ReduceSum" | "ReduceMean" = "ReduceSum"): string {
  return to.emit(op, [x, to.i64([-1])], { attrs: { keepdims: { int: 1 } } });
}

/** Batched product; CPU has a fused kernel, other targets transpose first. */
function matmul(to: Lowering, operands: readonly [string, string], options: OpParams["dot"] & { readonly rank: number }): string {
  const { transA, transB, alpha, rank } = options;
  if (!transA && !transB && alpha === 1) return to.emit("MatMul", operands);
  if (to.target === "ort-cpu") {
    const attrs = { transA: { int: Number(transA) }, transB: { int: Number(transB) }, alpha: { float: alpha } };
    return to.emit("FusedMatMul", operands, { domain: "com.microsoft", attrs });
  }
  const axes = Array.from({ length: rank }, (_, i) => i);
  const perm = { perm: { ints: [...axes.slice(0, -2), rank - 1, rank - 2] } };
  const turned = (name: string, turn: boolean): string => (turn ? to.emit("Transpose", [name], { attrs: perm }) : name);
  const y = to.emit("MatMul", [turned(operands[0], transA), turned(operands[1], transB)]);
  return alpha === 1 ? y : to.emit("Mul", [y, to.f32(alpha)]);
}

function gemm(node: Node<"dot"> | Node<"dotAdd">, to: Lowering): string {
  const { transA, transB, alpha } = node.params;
  const attrs = { transA: { int: Number(transA) }, transB: { int: Number(transB) }, alpha: { float: alpha } };
  return to.emit(
    "Gemm",
    node.inputs.map((v) => to.name(v)),
    { attrs },
  );
}

function reduce(op: string): (node: Node<"reduceSum"> | Node<"reduceSumSquare"> | Node<"reduceMax">, to: Lowering) => readonly string[] {
  return (node, to) => [
    to.emit(op, [to.name(arg(node, 0)), to.i64(node.params.axes)], { attrs: { keepdims: { int: Number(node.params.keepDims) } } }),
  ];
}

/** Column sums of a matrix: a product with a row of ones runs on all threads, ReduceSum over the leading axis does not. */
function columnSums(to: Lowering, x: string, rows: number): string {
  return to.emit("Gemm", [to.constant("f32", [1, rows], new Float32Array(rows).fill(1)), x]);
}

function reduceSum(node: Node<"reduceSum">, to: Lowering): readonly string[] {
  const x = arg(node, 0);
  const { axes, keepDims } = node.params;
  const lead = axes.length > 0 && axes.length < x.shape.length && [...axes].sort((a, b) => a - b).every((a, i) => a === i);
  const rows = x.shape.slice(0, axes.length).reduce((a, b) => a * b, 1);
  if (!lead || x.dtype !== "f32" || rows < 16) return reduce("ReduceSum")(node, to);
  const columns = x.shape.slice(axes.length).reduce((a, b) => a * b, 1);
  const flat = x.shape.length === 2 ? to.name(x) : to.emit("Reshape", [to.name(x), to.i64([rows, columns])]);
  const shape = node.outputs[0]?.shape ?? [];
  return [to.emit("Reshape", [columnSums(to, flat, rows), to.i64(keepDims ? shape : x.shape.slice(axes.length))])];
}

/** dx = inv (g − mean g − x̂ mean(g x̂)), g = dy w, x̂ = (x − mean) inv; dw = Σ dy x̂, db = Σ dy. */
function layerNormGrad(node: Node<"layerNormGrad">, to: Lowering): readonly string[] {
  const [dy = "", x = "", w = "", mean = "", inv = ""] = node.inputs.map((v) => to.name(v));
  const shape = arg(node, 0).shape;
  const d = shape.at(-1) ?? 1;
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
  const hat = to.emit("Mul", [to.emit("Sub", [x, mean]), inv]);
  const g = to.emit("Mul", [dy, w]);
  const m2 = sumLast(to, to.emit("Mul", [g, hat]), "ReduceMean");
  const centred = to.emit("Sub", [g, sumLast(to, g, "ReduceMean")]);
  const dx = to.emit("Mul", [to.emit("Sub", [centred, to.emit("Mul", [hat, m2])]), inv]);
  const columns = (name: string): string => {
    const flat = shape.length === 2 ? name : to.emit("Reshape", [name, to.i64([rows, d])]);
    return to.emit("Reshape", [columnSums(to, flat, rows), to.i64([d])]);
  };
  return [dx, columns(to.emit("Mul", [dy, hat])), columns(dy)];
}

/** dx = dy (Φ(x) + x φ(x)). With s = x/√2: Φ = (1 + erf s)/2 and x φ(x) = s e^(−s²)/√π. */
function geluGrad(node: Node<"geluGrad">, to: Lowering): readonly string[] {
  const [dy = "", x = ""] = node.inputs.map((v) => to.name(v));
  const s = to.emit("Mul", [x, to.f32(Math.SQRT1_2)]);
  const power = to.emit("Sub", [to.f32(Math.log(2 / Math.sqrt(Math.PI))), to.emit("Mul", [s, s])]);
  const bell = to.emit("Mul", [s, to.emit("Exp", [power])]);
  const slope2 = to.emit("Add", [to.emit("Add", [to.emit("Erf", [s]), to.f32(1)]), bell]);
  return [to.emit("Mul", [to.emit("Mul", [dy, to.f32(0.5)]), slope2])];
}

/** dx = y (dy − Σ dy y). */
function softmaxGrad(node: Node<"softmaxGrad">, to: Lowering): readonly string[] {
  const [dy = "", y = ""] = node.inputs.map((v) => to.name(v));
  const t = to.emit("Mul", [dy, y]);
  return [to.emit("Sub", [t, to.emit("Mul", [y, sumLast(to, t)])])];
}

export const REDUCTIONS: LowerTable<ReduceOp> = {
  dot: (node, to) => {
    const [a, b] = [arg(node, 0), arg(node, 1)];
    return [a.shape.length === 2 ? gemm(node, to) : matmul(to, [to.name(a), to.name(b)], { ...node.params, rank: a.shape.length })];
  },
  dotAdd: (node, to) => [gemm(node, to)],
  reduceSum,
  reduceSumSquare: reduce("ReduceSumSquare"),
  reduceMax: reduce("ReduceMax"),
  argMax: (node, to) => [
    to.emit("Cast", [to.emit("ArgMax", [to.name(arg(node, 0))], { attrs: { axis: { int: node.params.axis }, keepdims: { int: 0 } } })], {
      attrs: INT32,
    }),
  ],
  topK: (node, to) => {
    const [values = "", indices = ""] = to.emitAll("TopK", [to.name(arg(node, 0)), to.i64([node.params.k])], { attrs: LAST, outputs: 2 });
    return [values, to.emit("Cast", [indices], { attrs: INT32 })];
  },
  softmax: (node, to) => [to.emit("Softmax", [to.name(arg(node, 0))], { attrs: LAST })],
  logSoftmax: (node, to) => [to.emit("LogSoftmax", [to.name(arg(node, 0))], { attrs: LAST })],
  softmaxGrad,
  logSoftmaxGrad: (node, to) => {
    const [dy = "", y = ""] = node.inputs.map((v) => to.name(v));
    return [to.emit("Sub", [dy, to.emit("Mul", [to.emit("Exp", [y]), sumLast(to, dy)])])];
  },
  layerNorm: (node, to) =>
    to.emitAll(
      "LayerNormalization",
      node.inputs.map((v) => to.name(v)),
      { attrs: { ...LAST, epsilon: { float: node.params.eps } }, outputs: 3 },
    ),
  layerNormGrad,
  geluGrad,
  attention: (node, to) => {
    const [q = "", k = "", v = ""] = node.inputs.map((value) => to.name(value));
    const scores = matmul(to, [q, k], { transA: false, transB: true, alpha: node.params.scale, rank: 4 });
    return [to.emit("MatMul", [to.emit("Softmax", [scores], { attrs: LAST }), v])];
  },
  l2Normalize: (node, to) => {
    const x = to.name(arg(node, 0));
    const norm = to.emit("ReduceL2", [x, to.i64([-1])], { attrs: { keepdims: { int: 1 } } });
    return [to.emit("Div", [x, to.emit("Max", [norm, to.f32(node.params.eps)])])];
  },
};
