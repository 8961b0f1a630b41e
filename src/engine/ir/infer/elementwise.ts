/** @file Shape rules of elementwise ops. */
import type { ElementwiseOp, OpName, ValueType } from "../types.ts";
import { arity, broadcastShapes, failDtype, floats, type InferRule, type InferTable, numbers, sameDtype } from "./rule.ts";

type Check = (op: OpName, inputs: readonly ValueType[]) => void;

function unary<K extends OpName>(op: K, check?: Check): InferRule<K> {
  return (inputs) => {
    arity(op, inputs, 1);
    check?.(op, inputs);
    return inputs.map(({ dtype, shape }) => ({ dtype, shape }));
  };
}

function binary<K extends OpName>(op: K, check: Check): InferRule<K> {
  return (inputs) => {
    const [a, b] = arity(op, inputs, 2);
    sameDtype(op, inputs);
    check(op, inputs);
    return [{ dtype: a.dtype, shape: broadcastShapes(op, a, b) }];
  };
}

const compare: InferRule<"compare"> = (inputs, { direction }) => {
  const [a, b] = arity("compare", inputs, 2);
  sameDtype("compare", inputs);
  if (direction !== "eq" && direction !== "ne") numbers("compare", inputs);
  return [{ dtype: "bool", shape: broadcastShapes("compare", a, b) }];
};

const select: InferRule<"select"> = (inputs) => {
  const [c, a, b] = arity("select", inputs, 3);
  if (c.dtype !== "bool") failDtype("select", inputs, "the first input is no bool; compare it with something");
  sameDtype("select", [a, b]);
  const shape = broadcastShapes("select", { dtype: a.dtype, shape: broadcastShapes("select", a, b) }, c);
  return [{ dtype: a.dtype, shape }];
};

export const ELEMENTWISE: InferTable<ElementwiseOp> = {
  neg: unary("neg", numbers),
  abs: unary("abs", numbers),
  sign: unary("sign", numbers),
  exp: unary("exp", floats),
  log: unary("log", floats),
  sqrt: unary("sqrt", floats),
  rsqrt: unary("rsqrt", floats),
  tanh: unary("tanh", floats),
  relu: unary("relu", floats),
  sigmoid: unary("sigmoid", floats),
  erf: unary("erf", floats),
  sin: unary("sin", floats),
  cos: unary("cos", floats),
  cast: (inputs, { dtype }) => arity("cast", inputs, 1).map(({ shape }) => ({ dtype, shape })),
  add: binary("add", numbers),
  sub: binary("sub", numbers),
  mul: binary("mul", numbers),
  div: binary("div", floats),
  min: binary("min", numbers),
  max: binary("max", numbers),
  compare,
  select,
  stopGradient: unary("stopGradient"),
  barrier: unary("barrier"),
  allReduce: unary("allReduce"),
  gelu: unary("gelu", floats),
};
