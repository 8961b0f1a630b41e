/** @file One line an op: what graphs look like in snapshots and errors. */
import { formatType } from "../../core/index.ts";
import { numbersOf } from "./numbers.ts";
import { type Graph, isOp, type Node, type Value } from "./types.ts";

function typed(v: Value): string {
  return `%${v.id}: ${formatType(v.dtype, v.shape)}`;
}

/** Values of a constant that are printed. */
const SHOWN = 4;

function printData(node: Node): string {
  if (!isOp(node, "constant")) return "";
  const values = numbersOf(node.params.data);
  return values.slice(0, SHOWN).join(",") + (values.length > SHOWN ? ",…" : "");
}

function printParams(node: Node): string {
  const entries = Object.entries(node.params).map(([k, v]) => {
    if (k === "data") return `data=[${printData(node)}]`;
    return `${k}=${Array.isArray(v) ? `[${v.join(",")}]` : String(v)}`;
  });
  return entries.length === 0 ? "" : ` {${entries.join(" ")}}`;
}

export function printNode(node: Node): string {
  const outs = node.outputs.map(typed).join(", ");
  const ins = node.inputs.map((v) => `%${v.id}`).join(", ");
  return `${outs} = ${node.op}(${ins})${printParams(node)}${node.region === "" ? "" : ` @${node.region}`}`;
}

/** The whole graph as text. */
export function printGraph(graph: Graph): string {
  return [
    ...graph.inputs.map((i) => `${i.kind} ${i.name} ${typed(i.value)}`),
    ...graph.nodes.map(printNode),
    ...graph.outputs.map((o) => `${o.kind} ${o.name} = %${o.value.id}`),
  ].join("\n");
}
