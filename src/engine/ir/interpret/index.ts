/** @file The float64 interpreter: runs any graph, slowly and plainly. */
import { InternalError, sameShape, ShapeError } from "../../../core/index.ts";
import type { Graph, Node, OpName } from "../types.ts";
import { ELEMENTWISE } from "./elementwise.ts";
import { REDUCTIONS } from "./reduce.ts";
import type { Cell, EvalRule, EvalTable } from "./rule.ts";
import { SHAPE_OPS } from "./shape-ops.ts";
import { SPATIAL } from "./spatial.ts";

export const EVAL: EvalTable<OpName> = { ...ELEMENTWISE, ...SHAPE_OPS, ...REDUCTIONS, ...SPATIAL };

/** The outputs of one node. */
export function evalNode<K extends OpName>(node: Node<K>, inputs: readonly Cell[]): readonly Cell[] {
  const rule: EvalRule<K> = EVAL[node.op];
  return rule(inputs, node.params);
}

/** Runs the graph on values by name; gives its outputs by name. Unnamed dtypes do not matter: all is float64. */
export function interpret(graph: Graph, values: ReadonlyMap<string, Cell>): Map<string, Cell> {
  const cells = new Map<number, Cell>();
  for (const i of graph.inputs) {
    const x = values.get(i.name);
    if (x === undefined) throw new InternalError(`Cannot interpret the graph: input "${i.name}" has no value; give one`);
    if (!sameShape(x.shape, i.value.shape))
      throw new ShapeError(`Cannot interpret the graph: input "${i.name}" is [${x.shape.join(",")}]; give [${i.value.shape.join(",")}]`);
    cells.set(i.value.id, x);
  }
  const get = (id: number): Cell => {
    const x = cells.get(id);
    if (x === undefined) throw new InternalError(`Cannot interpret the graph: %${id} is used before it is made; verify the graph`);
    return x;
  };
  for (const node of graph.nodes) {
    const outs = evalNode(
      node,
      node.inputs.map((v) => get(v.id)),
    );
    node.outputs.forEach((v, i) => {
      const out = outs[i];
      if (out === undefined || !sameShape(out.shape, v.shape))
        throw new InternalError(`Cannot interpret ${node.op}: output ${i} has another shape than inferred; one of its rules is wrong`);
      cells.set(v.id, out);
    });
  }
  return new Map(graph.outputs.map((o) => [o.name, get(o.value.id)]));
}
