/** @file Runs a traced graph in the float64 interpreter and on the CPU device, for tests that hold both to one reference. */
import type { HostTensor } from "../../core/index.ts";
import { interpret, numbersOf } from "../../engine/ir/index.ts";
import { runGraph } from "../../engine/testing/run-graph.ts";
import type { Builder } from "../../engine/trace/index.ts";

type Outputs = ReadonlyMap<string, ArrayLike<number>>;

/** Values by input name -> outputs by name, from each of the two. */
export async function runBoth(
  builder: Builder,
  values: ReadonlyMap<string, HostTensor | ArrayLike<number>>,
): Promise<readonly (readonly [where: string, outputs: Outputs])[]> {
  const graph = builder.graph();
  const cells = new Map(
    graph.inputs.map(({ name, value }) => {
      const given = values.get(name);
      if (given === undefined) throw new RangeError(`Cannot run the graph: input "${name}" has no value; give one`);
      return [name, { shape: value.shape, data: Float64Array.from("data" in given ? numbersOf(given.data) : given) }];
    }),
  );
  const truth = new Map([...interpret(graph, cells)].map(([name, cell]) => [name, cell.data]));
  return [
    ["interpreter", truth],
    ["device", await runGraph(builder, values)],
  ];
}
