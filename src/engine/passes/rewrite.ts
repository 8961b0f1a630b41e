/** @file What passes share: replacing values, use counts, and fresh ids. */
import type { Graph, Node, Value } from "../ir/index.ts";

/** Renames the inputs of a node. */
export function withInputs(node: Node, map: ReadonlyMap<number, Value>): Node {
  return node.inputs.some((v) => map.has(v.id)) ? { ...node, inputs: node.inputs.map((v) => map.get(v.id) ?? v) } : node;
}

export function withOutputs(graph: Graph, nodes: readonly Node[], map: ReadonlyMap<number, Value>): Graph {
  return {
    inputs: graph.inputs,
    nodes,
    outputs: graph.outputs.map((o) => ({ ...o, value: map.get(o.value.id) ?? o.value })),
  };
}

/** How often each value is read, graph outputs included. */
export function countUses(graph: Graph): Map<number, number> {
  const uses = new Map<number, number>();
  const count = (v: Value): void => void uses.set(v.id, (uses.get(v.id) ?? 0) + 1);
  for (const n of graph.nodes) n.inputs.forEach(count);
  for (const o of graph.outputs) count(o.value);
  return uses;
}

/** The node that makes each value. */
export function producers(graph: Graph): Map<number, Node> {
  return new Map(graph.nodes.flatMap((n) => n.outputs.map((v) => [v.id, n] as const)));
}

/** A source of ids that the graph does not use. */
export function freshIds(graph: Graph): (v: Value) => Value {
  let next = 1 + Math.max(-1, ...graph.inputs.map((i) => i.value.id), ...graph.nodes.flatMap((n) => n.outputs.map((v) => v.id)));
  return (v) => ({ ...v, id: next++ });
}
