/** @file The backward walk: reverse-mode differentiation of the nodes traced so far. */
import { InternalError, sameShape, ShapeError } from "../../core/index.ts";
import { isFloat, type Node, type OpName, type Value } from "../ir/index.ts";
import { add, scalar, Tensor } from "../trace/index.ts";
import { ELEMENTWISE } from "./rules/elementwise.ts";
import { REDUCTIONS } from "./rules/reduce.ts";
import { NO_GRADIENT, NOT_TWICE, type VjpTable } from "./rules/rule.ts";
import { SHAPE_OPS } from "./rules/shape-ops.ts";
import { SPATIAL } from "./rules/spatial.ts";

export const VJP: VjpTable<OpName> = { ...ELEMENTWISE, ...SHAPE_OPS, ...REDUCTIONS, ...SPATIAL };

export interface BackwardOptions {
  /** Cotangent of `of`; 1 when absent, and then `of` must be a scalar. */
  readonly seed?: Tensor;
  /** Gradients so far, by position in `wrt`: contributions are added to them where they arise (contracts 6). */
  readonly running?: readonly (Tensor | undefined)[];
}

/** Ids of values that vary smoothly with `wrt`; integers and bools never do. */
function varying(nodes: readonly Node[], wrt: readonly Tensor[]): Set<number> {
  const ids = new Set(wrt.map((t) => t.value.id));
  for (const n of nodes) {
    if (VJP[n.op] === NO_GRADIENT || !n.inputs.some((v) => ids.has(v.id))) continue;
    for (const o of n.outputs) if (isFloat(o.dtype)) ids.add(o.id);
  }
  return ids;
}

function runRule<K extends OpName>(
  node: Node<K>,
  context: { wrap: (v: Node["inputs"][number]) => Tensor; grads: (Tensor | undefined)[]; needs: boolean[] },
): readonly (Tensor | undefined)[] {
  const rule: VjpTable<K>[K] = VJP[node.op];
  if (rule === NO_GRADIENT) return [];
  if (rule === NOT_TWICE) throw new InternalError(`Cannot differentiate ${node.op}: it is a gradient itself; give it a rule of its own`);
  const { wrap, grads, needs } = context;
  const thunks = rule({ params: node.params, inputs: node.inputs.map(wrap), outputs: node.outputs.map(wrap), grads, needs });
  return thunks.map((make, i) => (needs[i] === true ? make?.() : undefined));
}

/**
 * Gradients of the scalar `of` with respect to `wrt`. Backward nodes carry the region of the node they differentiate, with `~` appended.
 * A tensor that `of` does not depend on gets its running gradient, or undefined.
 */
export function gradients(of: Tensor, wrt: readonly Tensor[], { seed, running = [] }: BackwardOptions = {}): (Tensor | undefined)[] {
  const { builder } = of;
  const nodes = [...builder.nodes];
  const varies = varying(nodes, wrt);
  const made = new Set(nodes.flatMap((n) => n.outputs.map((v) => v.id)));
  const cotangents = new Map<number, Tensor>();
  const give = (v: Value, g: Tensor): void => {
    const sofar = cotangents.get(v.id);
    cotangents.set(v.id, sofar === undefined ? g : add(sofar, g));
  };
  // What is made from other tensors must not hand its running gradient on to them: that one is added at the end.
  const late = wrt.map((t, i) => {
    const start = running[i];
    if (start === undefined || made.has(t.value.id)) return start;
    give(t.value, start);
    return undefined;
  });
  give(of.value, seedOf(of, seed));
  const wrap = (v: Value): Tensor => new Tensor(builder, v);
  for (const node of nodes.reverse()) {
    const grads = node.outputs.map((v) => cotangents.get(v.id));
    const needs = node.inputs.map((v) => varies.has(v.id));
    if (grads.every((g) => g === undefined) || !needs.includes(true)) continue;
    const region = node.region === "" ? "" : `${node.region}~`;
    const back = (): void => runRule(node, { wrap, grads, needs }).forEach((g, i) => g !== undefined && give(node.inputs[i]!, g)); // one thunk an input
    builder.inRegion(region, back, { absolute: true });
  }
  return wrt.map((t, i) => sum(late[i], cotangents.get(t.value.id)));
}

function seedOf(of: Tensor, seed: Tensor | undefined): Tensor {
  if (seed === undefined && of.shape.length > 0)
    throw new ShapeError(`Cannot differentiate ${of.toString()}: it is not a scalar; sum it or give a seed`);
  if (seed !== undefined && (seed.dtype !== of.dtype || !sameShape(seed.shape, of.shape)))
    throw new ShapeError(`Cannot differentiate ${of.toString()}: the seed is ${seed.toString()}; give one of the same type`);
  return seed ?? scalar(of.builder, 1, of.dtype);
}

function sum(a: Tensor | undefined, b: Tensor | undefined): Tensor | undefined {
  return a === undefined || b === undefined ? (a ?? b) : add(a, b);
}
