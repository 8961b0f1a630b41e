/** @file The checks a graph must pass after every pass: order, single definition, and every type inferred anew. */
import { InternalError, sameShape } from "../../core/index.ts";
import { inferTypes } from "./infer/index.ts";
import { printNode } from "./print.ts";
import type { Graph, Node } from "./types.ts";

function checkTypes(node: Node): void {
  const types = inferTypes(node.op, node.inputs, node.params);
  const same =
    types.length === node.outputs.length && node.outputs.every((v, i) => v.dtype === types[i]?.dtype && sameShape(v.shape, types[i].shape));
  if (!same) throw new InternalError(`Cannot verify ${printNode(node)}: its outputs have other types than its rule infers`);
}

/** Throws InternalError where the graph is not well formed; returns it otherwise. */
export function verifyGraph(graph: Graph): Graph {
  const defined = new Set<number>();
  const define = (id: number, what: string): void => {
    if (defined.has(id)) throw new InternalError(`Cannot verify ${what}: %${id} is defined twice`);
    defined.add(id);
  };
  for (const i of graph.inputs) define(i.value.id, i.name);
  for (const node of graph.nodes) {
    for (const v of node.inputs)
      if (!defined.has(v.id)) throw new InternalError(`Cannot verify ${printNode(node)}: %${v.id} is used before it is made`);
    checkTypes(node);
    for (const v of node.outputs) define(v.id, node.op);
  }
  for (const o of graph.outputs)
    if (!defined.has(o.value.id)) throw new InternalError(`Cannot verify output ${o.name}: %${o.value.id} is never made`);
  return graph;
}
