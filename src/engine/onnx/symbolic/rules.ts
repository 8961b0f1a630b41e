/** @file Lowering of the ops whose parameters may depend on sizes that are not fixed. */
import { InternalError } from "../../../core/index.ts";
import type { Node, OpName } from "../../ir/index.ts";
import { arg, type Lowering } from "../lower/context.ts";
import { isFixed, type Poly, samePoly } from "./poly.ts";
import type { Sizes } from "./sizes.ts";
import type { SymbolicGraph } from "./trace.ts";

/** What a symbolic rule works with. */
export interface SymbolicContext {
  readonly to: Lowering;
  readonly of: SymbolicGraph;
  readonly sizes: Sizes;
  /** Emits a table that depends on sizes; the caller knows what it holds. */
  readonly table: (node: Node<"constant">, shape: readonly Poly[]) => string;
}

type Rule = (node: Node, context: SymbolicContext) => readonly string[];

/** "To the very end" of an axis. */
const END = 2 ** 40;

/** One size that is not fixed follows from the others. */
function shapeTensor(polys: readonly Poly[], { to, sizes }: SymbolicContext): string {
  const open = polys.filter((p) => !isFixed(p)).length;
  return open === 1 ? to.i64(polys.map((p) => (isFixed(p) ? (p[0] ?? 0) : -1))) : sizes.list(polys);
}

const outputShape = (node: Node, { of }: SymbolicContext): readonly Poly[] => of.shape(node.outputs[0] ?? arg(node, 0));

const slice: Rule = (node, context) => {
  const { to, of, sizes } = context;
  const x = arg(node, 0);
  const [starts, limits, shape] = [of.list(node, "starts"), of.list(node, "limits"), of.shape(x)];
  const toEnd = (i: number): boolean => samePoly(limits[i], shape[i]);
  const isZero = (p: Poly | undefined): boolean => p?.every((c) => c === 0) === true;
  const axes = starts.map((_, i) => i).filter((i) => !isZero(starts[i]) || !toEnd(i));
  const end: Poly = [END, ...Array<number>(2 ** of.symbols.length - 1).fill(0)];
  const pick = (list: readonly Poly[]): string => sizes.list(axes.flatMap((i) => (list[i] === undefined ? [] : [list[i]])));
  const ends = limits.map((p, i) => (toEnd(i) ? end : p));
  return [axes.length === 0 ? to.name(x) : to.emit("Slice", [to.name(x), pick(starts), pick(ends), to.i64(axes)])];
};

const constant: Rule = (node, { to, of, sizes, table }) => {
  const varying = of.constant(node);
  if (varying?.kind === "table") return [table(node as Node<"constant">, varying.shape)]; // the rule of constants
  if (varying === undefined) throw new InternalError("Cannot lower a constant: it does not depend on sizes");
  const count = to.emit("Cast", [sizes.one(varying.of)], { attrs: { to: { int: 1 } } });
  const one = to.emit("Reciprocal", [count]);
  return [node.outputs[0]?.shape.length === 0 ? to.emit("Squeeze", [one, to.i64([0])]) : one];
};

/** The ops that take sizes as numbers; all others find them in their inputs' shapes. */
export const SYMBOLIC: { readonly [K in OpName]?: Rule } = {
  constant,
  reshape: (node, context) => [
    context.to.emit("Reshape", [context.to.name(arg(node, 0)), shapeTensor(outputShape(node, context), context)]),
  ],
  broadcast: (node, context) => [
    context.to.emit("Expand", [context.to.name(arg(node, 0)), context.sizes.list(outputShape(node, context))]),
  ],
  slice,
  split: (node, { to, of, sizes }) => {
    const axis = Number("axis" in node.params ? node.params.axis : 0);
    return to.emitAll("Split", [to.name(arg(node, 0)), sizes.list(of.list(node, "sizes"))], {
      attrs: { axis: { int: axis } },
      outputs: node.outputs.length,
    });
  },
};

/** Ops that would bake a size in; networks of ours have none. */
export const BAKING: ReadonlySet<OpName> = new Set<OpName>(["iota", "pad", "scatterAdd", "attentionGrad", "convWeightGrad"]);
