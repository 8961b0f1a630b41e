/** @file A small network on the CPU device: the numbers are the interpreter's, however the graph is cut. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InternalError, type TypedArray } from "../../core/index.ts";
import { expectClose } from "../../core/testing/golden.ts";
import { type Cell, type Graph, interpret, numbersOf } from "../ir/index.ts";
import { optimize, type OptimizeOptions } from "../passes/index.ts";
import { toyValues, traceToy } from "../testing/toy.ts";
import { type Device, openCpu, type Program } from "./index.ts";

let device: Device;
beforeAll(() => {
  device = openCpu({ threads: 2 });
});
afterAll(() => {
  device[Symbol.dispose]();
});

type Results = ReadonlyMap<string, ArrayLike<number>>;
const FLOAT32 = { atol: 1e-5, rtol: 1e-4 };
/** The tolerance of contracts 8: relative 1e-5, of values up to 1. */
const SAME = { atol: 1e-6, rtol: 1e-5 };

function set(program: Program, name: string, data: ArrayLike<number>): void {
  const view = program.inputs.get(name);
  if (!(view instanceof Float32Array)) throw new InternalError(`Cannot set "${name}": the program has no such float32 input`);
  view.set(data);
}

function results(program: Program): Results {
  return new Map([...program.outputs].map(([name, view]) => [name, numbersOf(view)]));
}

async function runToy(
  graph: Graph,
  values: ReadonlyMap<string, Cell>,
  options: OptimizeOptions = {},
): Promise<{ got: Results; stages: number; sessions: number }> {
  using program = device.compile(optimize(graph, options));
  for (const [name, { data }] of values) set(program, name, data);
  await program.run();
  return { got: results(program), stages: program.stages, sessions: program.sessions };
}

function expectSame(got: Results, want: Results, tolerance: typeof SAME): void {
  expect([...got.keys()].toSorted()).toEqual([...want.keys()].toSorted());
  for (const [name, value] of want) expectClose(got.get(name) ?? [], value, { ...tolerance, what: name });
}

function truth(graph: Graph, values: ReadonlyMap<string, Cell>): Results {
  return new Map([...interpret(graph, values)].map(([name, { data }]) => [name, data]));
}

describe("a network of three blocks", () => {
  const graph = traceToy();
  const values = toyValues(graph);

  test("has the interpreter's loss and gradients, and shares a session between equal blocks", async () => {
    const { got, stages, sessions } = await runToy(graph, values);
    expectSame(got, truth(graph, values), FLOAT32);
    expect(stages).toBe(8); // three blocks and the loss, forward and backward
    expect(sessions).toBe(5); // block, loss, loss~, block~, and the first block~, which hands no gradient on
  });

  test("has the same numbers where blocks are checkpointed, and needs less memory between stages", async () => {
    const plain = await runToy(graph, values);
    const checkpointed = await runToy(graph, values, { checkpoint: (name) => name.includes("block") });
    expectSame(checkpointed.got, plain.got, SAME);
    expect(checkpointed.stages).toBe(plain.stages);
    using whole = device.compile(optimize(graph));
    using less = device.compile(optimize(graph, { checkpoint: (name) => name.includes("block") }));
    expect(less.arenaBytes).toBeLessThan(whole.arenaBytes / 2);
  });

  test("passes leave the interpreter's numbers as they are", () => {
    expectSame(truth(optimize(graph), values), truth(graph, values), { atol: 1e-12, rtol: 1e-12 });
    const checkpointed = optimize(graph, { checkpoint: () => true });
    expectSame(truth(checkpointed, values), truth(graph, values), { atol: 1e-12, rtol: 1e-12 });
  });
});

/** Samples i of each input x. */
function sampleOf(x: Cell, i: number): Float64Array {
  const size = x.data.length / (x.shape[0] ?? 1);
  return x.data.slice(i * size, (i + 1) * size);
}

function gradNames(graph: Graph): string[] {
  return graph.outputs.filter((o) => o.kind === "grad").map((o) => o.name.replace("grad.", ""));
}

describe("summing gradients", () => {
  const whole = traceToy({ samples: 4 });
  const values = toyValues(whole);
  const x = values.get("x0") ?? { shape: [4], data: new Float64Array(4) };

  test("over groups in one program equals one pass over all samples", async () => {
    const grouped = traceToy({ samples: 2, groups: 2 });
    const half = x.data.length / 2;
    const parts = new Map([
      ...values,
      ["x0", { shape: [2, 5, 8], data: x.data.slice(0, half) }],
      ["x1", { shape: [2, 5, 8], data: x.data.slice(half) }],
    ]);
    const [{ got }, { got: want }] = [await runToy(grouped, parts), await runToy(whole, values)];
    expectSame(got, want, SAME);
    expectSame(truth(grouped, parts), truth(whole, values), { atol: 1e-12, rtol: 1e-12 });
  });

  test("over steps, from one half of a ping-pong buffer into the other, equals one pass over all samples", async () => {
    const { got: want } = await runToy(whole, values);
    const names = gradNames(whole);
    const length = (name: string): number => values.get(name)?.data.length ?? 0;
    const buffer = (): Map<string, Float32Array> => new Map(names.map((n) => [n, new Float32Array(length(n))]));
    const halves = [buffer(), buffer()] as const;
    const named = (prefix: string, views: ReadonlyMap<string, Float32Array>): Map<string, TypedArray> =>
      new Map([...views].map(([n, v]) => [prefix + n, v]));
    const step = (from: 0 | 1): Program =>
      device.compile(optimize(traceToy({ samples: 1, running: true })), {
        inputs: named("running.", halves[from]),
        outputs: named("grad.", halves[from === 0 ? 1 : 0]),
      });
    using there = step(0);
    using back = step(1);
    let loss = 0;
    for (let i = 0; i < 4; i++) {
      const program = i % 2 === 0 ? there : back;
      for (const name of names) set(program, name, values.get(name)?.data ?? []);
      set(program, "x0", sampleOf(x, i));
      await program.run();
      loss += numbersOf(program.outputs.get("loss") ?? new Float32Array(1))[0] ?? NaN;
    }
    expectSame(
      new Map<string, ArrayLike<number>>(
        [["loss", [loss]], ...named("grad.", halves[0])].map(([n, v]) => [String(n), v as ArrayLike<number>]),
      ),
      want,
      SAME,
    );
  });
});
