/**
 * @file Which numbers of a graph depend on sizes that are not fixed. Graphs are static in shape, so the same network is traced at every
 * combination of two values of each size; each number is fitted over them and held against one more trace.
 */
import { InternalError, type TypedArray } from "../../../core/index.ts";
import { type Graph, isOp, type Node, type Value } from "../../ir/index.ts";
import { cornerOf, fitPoly, isFixed, type Poly, polyAt, type SizeSymbol } from "./poly.ts";

/** What a constant is where it depends on sizes: one over a number of them (of a mean), or a table that the caller must compute. */
export type VaryingConstant =
  | { readonly kind: "reciprocal"; readonly of: Poly }
  | { readonly kind: "table"; readonly shape: readonly Poly[] };

/** A graph at the lowest sizes, and which of its numbers depend on them. Passes keep values and parameters, so the table stays true. */
export class SymbolicGraph {
  readonly graph: Graph;
  readonly symbols: readonly SizeSymbol[];
  readonly #shapes: ReadonlyMap<number, readonly Poly[]>;
  readonly #params: ReadonlyMap<object, ReadonlyMap<string, readonly Poly[]>>;
  readonly #constants: ReadonlyMap<number, VaryingConstant>;

  constructor(graph: Graph, symbols: readonly SizeSymbol[], found: Found) {
    this.graph = graph;
    this.symbols = symbols;
    this.#shapes = found.shapes;
    this.#params = found.params;
    this.#constants = found.constants;
  }

  /** The sizes of a value's axes. */
  shape(value: Value): readonly Poly[] {
    const shape = this.#shapes.get(value.id);
    if (shape === undefined) throw new InternalError(`Cannot find the shape of %${value.id}: it is not of this trace`);
    return shape;
  }

  /** A list of numbers among a node's parameters. */
  list(node: Node, key: string): readonly Poly[] {
    const list = this.#params.get(node.params)?.get(key);
    if (list === undefined) throw new InternalError(`Cannot find "${key}" of ${node.op}: it is not of this trace`);
    return list;
  }

  /** What a constant is, where it depends on sizes. */
  constant(node: Node): VaryingConstant | undefined {
    return this.#constants.get(node.outputs[0]?.id ?? -1);
  }

