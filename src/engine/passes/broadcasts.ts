/** @file The pass that takes small operands as they are: elementwise ops broadcast by themselves. */
import { sameShape } from "../../core/index.ts";
import { type Graph, isOp, type Node, type OpName } from "../ir/index.ts";
import { producers } from "./rewrite.ts";

const BROADCASTING: ReadonlySet<OpName> = new Set<OpName>(["add", "sub", "mul", "div", "min", "max"]);

/** Reads the small value instead of its broadcast, where another operand has the full shape: one array less to write and to keep. */
export function dropBroadcasts(graph: Graph): Graph {
  const made = producers(graph);
  const smaller = (node: Node, i: number): Node["inputs"][number] | undefined => {
    const [input, other] = [node.inputs[i], node.inputs[1 - i]];
    const maker = input === undefined ? undefined : made.get(input.id);
    const full = node.outputs[0]?.shape;
    if (maker === undefined || !isOp(maker, "broadcast") || other === undefined || full === undefined) return undefined;
    return sameShape(other.shape, full) ? maker.inputs[0] : undefined;
  };
  const nodes = graph.nodes.map((node): Node => {
    if (!BROADCASTING.has(node.op)) return node;
    for (const i of [0, 1]) {
      const small = smaller(node, i);
      if (small !== undefined) return { ...node, inputs: node.inputs.map((v, at) => (at === i ? small : v)) };
    }
    return node;
  });
  return { ...graph, nodes };
}
