/** @file Shape rules of elementwise ops. */
import { DTypeError } from "../../../core/index.ts";
import type { ElementwiseOp, OpName } from "../types.ts";
import { arity, broadcastShapes, type InferRule, type InferTable, sameDtype, show } from "./rule.ts";

function unary<K extends OpName>(op: K): InferRule<K> {
  return (inputs) => arity(op, inputs, 1).map(({ dtype, shape }) => ({ dtype, shape }));
}

function binary<K extends OpName>(op: K): InferRule<K> {
  return (inputs) => {
    const [a, b] = arity(op, inputs, 2) as [InferInput, InferInput]; // counted by arity
    sameDtype(op, inputs);
    return [{ dtype: a.dtype, shape: broadcastShapes(op, a, b) }];
  };
}
type InferInput = Parameters<InferRule<"add">>[0][number];

const compare: InferRule<"compare"> = (inputs) => {
  const [a, b] = arity("compare", inputs, 2) as [InferInput, InferInput]; // counted by arity
  sameDtype("compare", inputs);
  return [{ dtype: "bool", shape: broadcastShapes("compare", a, b) }];
};

const select: InferRule<"select"> = (inputs) => {
  const [c, a, b] = arity("select", inputs, 3) as [InferInput, InferInput, InferInput]; // counted by arity
  if (c.dtype !== "bool") throw new DTypeError(`Cannot select by ${show(c)}: the condition must be bool`);
  sameDtype("select", [a, b]);
  const shape = broadcastShapes("select", { dtype: a.dtype, shape: broadcastShapes("select", a, b) }, c);
  return [{ dtype: a.dtype, shape }];
};

export const ELEMENTWISE: InferTable<ElementwiseOp> = {
  neg: unary("neg"),
  abs: unary("abs"),
  sign: unary("sign"),
  exp: unary("exp"),
  log: unary("log"),
  sqrt: unary("sqrt"),
  rsqrt: unary("rsqrt"),
  tanh: unary("tanh"),
  sigmoid: unary("sigmoid"),
  erf: unary("erf"),
  sin: unary("sin"),
  cos: unary("cos"),
  cast: ((inputs, { dtype }) => arity("cast", inputs, 1).map(({ shape }) => ({ dtype, shape }))) as InferRule<"cast">, // names the rule's op
  add: binary("add"),
  sub: binary("sub"),
  mul: binary("mul"),
  div: binary("div"),
  min: binary("min"),
  max: binary("max"),
  compare,
  select,
  stopGradient: unary("stopGradient"),
  barrier: unary("barrier"),
  allReduce: unary("allReduce"),
  gelu: unary("gelu"),
};
