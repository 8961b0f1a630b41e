import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { add, Builder } from "../../trace/index.ts";
import { openCpu } from "../cpu.ts";

test("the library stays loaded when the garbage collector has run", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void; // what --expose-gc adds
  using device = openCpu({ threads: 1 });
  const builder = new Builder();
  const x = builder.input("x", [2]);
  builder.output("y", add(x, x));
  using program = device.compile(builder.graph());
  for (let i = 0; i < 5; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 10)); // finalizers run between turns of the event loop
    (program.inputs.get("x") as Float32Array).set([i, 1]); // float32 as traced
    await program.run();
    expect([...(program.outputs.get("y") as Float32Array)]).toEqual([2 * i, 2]);
  }
});
