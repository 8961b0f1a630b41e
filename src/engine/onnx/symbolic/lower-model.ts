/** @file A whole graph as one model that runs anywhere: ONNX's own operators, weights inside, sizes fixed or open. */
import { InternalError } from "../../../core/index.ts";
import type { Graph, GraphInput, GraphOutput, Node } from "../../ir/index.ts";
import { dropBroadcasts, dropIdentities, fuseSums, prune } from "../../passes/index.ts";
import { Lowering } from "../lower/context.ts";
import { live, lowerNode } from "../lower/index.ts";
import type { OnnxModel, OnnxNode, OnnxTensorInfo } from "../proto.ts";
import { isFixed, polyText } from "./poly.ts";
import { BAKING, SYMBOLIC, type SymbolicContext } from "./rules.ts";
import { Sizes, type SizeSource } from "./sizes.ts";
import type { SymbolicGraph } from "./trace.ts";

/** ONNX Runtime reads it from 1.14 on. LayerNormalization came with 17, axes as inputs of every reduction with 18. */
export const PORTABLE_OPSET = 18;

export interface LowerModelOptions {
  /** Where each symbol comes from, in the symbols' order: axes of the graph's one input that is no weight. */
  readonly sources: readonly SizeSource[];
  /** Names for the axes of that input that are not fixed. */
  readonly axisNames: Readonly<Record<number, string>>;
  /** Emits a parameter or a piece of state; the name of its value. */
  readonly weight: (input: GraphInput, to: Lowering) => string;
  /** Emits a constant that depends on sizes, such as positions. */
  readonly table: (node: Node<"constant">, context: SymbolicContext) => string;
}

/** Only passes that look at no number: at other sizes, equal numbers may differ. */
function tidy(graph: Graph): Graph {
  return prune(fuseSums(prune(dropBroadcasts(dropIdentities(graph)))));
}

/** Unused outputs of a layer norm are left out: some back ends have none. */
function trimmed(node: OnnxNode, used: ReadonlySet<string>): OnnxNode {
  if (node.op !== "LayerNormalization") return node;
  return { ...node, outputs: node.outputs.slice(0, 1 + node.outputs.findLastIndex((o) => used.has(o))) };
}

/** Gives outputs their names: the node that makes one says so itself, or a copy does. */
function named(nodes: readonly OnnxNode[], outputs: readonly { readonly from: string; readonly to: string }[]): OnnxNode[] {
  const made = new Set(nodes.flatMap((n) => n.outputs));
  const first = new Map<string, string>();
  const copies: OnnxNode[] = [];
  for (const { from, to } of outputs) {
    if (made.has(from) && !first.has(from)) first.set(from, to);
    else copies.push({ op: "Identity", inputs: [first.get(from) ?? from], outputs: [to] });
  }
  const rename = (names: readonly string[]): string[] => names.map((n) => first.get(n) ?? n);
  return [...nodes.map((n) => ({ ...n, inputs: rename(n.inputs), outputs: rename(n.outputs) })), ...copies];
}

/**
 * Lowers a traced network. The graph has one input of kind `input`; parameters and state come from `weight`. Throws InternalError where an
 * op would bake a size in.
 */
export function lowerModel(traced: SymbolicGraph, options: LowerModelOptions): OnnxModel {
  const graph = tidy(traced.graph);
  const to = new Lowering("onnx");
  const [input, ...more] = graph.inputs.filter(({ kind }) => kind === "input");
  if (input === undefined || more.length > 0) throw new InternalError(`Cannot lower model: it has ${more.length} inputs more than one`);
  to.bind(input.value, input.name);
  const weights = new Map(graph.inputs.filter((i) => i !== input).map((i) => [i.value.id, i]));
  const sizes = new Sizes(to, { input: input.name, symbols: traced.symbols, sources: options.sources });
  const context: SymbolicContext = { to, of: traced, sizes, table: (node) => options.table(node, context) };
  for (const node of graph.nodes) {
    for (const v of node.inputs) {
      const weight = weights.get(v.id);
      if (weight !== undefined && !to.has(v)) to.bind(v, options.weight(weight, to));
    }
    lowerOne(node, context).forEach((name, i) => {
      const v = node.outputs[i];
      if (v !== undefined) to.bind(v, name);
    });
  }
  return assemble(graph, { to, traced, input: inputInfo(input, traced, options.axisNames) });
}

function lowerOne(node: Node, context: SymbolicContext): readonly string[] {
  const rule = SYMBOLIC[node.op];
  if (!context.of.varies(node)) return lowerNode(node, context.to);
  if (rule !== undefined) return rule(node, context);
  if (BAKING.has(node.op)) throw new InternalError(`Cannot lower ${node.op}: it would bake in a size that is not fixed`);
  return lowerNode(node, context.to);
}

function inputInfo({ name, value }: GraphInput, traced: SymbolicGraph, axisNames: Readonly<Record<number, string>>): OnnxTensorInfo {
  const shape = traced.shape(value).map((poly, axis) => (isFixed(poly) ? (poly[0] ?? 0) : (axisNames[axis] ?? "")));
  return { name, dtype: value.dtype, shape };
}

function outputInfo({ name, value }: GraphOutput, traced: SymbolicGraph): OnnxTensorInfo {
  const shape = traced.shape(value).map((poly) => (isFixed(poly) ? (poly[0] ?? 0) : polyText(poly, traced.symbols)));
  return { name, dtype: value.dtype, shape };
}

function assemble(
  graph: Graph,
  { to, traced, input }: { readonly to: Lowering; readonly traced: SymbolicGraph; readonly input: OnnxTensorInfo },
): OnnxModel {
  const outputs = graph.outputs.map(({ name, value }) => ({ from: to.name(value), to: name }));
  const body = live(
    to.nodes,
    outputs.map((o) => o.from),
  );
  const used = new Set([...body.flatMap((n) => n.inputs), ...outputs.map((o) => o.from)]);
  return {
    nodes: named(
      body.map((n) => trimmed(n, used)),
      outputs,
    ),
    initializers: [...to.initializers.values()].filter((c) => used.has(c.name)),
    inputs: [input],
    outputs: graph.outputs.map((o) => outputInfo(o, traced)),
    opset: PORTABLE_OPSET,
    standard: true,
  };
}