  /** Whether a number of its parameters, or of its shape, depends on sizes. */
  varies(node: Node): boolean {
    const lists = [...(this.#params.get(node.params)?.values() ?? []), ...node.outputs.map((v) => this.shape(v))];
    return this.constant(node) !== undefined || !lists.flat().every(isFixed);
  }
}

interface Found {
  readonly shapes: Map<number, readonly Poly[]>;
  readonly params: Map<object, ReadonlyMap<string, readonly Poly[]>>;
  readonly constants: Map<number, VaryingConstant>;
}

/** Traces at every corner, fits, and checks the fit at the probe. `trace` must give the same nodes in the same order at any sizes. */
export function traceSymbolic(symbols: readonly SizeSymbol[], trace: (sizes: readonly number[]) => Graph): SymbolicGraph {
  const corners = Array.from({ length: 2 ** symbols.length }, (_, mask) => trace(cornerOf(symbols, mask)));
  const probe = trace(symbols.map((s) => s.probe));
  const [base] = corners;
  if (base === undefined) throw new InternalError("Cannot trace: no corner was made");
  const found: Found = { shapes: new Map(), params: new Map(), constants: new Map() };
  const fit = fitter(symbols);
  const shapes = (values: readonly (Value | undefined)[], last: Value | undefined): readonly Poly[] =>
    fit(
      values.map((v) => v?.shape ?? []),
      last?.shape ?? [],
    );
  for (const other of [...corners, probe]) checkSame(base, other);
  base.inputs.forEach(({ value }, i) => {
    const all = corners.map((g) => g.inputs[i]?.value);
    found.shapes.set(value.id, shapes(all, probe.inputs[i]?.value));
  });
  base.nodes.forEach((node, i) => {
    const nodes = [...corners, probe].flatMap((g) => g.nodes[i] ?? []);
    node.outputs.forEach((value, k) => {
      const all = nodes.map((n) => n.outputs[k]);
      found.shapes.set(value.id, shapes(all.slice(0, -1), all.at(-1)));
    });
    addParams(found, nodes, fit);
  });
  return new SymbolicGraph(base, symbols, found);
}

/** One network at other sizes: the same ops of the same values. A Builder numbers values as they are made, so equal numbers are equal places. */
function checkSame(base: Graph, other: Graph): void {
  const wiring = ({ op, inputs, outputs }: Node): string => [op, ...inputs.map((v) => v.id), "->", ...outputs.map((v) => v.id)].join(" ");
  const ends = ({ inputs, outputs }: Graph): string => [...inputs, ...outputs].map(({ name, value }) => `${name} ${value.id}`).join(" ");
  const at = base.nodes.findIndex((node, i) => other.nodes[i] === undefined || wiring(node) !== wiring(other.nodes[i]));
  if (at < 0 && base.nodes.length === other.nodes.length && ends(base) === ends(other)) return;
  throw new InternalError(`Cannot trace: the network is another one at other sizes, from node ${at < 0 ? base.nodes.length : at} on`);
}

type Fit = (corners: readonly (readonly number[])[], probe: readonly number[]) => readonly Poly[];

function fitter(symbols: readonly SizeSymbol[]): Fit {
  const at = symbols.map((s) => s.probe);
  return (corners, probe) =>
    probe.map((truth, k) => {
      const values = corners.map((list) => list[k] ?? Number.NaN);
      const poly = fitPoly(symbols, values);
      if (polyAt(poly, at) !== truth) throw new InternalError(`Cannot fit ${values.join(", ")}: it is ${truth} at ${at.join(", ")}`);
      return poly;
    });
}

/** The parameters of one node at every corner and, last, at the probe. */
function addParams(found: Found, nodes: readonly Node[], fit: Fit): void {
  const [first, ...others] = nodes;
  if (first === undefined) return;
  const lists = new Map<string, readonly Poly[]>();
  for (const [key, value] of Object.entries(first.params) as [string, unknown][]) {
    const all = [first, ...others].map((n) => (n.params as Readonly<Record<string, unknown>>)[key]); // as: parameters are plain objects
    if (key === "data") continue; // of a constant, below
    if (isNumbers(value)) lists.set(key, fit(all.slice(0, -1).filter(isNumbers), all.filter(isNumbers).at(-1) ?? []));
    else if (!all.every((x) => x === value)) throw new InternalError(`Cannot trace: ${key} of ${first.op} depends on the sizes`);
  }
  found.params.set(first.params, lists);
  const varying = varyingConstant(nodes, { fit, shape: lists.get("shape") ?? [] });
  if (varying !== undefined) found.constants.set(first.outputs[0]?.id ?? -1, varying);
}

function isNumbers(x: unknown): x is readonly number[] {
  return Array.isArray(x) && x.every((n) => typeof n === "number");
}

function varyingConstant(
  nodes: readonly Node[],
  { fit, shape }: { readonly fit: Fit; readonly shape: readonly Poly[] },
): VaryingConstant | undefined {
  const data = nodes.flatMap((n) => (isOp(n, "constant") ? [n.params.data] : []));
  const [first] = data;
  if (first === undefined || data.every((d) => sameData(d, first))) return undefined;
  if (data.some((d) => d.length !== 1)) return { kind: "table", shape };
  const counts = data.map((d) => [Math.round(1 / Number(d[0]))]);
  const isExact = counts.every(([n = 0], i) => Math.fround(1 / n) === Number(data[i]?.[0]));
  if (!isExact) throw new InternalError(`Cannot trace: a constant ${data.map((d) => String(d[0])).join(", ")} depends on the sizes`);
  const [of] = fit(counts.slice(0, -1), counts.at(-1) ?? []);
  return { kind: "reciprocal", of: of ?? [] };
}

function sameData(a: TypedArray, b: TypedArray): boolean {
  return a === b || (a.length === b.length && a.every((x, i) => x === b[i]));
}
