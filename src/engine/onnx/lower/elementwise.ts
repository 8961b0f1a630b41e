/** @file Lowering of elementwise ops. */
import type { CompareDirection, ElementwiseOp, Node } from "../../ir/index.ts";
import { ONNX_DTYPE } from "../proto.ts";
import { arg, type Lowering, type LowerTable } from "./context.ts";

type Rule = (node: Node, to: Lowering) => readonly string[];

function same(op: string): Rule {
  return (node, to) => [
    to.emit(
      op,
      node.inputs.map((v) => to.name(v)),
    ),
  ];
}

/** `x (1 + erf(x / √2)) / 2`; without a kernel of its own in the order that ONNX Runtime fuses into one. */
const gelu: Rule = (node, to) => {
  const x = to.name(arg(node, 0));
  if (to.target !== "onnx") return [to.emit("Gelu", [x], { domain: "com.microsoft" })];
  const e = to.emit("Erf", [to.emit("Div", [x, to.f32(Math.SQRT2)])]);
  return [to.emit("Mul", [to.emit("Mul", [x, to.emit("Add", [e, to.f32(1)])]), to.f32(0.5)])];
};

const identity: Rule = (node, to) => [to.name(arg(node, 0))];

const COMPARE: { readonly [K in Exclude<CompareDirection, "ne">]: string } = {
  eq: "Equal",
  lt: "Less",
  le: "LessOrEqual",
  gt: "Greater",
  ge: "GreaterOrEqual",
};

export const ELEMENTWISE: LowerTable<ElementwiseOp> = {
  neg: same("Neg"),
  abs: same("Abs"),
  sign: same("Sign"),
  exp: same("Exp"),
  log: same("Log"),
  sqrt: same("Sqrt"),
  rsqrt: (node, to) => [to.emit("Reciprocal", [to.emit("Sqrt", [to.name(arg(node, 0))])])],
  tanh: same("Tanh"),
  relu: same("Relu"),
  sigmoid: same("Sigmoid"),
  erf: same("Erf"),
  sin: same("Sin"),
  cos: same("Cos"),
  cast: (node, to) => [to.emit("Cast", [to.name(arg(node, 0))], { attrs: { to: { int: ONNX_DTYPE[node.params.dtype] } } })],
  add: same("Add"),
  sub: same("Sub"),
  mul: same("Mul"),
  div: same("Div"),
  min: same("Min"),
  max: same("Max"),
  compare: (node, to) => {
    const { direction } = node.params;
    const names = node.inputs.map((v) => to.name(v));
    return [direction === "ne" ? to.emit("Not", [to.emit("Equal", names)]) : to.emit(COMPARE[direction], names)];
  },
  select: same("Where"),
  stopGradient: identity,
  barrier: identity,
  allReduce: identity, // one process: the sum over one
  gelu,
};
