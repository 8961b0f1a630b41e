/** @file Passes that leave less to do: prune dead nodes, fold constants, drop identities, share equal nodes, fuse sums into products. */
import { type DType, sizeOf, type TypedArray } from "../../core/index.ts";
import { type Cell, evalNode, type Graph, isOp, type Node, numbersOf, type OpName, type Value, valuesKey } from "../ir/index.ts";
import { countUses, producers, withInputs, withOutputs } from "./rewrite.ts";

/** Drops nodes that no output depends on. */
export function prune(graph: Graph): Graph {
  const wanted = new Set(graph.outputs.map((o) => o.value.id));
  const nodes: Node[] = [];
  for (const n of graph.nodes.toReversed()) {
    if (!n.outputs.some((v) => wanted.has(v.id))) continue;
    for (const v of n.inputs) wanted.add(v.id);
    nodes.push(n);
  }
  return { ...graph, nodes: nodes.reverse() };
}

/** Results of more values are not folded: they would only make the model larger. */
const FOLDED_VALUES = 64;

const ARRAYS: { readonly [K in DType]?: (data: Float64Array) => TypedArray } = {
  f32: (data) => Float32Array.from(data),
  f64: (data) => data,
  i32: (data) => Int32Array.from(data),
  bool: (data) => Uint8Array.from(data),
};

/** The node as a constant, where all it reads is in `known`. */
function folded(node: Node, known: ReadonlyMap<number, Cell>): Node<"constant"> | undefined {
  if (node.op === "allReduce") return undefined; // a sum over processes, of a constant too
  const inputs = node.inputs.flatMap((v) => known.get(v.id) ?? []);
  const [y, ...more] = node.outputs;
  const make = y === undefined || sizeOf(y.shape) > FOLDED_VALUES ? undefined : ARRAYS[y.dtype];
  if (y === undefined || make === undefined || more.length > 0 || inputs.length === 0 || inputs.length < node.inputs.length)
    return undefined;
  const [value] = evalNode(node, inputs);
  const params = value === undefined ? undefined : { dtype: y.dtype, shape: y.shape, data: make(value.data) };
  return params === undefined ? undefined : { ...node, op: "constant", inputs: [], params };
}

/** Computes what depends on small constants only. Each value is rounded to its own dtype, as it would be at run time. */
export function fold(graph: Graph): Graph {
  const known = new Map<number, Cell>();
  const nodes = graph.nodes.map((node) => {
    const constant = isOp(node, "constant") ? node : folded(node, known);
    const [y] = node.outputs;
    if (constant === undefined || y === undefined) return node;
    if (constant.params.data.length <= FOLDED_VALUES)
      known.set(y.id, { shape: y.shape, data: Float64Array.from(numbersOf(constant.params.data)) });
    return constant;
  });
  return { ...graph, nodes };
}

/** Renames the inputs of each node by what `keep` has put into the map so far, and drops nodes that `keep` refuses. */
function rewriteEach(nodes: readonly Node[], map: ReadonlyMap<number, Value>, keep: (node: Node) => boolean): Node[] {
  return nodes.flatMap((n) => {
    const renamed = withInputs(n, map);
    return keep(renamed) ? [renamed] : [];
  });
}

const IDENTITIES: ReadonlySet<OpName> = new Set<OpName>(["stopGradient", "barrier"]);

/** Drops ops that only meant something to differentiation. */
export function dropIdentities(graph: Graph): Graph {
  const map = new Map<number, Value>();
  const nodes = rewriteEach(graph.nodes, map, (n) => {
    const [x] = n.inputs;
    const [y] = n.outputs;
    if (!IDENTITIES.has(n.op) || x === undefined || y === undefined) return true;
    map.set(y.id, x);
    return false;
  });
  return withOutputs(graph, nodes, map);
}

/** Constants of more values are not compared. */
const COMPARED_VALUES = 16;

/** Equal for equal nodes of one region; undefined for nodes that are not compared. */
function shareKey(node: Node): string | undefined {
  const data = isOp(node, "constant") ? node.params.data : undefined;
  if (data !== undefined && data.length > COMPARED_VALUES) return undefined;
  const params = Object.entries(node.params).map(([k, v]) => `${k}=${k === "data" && data !== undefined ? valuesKey(data) : String(v)}`);
  return [node.region, node.op, node.inputs.map((v) => v.id).join(), params.join(";")].join("|");
}

/** Shares equal nodes of one region (never across regions: that would undo recomputation). */
export function share(graph: Graph): Graph {
  const seen = new Map<string, Node>();
  const map = new Map<number, Value>();
  const nodes = rewriteEach(graph.nodes, map, (n) => {
    const key = shareKey(n);
    if (key === undefined) return true;
    const first = seen.get(key);
    if (first === undefined) {
      seen.set(key, n);
      return true;
    }
    n.outputs.forEach((v, i) => {
      const kept = first.outputs[i];
      if (kept !== undefined) map.set(v.id, kept);
    });
    return false;
  });
  return withOutputs(graph, nodes, map);
}

/** What an `add` node adds to a product that only it reads, or undefined. */
function fusable(
  node: Node,
  made: ReadonlyMap<number, Node>,
  uses: ReadonlyMap<number, number>,
): { readonly product: Node<"dot">; readonly plus: Value } | undefined {
  if (node.op !== "add") return undefined;
  for (const i of [1, 0]) {
    const [p, plus] = [node.inputs[i], node.inputs[1 - i]];
    const product = p === undefined ? undefined : made.get(p.id);
    if (p === undefined || plus === undefined || product === undefined || !isOp(product, "dot")) continue;
    const fits = p.shape.length === 2 && plus.shape.length <= 2 && node.outputs[0]?.shape.join() === p.shape.join();
    if (fits && uses.get(p.id) === 1 && product.region === node.region) return { product, plus };
  }
  return undefined;
}

/** `add(dot(a, b), c)` becomes `dotAdd(a, b, c)`: biases and running gradients ride along in the product. */
export function fuseSums(graph: Graph): Graph {
  const [made, uses] = [producers(graph), countUses(graph)];
  const gone = new Set<Node>();
  const nodes = graph.nodes.map((node) => {
    const found = fusable(node, made, uses);
    if (found === undefined) return node;
    gone.add(found.product);
    return {
      ...node,
      op: "dotAdd" as const,
      inputs: [...found.product.inputs, found.plus],
      params: found.product.params,
    };
  });
  return { ...graph, nodes: nodes.filter((n) => !gone.has(n)) };
}
