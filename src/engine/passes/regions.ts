/** @file Passes about what crosses from one stage to another: cheap nodes are made again where they are read. */
import type { Graph, Node, OpName, Value } from "../ir/index.ts";
import { freshIds, producers, withInputs } from "./rewrite.ts";

const CHEAP: ReadonlySet<OpName> = new Set<OpName>(["constant", "iota", "reshape", "broadcast"]);

/** Clones constants, reshapes and broadcasts into each region that reads them, so that only real data crosses. */
export function localize(graph: Graph): Graph {
  const made = producers(graph);
  const fresh = freshIds(graph);
  const local = new Map<string, Value>();
  const nodes: Node[] = [];
  const bring = (v: Value, region: string): Value => {
    const node = made.get(v.id);
    if (node === undefined || node.region === region || !CHEAP.has(node.op)) return v;
    const key = `${v.id}@${region}`;
    const known = local.get(key);
    if (known !== undefined) return known;
    const inputs = node.inputs.map((i) => bring(i, region));
    const copy = fresh(v);
    nodes.push({ ...node, inputs, outputs: [copy], region });
    local.set(key, copy);
    return copy;
  };
  for (const n of graph.nodes) {
    const map = new Map<number, Value>();
    for (const v of n.inputs) {
      const here = bring(v, n.region);
      if (here !== v) map.set(v.id, here);
    }
    nodes.push(withInputs(n, map));
  }
  return { ...graph, nodes };
}

/**
 * Activation checkpointing: backward regions `R~` make the values of `R` again from what `R` itself reads,
 * instead of keeping them. `choose` says for which regions.
 */
export function recompute(graph: Graph, choose: (region: string) => boolean): Graph {
  const made = producers(graph);
  const fresh = freshIds(graph);
  const copies = new Map<string, Value>();
  const nodes: Node[] = [];
  const again = (v: Value, region: string): Value => {
    const node = made.get(v.id);
    if (node === undefined || `${node.region}~` !== region || !choose(node.region)) return v;
    const key = `${v.id}@${region}`;
    const known = copies.get(key);
    if (known !== undefined) return known;
    const inputs = node.inputs.map((i) => again(i, region));
    const outputs = node.outputs.map((o) => {
      const copy = fresh(o);
      copies.set(`${o.id}@${region}`, copy);
      return copy;
    });
    nodes.push({ ...node, inputs, outputs, region });
    return copies.get(key) ?? v;
  };
  for (const n of graph.nodes) nodes.push(withInputs(n, new Map(n.inputs.map((v) => [v.id, again(v, n.region)]))));
  return { ...graph, nodes };
}
