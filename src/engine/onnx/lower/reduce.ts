/** @file Lowering of contractions, reductions and composites. */
import type { Node, ReduceOp } from "../../ir/index.ts";
import { lowerAttention, lowerAttentionGrad } from "./attention.ts";
import { arg, type Lowering, type LowerTable } from "./context.ts";
import { columnSums, gemm, matmul, overLast, softmaxGradOf } from "./product.ts";

const LAST = { axis: { int: -1 } } as const;
const INT32 = { to: { int: 6 } } as const;

type Reduction = Node<"reduceSum"> | Node<"reduceSumSquare"> | Node<"reduceMax">;

/** ONNX takes an empty list of axes as all of them; here it is none, and `alone` is what is left of the op. */
function reduce(op: string, alone: (x: string, to: Lowering) => string): (node: Reduction, to: Lowering) => readonly string[] {
  return (node, to) => {
    const x = to.name(arg(node, 0));
    const { axes, keepDims } = node.params;
    return [axes.length === 0 ? alone(x, to) : to.emit(op, [x, to.i64(axes)], { attrs: { keepdims: { int: Number(keepDims) } } })];
  };
}

const plainSum = reduce("ReduceSum", (x) => x);

function reduceSum(node: Node<"reduceSum">, to: Lowering): readonly string[] {
  const x = arg(node, 0);
  const { axes, keepDims } = node.params;
  const lead = axes.length > 0 && axes.length < x.shape.length && [...axes].sort((a, b) => a - b).every((a, i) => a === i);
  const rows = x.shape.slice(0, axes.length).reduce((a, b) => a * b, 1);
  if (!lead || x.dtype !== "f32" || rows < 16 || to.target === "onnx") return plainSum(node, to); // portable sizes may not be fixed
  const columns = x.shape.slice(axes.length).reduce((a, b) => a * b, 1);
  const flat = x.shape.length === 2 ? to.name(x) : to.emit("Reshape", [to.name(x), to.i64([rows, columns])]);
  const shape = node.outputs[0]?.shape ?? [];
  return [to.emit("Reshape", [columnSums(to, flat, rows), to.i64(keepDims ? shape : x.shape.slice(axes.length))])];
}

/**
 * dx = inv (g − mean g − x̂ mean(g x̂)), g = dy w, x̂ = (x − mean) inv; dw = Σ dy x̂, db = Σ dy.
 * The means are products with the column w/d: mean(g x̂) from dy x̂, which dw needs anyway.
 */
function layerNormGrad(node: Node<"layerNormGrad">, to: Lowering): readonly string[] {
  const [dy = "", x = "", w = "", mean = "", inv = ""] = node.inputs.map((v) => to.name(v));
  const shape = arg(node, 0).shape;
  const d = shape.at(-1) ?? 1;
  const lead = shape.slice(0, -1);
  const rows = lead.reduce((a, b) => a * b, 1);
  const flat = (name: string): string => (shape.length === 2 ? name : to.emit("Reshape", [name, to.i64([rows, d])]));
  const hat = to.emit("Mul", [to.emit("Sub", [x, mean]), inv]);
  const dyHat = to.emit("Mul", [dy, hat]);
  const [dy2, dyHat2] = [flat(dy), flat(dyHat)];
  const column = to.emit("Reshape", [to.emit("Mul", [w, to.f32(1 / d)]), to.i64([d, 1])]);
  const meanOf = (matrix: string): string => to.emit("Reshape", [to.emit("MatMul", [matrix, column]), to.i64([...lead, 1])]);
  const centred = to.emit("Sub", [to.emit("Mul", [dy, w]), meanOf(dy2)]);
  const dx = to.emit("Mul", [to.emit("Sub", [centred, to.emit("Mul", [hat, meanOf(dyHat2)])]), inv]);
  const columns = (matrix: string): string => to.emit("Reshape", [columnSums(to, matrix, rows), to.i64([d])]);
  return [dx, columns(dyHat2), columns(dy2)];
}

/**
 * dx = dy (Φ(x) + x φ(x)). With s = x/√2: Φ = (1 + erf s)/2 and x φ(x) = s e^(−s²)/√π.
 * HardSigmoid is (1 + e)/2 in one pass here: erf never leaves [−1, 1], so it never clips.
 */
function geluGrad(node: Node<"geluGrad">, to: Lowering): readonly string[] {
  const [dy = "", x = ""] = node.inputs.map((v) => to.name(v));
  const s = to.emit("Mul", [x, to.f32(Math.SQRT1_2)]);
  const power = to.emit("Sub", [to.f32(-Math.log(Math.PI) / 2), to.emit("Mul", [s, s])]);
  const bell = to.emit("Mul", [s, to.emit("Exp", [power])]);
  const phi = to.emit("HardSigmoid", [to.emit("Erf", [s])], { attrs: { alpha: { float: 0.5 }, beta: { float: 0.5 } } });
  return [to.emit("Mul", [dy, to.emit("Add", [phi, bell])])];
}

export const REDUCTIONS: LowerTable<ReduceOp> = {
  dot: (node, to) => {
    const [a, b] = [arg(node, 0), arg(node, 1)];
    return [a.shape.length === 2 ? gemm(node, to) : matmul(to, [to.name(a), to.name(b)], { ...node.params, rank: a.shape.length })];
  },
  dotAdd: (node, to) => [gemm(node, to)],
  reduceSum,
  reduceSumSquare: reduce("ReduceSumSquare", (x, to) => to.emit("Mul", [x, x])),
  reduceMax: reduce("ReduceMax", (x) => x),
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
  softmaxGrad: (node, to) => [softmaxGradOf(to, to.name(arg(node, 0)), to.name(arg(node, 1)))],
  logSoftmaxGrad: (node, to) => {
    const [dy = "", y = ""] = node.inputs.map((v) => to.name(v));
    return [to.emit("Sub", [dy, to.emit("Mul", [to.emit("Exp", [y]), overLast(to, dy)])])];
  },
  layerNorm: (node, to) =>
    to.emitAll(
      "LayerNormalization",
      node.inputs.map((v) => to.name(v)),
      { attrs: { ...LAST, epsilon: { float: node.params.eps } }, outputs: 3 },
    ),
  layerNormGrad,
  geluGrad,
  attention: lowerAttention,
  attentionGrad: lowerAttentionGrad,
  l2Normalize: (node, to) => {
    const x = to.name(arg(node, 0));
    const norm = to.emit("ReduceL2", [x, to.i64([-1])], { attrs: { keepdims: { int: 1 } } });
    return [to.emit("Div", [x, to.emit("Max", [norm, to.f32(node.params.eps)])])];
  },
};
