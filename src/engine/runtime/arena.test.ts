import { afterAll, beforeAll, expect, test } from "vitest";
import { expectClose } from "../../core/testing/golden.ts";
import { interpret, numbersOf } from "../ir/index.ts";
import { optimize } from "../passes/index.ts";
import { toyValues, traceToy } from "../testing/toy.ts";
import { Arena, type Device, openCpu, type Program } from "./index.ts";

let device: Device;
beforeAll(() => {
  device = openCpu({ threads: 2 });
});
afterAll(() => {
  device[Symbol.dispose]();
});

/** A toy step of so many samples over an arena, with its inputs set and a look at whether its outputs are the interpreter's. */
function toy(samples: number, arena: Arena): Disposable & { readonly program: Program; readonly check: () => void } {
  const graph = traceToy({ samples });
  const values = toyValues(graph);
  const truth = interpret(graph, values);
  const program = device.compile(optimize(graph), { arena });
  for (const [name, { data }] of values) (program.inputs.get(name) as Float32Array).set(data); // float32 as all of the toy's
  const check = (): void => {
    for (const [name, { data }] of truth) {
      const view = program.outputs.get(name) ?? new Float32Array();
      expectClose(numbersOf(view), data, { atol: 1e-5, rtol: 1e-4, what: name });
      (view as Float32Array).fill(NaN); // the next run has to write it anew
    }
  };
  return { program, check, [Symbol.dispose]: () => program[Symbol.dispose]() };
}

test("programs that share an arena take turns and give the interpreter's numbers, also after a larger one has come", async () => {
  const arena = new Arena();
  using small = toy(1, arena);
  using middle = toy(2, arena);
  const order = [small, middle, small];
  for (const { program, check } of order) {
    await program.run();
    check();
  }
  const before = arena.hold();
  arena.release();
  expect(before.byteLength).toBe(middle.program.arenaBytes);
  using large = toy(8, arena);
  for (const { program, check } of [small, large, middle, small, large]) {
    await program.run();
    check();
  }
  expect(arena.hold().byteLength).toBe(large.program.arenaBytes);
  arena.release();
});

test("a program refuses to run while another over its arena runs, and may run afterwards", async () => {
  const arena = new Arena();
  using first = toy(2, arena);
  using second = toy(2, arena);
  const running = first.program.run();
  await expect(second.program.run()).rejects.toThrow("Cannot run program: another over the same arena is running; await it first");
  await running;
  first.check();
  await second.program.run();
  second.check();
});

test("a run that was stopped gives its arena back", async () => {
  const arena = new Arena();
  using first = toy(2, arena);
  using second = toy(2, arena);
  const stop = new AbortController();
  const stopped = first.program.run({ signal: stop.signal, onStage: () => stop.abort() });
  await expect(stopped).rejects.toThrow(/abort/i);
  await second.program.run();
  second.check();
});
