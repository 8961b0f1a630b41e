/** @file Lowers a list of IR nodes (a stage, or a whole graph) to ONNX. The only room that knows opsets. */
import type { Node, OpName, Value } from "../../ir/index.ts";
import { encodeModel, type OnnxNode } from "../proto.ts";
import { Lowering, type LowerRule, type LowerTable, type OnnxTarget } from "./context.ts";
import { ELEMENTWISE } from "./elementwise.ts";
import { REDUCTIONS } from "./reduce.ts";
import { SHAPE_OPS } from "./shape-ops.ts";
import { SPATIAL } from "./spatial.ts";

export const LOWER: LowerTable<OpName> = { ...ELEMENTWISE, ...SHAPE_OPS, ...REDUCTIONS, ...SPATIAL };

/** ONNX bytes with the order of their inputs and outputs. Equal structure gives equal bytes. */
export interface LoweredStage {
  readonly bytes: Uint8Array;
  readonly inputs: readonly Value[];
  readonly inputNames: readonly string[];
  readonly outputs: readonly Value[];
  readonly outputNames: readonly string[];
}

/** Emits a node by its rule. */
export function lowerNode<K extends OpName>(node: Node<K>, to: Lowering): readonly string[] {
  const rule: LowerRule<K> = LOWER[node.op];
  return rule(node, to);
}

/** Nodes that the outputs depend on, in order. */
export function live(nodes: readonly OnnxNode[], outputs: readonly string[]): OnnxNode[] {
  const wanted = new Set(outputs);
  return nodes
    .toReversed()
    .filter((n) => {
      const keep = n.outputs.some((o) => wanted.has(o));
      if (keep) for (const i of n.inputs) wanted.add(i);
      return keep;
    })
    .toReversed();
}

/** Lowers nodes whose free values become inputs; `outputs` are those that others read. */
export function lowerStage(
  nodes: readonly Node[],
  outputs: readonly Value[],
  { target = "ort-cpu" }: { readonly target?: OnnxTarget } = {},
): LoweredStage {
  const to = new Lowering(target);
  const inputs: Value[] = [];
  const read = (v: Value): void => {
    if (to.has(v)) return;
    to.bind(v, `i${inputs.length}`);
    inputs.push(v);
  };
  for (const node of nodes) {
    node.inputs.forEach(read);
    lowerNode(node, to).forEach((name, i) => {
      const v = node.outputs[i];
      if (v !== undefined) to.bind(v, name);
    });
  }
  outputs.forEach(read);
  const taken = new Set<string>();
  const outputNames = outputs.map((v) => {
    const name = to.name(v);
    const own = name.startsWith("t") && !taken.has(name) ? name : to.emit("Identity", [name]);
    taken.add(own);
    return own;
  });
  const body = live(to.nodes, outputNames);
  const used = new Set(body.flatMap((n) => n.inputs));
  const kept = inputs.map((v, i) => ({ v, name: `i${i}` })).filter(({ name }) => used.has(name));
  const bytes = encodeModel({
    nodes: body,
    initializers: [...to.initializers.values()].filter((c) => used.has(c.name)),
    inputs: kept.map(({ v, name }) => ({ name, dtype: v.dtype, shape: v.shape })),
    outputs: outputs.map((v, i) => ({ name: outputNames[i] ?? "", dtype: v.dtype, shape: v.shape })),
  });
  return { bytes, inputs: kept.map(({ v }) => v), inputNames: kept.map(({ name }) => name), outputs, outputNames };
}
