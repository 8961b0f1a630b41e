/** @file Matrix products and row sums in ONNX, as several lowering rules need them. */
import type { Node, OpParams } from "../../ir/index.ts";
import type { Lowering } from "./context.ts";

/** A sum or mean over the last axis, which stays as 1. */
export function overLast(to: Lowering, x: string, op: "ReduceSum" | "ReduceMean" = "ReduceSum"): string {
  return to.emit(op, [x, to.i64([-1])], { attrs: { keepdims: { int: 1 } } });
}

/** Batched product; CPU has a fused kernel, other targets transpose first. */
export function matmul(to: Lowering, operands: readonly [string, string], options: OpParams["dot"] & { readonly rank: number }): string {
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

export function gemm(node: Node<"dot"> | Node<"dotAdd">, to: Lowering): string {
  const { transA, transB, alpha } = node.params;
  const attrs = { transA: { int: Number(transA) }, transB: { int: Number(transB) }, alpha: { float: alpha } };
  return to.emit(
    "Gemm",
    node.inputs.map((v) => to.name(v)),
    { attrs },
  );
}

/** Column sums of a matrix: a product with a row of ones runs on all threads, ReduceSum over the leading axis does not. */
export function columnSums(to: Lowering, x: string, rows: number): string {
  return to.emit("Gemm", [to.constant("f32", [1, rows], new Float32Array(rows).fill(1)), x]);
}

/** y (dy − Σ dy y), row by row. */
export function softmaxGradOf(to: Lowering, dy: string, y: string): string {
  const t = to.emit("Mul", [dy, y]);
  return to.emit("Sub", [t, to.emit("Mul", [y, overLast(to, t)])]);
}
