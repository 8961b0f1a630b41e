/** @file What a VJP rule is, and the one helper every rule with broadcasting needs. */
import type { Shape } from "../../../core/index.ts";
import type { Node, OpName } from "../../ir/index.ts";
import { reduceSum, reshape, type Tensor } from "../../trace/index.ts";

export interface VjpContext<K extends OpName> {
  readonly params: Node<K>["params"];
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** Cotangents of the outputs; undefined where nothing depends on one. */
  readonly grads: readonly (Tensor | undefined)[];
  /** Which inputs need a cotangent. */
  readonly needs: readonly boolean[];
}

/** Cotangents of the inputs, each a thunk run only if that input needs it; undefined = not differentiable there. */
export type VjpRule<K extends OpName> = (context: VjpContext<K>) => readonly ((() => Tensor) | undefined)[];
/** A written "no gradient": the op's output has no inputs, or does not vary smoothly with them. Its cotangent ends there. */
export const NO_GRADIENT = "no gradient";
/** The op is itself a gradient: to differentiate it again is refused, not taken as zero. */
export const NOT_TWICE = "not twice";
export type VjpTable<Names extends OpName> = { readonly [K in Names]: VjpRule<K> | typeof NO_GRADIENT | typeof NOT_TWICE };

/** Sums a cotangent down to the shape its operand had before broadcasting. */
export function unbroadcast(d: Tensor, shape: Shape): Tensor {
  const lead = d.shape.length - shape.length;
  const axes = d.shape.map((_, i) => i).filter((i) => i < lead || (shape[i - lead] === 1 && d.shape[i] !== 1));
  return axes.length === 0 ? d : reshape(reduceSum(d, axes, true), shape);
}

/** The context's only or first tensors; their presence follows from the op's arity. */
export function at(tensors: readonly (Tensor | undefined)[], i: number): Tensor {
  const t = tensors[i];
  if (t === undefined) throw new RangeError(`Cannot read tensor ${i} of a gradient rule: there are ${tensors.length}; the rule is wrong`);
  return t;
}
