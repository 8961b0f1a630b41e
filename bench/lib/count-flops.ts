/** @file Floating-point operations of a graph's matrix products, by region: two for each multiply-add, nothing for all other ops. */
import { sizeOf } from "../../src/core/index.ts";
import { type Graph, isOp, type Node } from "../../src/engine/ir/index.ts";

/** Products of the forward op over queries, keys and values: q kᵀ and p v. */
const ATTENTION_PRODUCTS = 2;
/** Of its gradient: q kᵀ again, dy vᵀ, and those of dq, dk, dv. */
const ATTENTION_GRAD_PRODUCTS = 5;

function attentionFlops(q: readonly number[], k: readonly number[], products: number): number {
  return 2 * products * sizeOf(q) * (k.at(-2) ?? 1);
}

function flopsOf(node: Node): number {
  const shape = (i: number): readonly number[] => node.inputs[i]?.shape ?? [];
  if (isOp(node, "dot") || isOp(node, "dotAdd"))
    return 2 * sizeOf(node.outputs[0]?.shape ?? [0]) * (shape(0).at(node.params.transA ? -2 : -1) ?? 1);
  if (isOp(node, "attention")) return attentionFlops(shape(0), shape(1), ATTENTION_PRODUCTS);
  if (isOp(node, "attentionGrad")) return attentionFlops(shape(1), shape(2), ATTENTION_GRAD_PRODUCTS); // the cotangent comes first
  return 0;
}

/** Operations of each region. */
export function countFlops({ nodes }: Graph): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const node of nodes) found.set(node.region, (found.get(node.region) ?? 0) + flopsOf(node));
  return found;
}
