/** @file The backward walk: reverse-mode differentiation of the nodes traced so far. */
import { InternalError } from "../../core/index.ts";
import type { Node, OpName } from "../ir/index.ts";
import { add, Tensor } from "../trace/index.ts";
import { ELEMENTWISE } from "./rules/elementwise.ts";
import { REDUCTIONS } from "./rules/reduce.ts";
import { NO_GRADIENT, type VjpTable } from "./rules/rule.ts";
import { SHAPE_OPS } from "./rules/shape-ops.ts";

export const VJP: VjpTable<OpName> = { ...ELEMENTWISE, ...SHAPE_OPS, ...REDUCTIONS };

export interface BackwardOptions {
  /** Cotangent of `of`; 1 when absent, and then `of` must be a scalar. */
  readonly seed?: Tensor;
  /** Gradients so far, by position in `wrt`: contributions are added to them where they arise (contracts 6). */
  readonly running?: readonly (Tensor | undefined)[];
}

/** Ids of values that vary with `wrt`. */
function varying(nodes: readonly Node[], wrt: readonly Tensor[]): Set<number> {
  const ids = new Set(wrt.map((t) => t.value.id));
  for (const n of nodes) if (VJP[n.op] !== NO_GRADIENT && n.inputs.some((v) => ids.has(v.id))) for (const o of n.outputs) ids.add(o.id);
  return ids;
}

function runRule<K extends OpName>(
  node: Node<K>,
  context: { wrap: (v: Node["inputs"][number]) => Tensor; grads: (Tensor | undefined)[]; needs: boolean[] },
): readonly (Tensor | undefined)[] {
  const rule: VjpTable<K>[K] = VJP[node.op];
  if (rule === NO_GRADIENT) return [];
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
  if (seed === undefined && of.shape.length > 0)
    throw new InternalError(`Cannot differentiate ${of.toString()}: it is not a scalar; sum it or give a seed`);
  const nodes = [...builder.nodes];
  const varies = varying(nodes, wrt);
  const cotangents = new Map<number, Tensor>();
  wrt.forEach((t, i) => {
    const start = running[i];
    if (start !== undefined) cotangents.set(t.value.id, start);
  });
  cotangents.set(
    of.value.id,
    seed ?? builder.op("constant", [], { dtype: of.dtype, shape: [], data: of.dtype === "f64" ? Float64Array.of(1) : Float32Array.of(1) }),
  );
  const own = new Set(wrt.map((t) => t.value.id));
  const wrap = (v: Node["inputs"][number]): Tensor => new Tensor(builder, v);
  for (const node of nodes.reverse()) {
    const grads = node.outputs.map((v) => (own.has(v.id) ? undefined : cotangents.get(v.id)));
    const needs = node.inputs.map((v) => varies.has(v.id));
    if (grads.every((g) => g === undefined) || !needs.includes(true)) continue;
    builder.inRegion(
      node.region === "" ? "" : `${node.region}~`,
      () => {
        runRule(node, { wrap, grads, needs }).forEach((g, i) => {
          const v = node.inputs[i];
          if (g === undefined || v === undefined) return;
          const sofar = cotangents.get(v.id);
          cotangents.set(v.id, sofar === undefined ? g : add(sofar, g));
        });
      },
      { absolute: true },
    );
  }
  return wrt.map((t) => cotangents.get(t.value.id));
}
