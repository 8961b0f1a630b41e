/** @file VJP rules of elementwise ops. */
import type { ElementwiseOp } from "../../ir/index.ts";
import { cast, compare, cos, div, exp, mul, neg, sign, sin, sub, type Tensor, add, type Operand } from "../../trace/index.ts";
import { at, NO_GRADIENT, unbroadcast, type VjpContext, type VjpRule, type VjpTable } from "./rule.ts";

/** One input; the cotangent is `dy` times a slope made of x and y. */
function slope(
  fn: (x: Tensor, y: Tensor) => Operand,
): (c: Pick<VjpContext<"exp">, "inputs" | "outputs" | "grads">) => readonly (() => Tensor)[] {
  return ({ inputs, outputs, grads }) => [() => mul(at(grads, 0), fn(at(inputs, 0), at(outputs, 0)))];
}

/** max and min: the cotangent goes where the operand was chosen; half each on a tie. */
function chosen(direction: "gt" | "lt"): VjpRule<"max"> & VjpRule<"min"> {
  return ({ inputs, grads }) => {
    const [a, b, d] = [at(inputs, 0), at(inputs, 1), at(grads, 0)];
    const share = (x: Tensor, other: Tensor): Tensor =>
      add(cast(compare(x, direction, other), x.dtype), mul(cast(compare(x, "eq", other), x.dtype), 0.5));
    return [() => unbroadcast(mul(d, share(a, b)), a.shape), () => unbroadcast(mul(d, share(b, a)), b.shape)];
  };
}

const pass: VjpRule<"barrier"> = ({ grads }) => [() => at(grads, 0)];

export const ELEMENTWISE: VjpTable<ElementwiseOp> = {
  neg: ({ grads }) => [() => neg(at(grads, 0))],
  abs: slope((x) => sign(x)),
  sign: NO_GRADIENT,
  exp: slope((_, y) => y),
  log: ({ inputs, grads }) => [() => div(at(grads, 0), at(inputs, 0))],
  sqrt: ({ outputs, grads }) => [() => div(mul(at(grads, 0), 0.5), at(outputs, 0))],
  rsqrt: slope((_, y) => mul(mul(y, mul(y, y)), -0.5)), // d x^-½ = -½ x^-3/2
  tanh: slope((_, y) => sub(1, mul(y, y))),
  relu: slope((_, y) => sign(y)), // 0 at 0, as torch has it
  sigmoid: slope((_, y) => mul(y, sub(1, y))),
  erf: slope((x) => mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI))),
  sin: slope((x) => cos(x)),
  cos: slope((x) => neg(sin(x))),
  cast: ({ inputs, grads }) => [() => cast(at(grads, 0), at(inputs, 0).dtype)],
  add: ({ inputs, grads }) => inputs.map((x) => () => unbroadcast(at(grads, 0), x.shape)),
  sub: ({ inputs, grads }) => [
    () => unbroadcast(at(grads, 0), at(inputs, 0).shape),
    () => neg(unbroadcast(at(grads, 0), at(inputs, 1).shape)),
  ],
  mul: ({ inputs, grads }) => {
    const [a, b, d] = [at(inputs, 0), at(inputs, 1), at(grads, 0)];
    return [() => unbroadcast(mul(d, b), a.shape), () => unbroadcast(mul(d, a), b.shape)];
  },
  div: ({ inputs, outputs, grads }) => {
    const [a, b, d] = [at(inputs, 0), at(inputs, 1), at(grads, 0)];
    return [() => unbroadcast(div(d, b), a.shape), () => unbroadcast(neg(div(mul(d, at(outputs, 0)), b)), b.shape)];
  },
  min: chosen("lt"),
  max: chosen("gt"),
  compare: NO_GRADIENT,
  select: ({ inputs, grads }) => {
    const [c, a, b, d] = [at(inputs, 0), at(inputs, 1), at(inputs, 2), at(grads, 0)];
    const m = cast(c, d.dtype);
    return [undefined, () => unbroadcast(mul(d, m), a.shape), () => unbroadcast(mul(d, sub(1, m)), b.shape)];
  },
  stopGradient: NO_GRADIENT,
  barrier: pass,
  allReduce: ({ grads }) => [() => at(grads, 0).builder.op("allReduce", [at(grads, 0)], { reduction: "sum" })],
  gelu: ({ inputs, grads }) => [() => at(grads, 0).builder.op("geluGrad", [at(grads, 0), at(inputs, 0)], {})],
};
