/** @file The checks a graph must pass after every pass: order, single definition, and every type inferred anew. */
import { InternalError, sameShape } from "../../core/index.ts";
import { inferTypes } from "./infer/index.ts";
import { show } from "./infer/rule.ts";
import { printNode } from "./print.ts";
import type { Graph, Node, Value, ValueType } from "./types.ts";

function bad(what: string, state: string, cause?: unknown): never {
  throw new InternalError(`Cannot verify ${what}: ${state}; the pass or trace that made it is wrong`, cause === undefined ? {} : { cause });
}

function checkTypes(node: Node): void {
  let types: readonly ValueType[] = [];
  try {
    types = inferTypes(node.op, node.inputs, node.params);
  } catch (cause) {
    bad(printNode(node), "its inputs do not fit its rule", cause);
  }
  const same = types.length === node.outputs.length && node.outputs.every((v, i) => sameType(v, types[i]));
  if (!same) bad(printNode(node), "its outputs have other types than its rule infers");
}

function sameType(v: ValueType, t: ValueType | undefined): boolean {
  return t !== undefined && v.dtype === t.dtype && sameShape(v.shape, t.shape);
}

function checkNames(graph: Graph): void {
  for (const [kind, items] of [
    ["input", graph.inputs],
    ["output", graph.outputs],
  ] as const) {
    const names = new Set<string>();
    for (const { name } of items) {
      if (names.has(name)) bad(`${kind} "${name}"`, "there are two of this name");
      names.add(name);
    }
  }
}

/** Throws InternalError where the graph is not well formed; returns it otherwise. */
export function verifyGraph(graph: Graph): Graph {
  checkNames(graph);
  const defined = new Map<number, ValueType>();
  const define = (v: Value, what: string): void => {
    if (defined.has(v.id)) bad(what, `%${v.id} is defined twice`);
    defined.set(v.id, v);
  };
  const use = (v: Value, what: string): void => {
    const known = defined.get(v.id) ?? bad(what, `%${v.id} is used before it is made`);
    if (!sameType(v, known)) bad(what, `%${v.id} is used as ${show(v)} and made as ${show(known)}`);
  };
  for (const i of graph.inputs) define(i.value, `input "${i.name}"`);
  for (const node of graph.nodes) {
    for (const v of node.inputs) use(v, printNode(node));
    checkTypes(node);
    for (const v of node.outputs) define(v, printNode(node));
  }
  for (const o of graph.outputs) use(o.value, `output "${o.name}"`);
  return graph;
}
