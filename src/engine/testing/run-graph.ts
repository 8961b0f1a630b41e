/** @file Runs a traced graph once on the CPU device, for tests. */
import type { HostTensor } from "../../core/index.ts";
import { numbersOf } from "../ir/index.ts";
import { optimize } from "../passes/index.ts";
import { openCpu } from "../runtime/index.ts";
import type { Builder } from "../trace/index.ts";

/** Values by input name -> outputs by name. */
export async function runGraph(
  builder: Builder,
  values: ReadonlyMap<string, HostTensor | ArrayLike<number>>,
): Promise<ReadonlyMap<string, Float32Array>> {
  using device = openCpu({ threads: 2 });
  using program = device.compile(optimize(builder.graph()));
  for (const [name, view] of program.inputs) {
    const given = values.get(name);
    if (given === undefined) throw new RangeError(`Cannot run the graph: input "${name}" has no value; give one`);
    const data = "data" in given ? numbersOf(given.data) : given;
    for (let i = 0; i < view.length; i++) {
      if (view instanceof BigInt64Array) view[i] = BigInt(data[i] ?? 0);
      else view[i] = data[i] ?? NaN;
    }
  }
  await program.run();
  return new Map([...program.outputs].map(([name, view]) => [name, Float32Array.from(numbersOf(view))]));
}
