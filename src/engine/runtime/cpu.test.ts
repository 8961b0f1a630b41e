import { describe, expect, test } from "vitest";
import { ConfigError, DTypeError, InternalError, ShapeError, type TypedArray } from "../../core/index.ts";
import { add, Builder, constant, dot, exp, mul, region, tanh } from "../trace/index.ts";
import { openCpu, type Program } from "./index.ts";

function floats(program: Program, side: "inputs" | "outputs", name: string): Float32Array {
  const view = program[side].get(name);
  if (!(view instanceof Float32Array)) throw new InternalError(`Cannot read "${name}": the program has no such float32 value`);
  return view;
}

/** y = x + 1, in three stages. */
function addThrice(): Builder {
  const b = new Builder();
  let y = b.input("x", [3]);
  for (const name of ["first", "second", "third"]) y = region(b, name, () => add(y, 1));
  b.output("y", y);
  return b;
}

/** A chain of products that takes tens of milliseconds in one stage. */
function slow(): Builder {
  const b = new Builder();
  const x = b.input("x", [768, 768]);
  let y = x;
  for (let i = 0; i < 8; i++) y = dot(y, x, { alpha: 1 / 768 });
  b.output("y", y);
  return b;
}

describe("Program.run()", () => {
  test("leaves the event loop free: a timer ticks during a run of one stage", async () => {
    using device = openCpu({ threads: 2 });
    using program = device.compile(slow().graph());
    expect(program.stages).toBe(1);
    floats(program, "inputs", "x").fill(1);
    await program.run();
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    await program.run();
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(2);
    expect(floats(program, "outputs", "y")[0]).toBeCloseTo(1, 4);
  });

  test("reads and writes the caller's own buffers, in place, at any offset, shared or not", async () => {
    using device = openCpu({ threads: 2 });
    const x = new Float32Array(new SharedArrayBuffer(64), 8, 3);
    const all = new Float32Array(9).fill(-1);
    const y = all.subarray(4, 7);
    using program = device.compile(addThrice().graph(), { inputs: new Map([["x", x]]), outputs: new Map([["y", y]]) });
    expect(program.inputs.get("x")).toBe(x);
    expect(program.outputs.get("y")).toBe(y);
    x.set([1, 2, 3]);
    await program.run();
    expect([...all]).toEqual([-1, -1, -1, -1, 4, 5, 6, -1, -1]);
    x.set([10, 20, 30]);
    await program.run();
    expect([...y]).toEqual([13, 23, 33]);
  });

  test("tells of each stage, in order", async () => {
    using device = openCpu({ threads: 2 });
    using program = device.compile(addThrice().graph());
    const seen: string[] = [];
    await program.run({ onStage: (name, i) => seen.push(`${i} ${name}`) });
    expect(seen).toEqual(["0 first", "1 second", "2 third"]);
    expect(program.stages).toBe(3);
    expect(program.sessions).toBe(1);
  });

  test("stops between stages when the signal says so, with its reason, and can run again", async () => {
    using device = openCpu({ threads: 2 });
    using program = device.compile(addThrice().graph());
    const seen: string[] = [];
    const controller = new AbortController();
    const run = program.run({
      signal: controller.signal,
      onStage: (name) => {
        seen.push(name);
        if (name === "second") controller.abort(new RangeError("enough"));
      },
    });
    await expect(run).rejects.toThrow("enough");
    expect(seen).toEqual(["first", "second"]);
    await program.run();
    expect([...floats(program, "outputs", "y")]).toEqual([3, 3, 3]);
  });

  test("does not start when the signal is aborted already", async () => {
    using device = openCpu({ threads: 2 });
    using program = device.compile(addThrice().graph());
    await expect(program.run({ signal: AbortSignal.abort(new RangeError("never")) })).rejects.toThrow("never");
  });

  test("refuses to overlap another run of the program", async () => {
    using device = openCpu({ threads: 2 });
    using program = device.compile(addThrice().graph());
    const first = program.run();
    await expect(program.run()).rejects.toThrow("Cannot run program: it is running; await the run first");
    await first;
  });

  test("runs two programs of two devices side by side", async () => {
    using one = openCpu({ threads: 2 });
    using two = openCpu({ threads: 2 });
    using a = one.compile(slow().graph());
    using b = two.compile(addThrice().graph());
    using c = one.compile(addThrice().graph());
    floats(a, "inputs", "x").fill(1);
    floats(b, "inputs", "x").fill(5);
    floats(c, "inputs", "x").fill(6);
    await Promise.all([a.run(), b.run(), c.run()]);
    expect(floats(a, "outputs", "y").every((v) => Math.abs(v - 1) < 1e-4)).toBe(true);
    expect([...floats(b, "outputs", "y")]).toEqual([8, 8, 8]);
    expect([...floats(c, "outputs", "y")]).toEqual([9, 9, 9]);
  });
});

describe("Device.compile()", () => {
  test("hands through an input that is an output, constants, and one value under two names", async () => {
    using device = openCpu({ threads: 2 });
    const b = new Builder();
    const x = b.input("x", [2], { kind: "state" });
    const y = region(b, "work", () => exp(x));
    b.output("x", x, "state");
    b.output("y", y);
    b.output("again", y);
    b.output("one", constant(b, [2], Float32Array.of(1, 2)));
    b.output(
      "z",
      region(b, "more", () => tanh(y)),
    );
    using program = device.compile(b.graph());
    floats(program, "inputs", "x").set([0, 1]);
    await program.run();
    const got = Object.fromEntries([...program.outputs.keys()].map((name) => [name, [...floats(program, "outputs", name)]]));
    expect(got["x"]).toEqual([0, 1]);
    expect(got["y"]?.[1]).toBeCloseTo(Math.E, 5);
    expect(got["again"]).toEqual(got["y"]);
    expect(got["one"]).toEqual([1, 2]);
    expect(got["z"]?.[0]).toBeCloseTo(Math.tanh(1), 5);
    expect(program.outputs.get("again")).not.toBe(program.outputs.get("y"));
  });

  test("runs a graph with dead nodes as it is", async () => {
    using device = openCpu({ threads: 2 });
    const b = new Builder();
    const x = b.input("x", [2]);
    region(b, "dead", () => exp(tanh(x)));
    b.input("unused", [3]);
    b.output("y", add(x, 1));
    using program = device.compile(b.graph());
    await program.run();
    expect([...floats(program, "outputs", "y")]).toEqual([1, 1]);
  });

  const b = addThrice();
  const refused: readonly (readonly [
    what: string,
    inputs: [string, TypedArray][],
    outputs: [string, TypedArray][],
    error: typeof ShapeError | typeof DTypeError,
    message: string,
  ])[] = [
    [
      "an input of another size",
      [["x", new Float32Array(4)]],
      [],
      ShapeError,
      'Cannot compile: "x" is float32[3], its buffer has 4 values; pass one of 3',
    ],
    [
      "an output of another size",
      [],
      [["y", new Float32Array(2)]],
      ShapeError,
      'Cannot compile: "y" is float32[3], its buffer has 2 values; pass one of 3',
    ],
    [
      "another element type",
      [["x", new Int32Array(3)]],
      [],
      DTypeError,
      "Cannot make float32[3]: its data is a Int32Array; pass a Float32Array",
    ],
  ];
  test.each(refused)("refuses a buffer of %s", (_, inputs, outputs, error, message) => {
    using device = openCpu({ threads: 2 });
    const compile = (): unknown => device.compile(b.graph(), { inputs: new Map(inputs), outputs: new Map(outputs) });
    expect(compile).toThrow(error);
    expect(compile).toThrow(message);
  });

  test("refuses an output that shares memory with an input or another output", () => {
    using device = openCpu({ threads: 2 });
    const memory = new Float32Array(5);
    const [x, y] = [memory.subarray(0, 3), memory.subarray(2, 5)];
    expect(() => device.compile(b.graph(), { inputs: new Map([["x", x]]), outputs: new Map([["y", y]]) })).toThrow(
      'Cannot compile: output "y" shares memory with input "x"; give it a buffer of its own',
    );
    const c = new Builder();
    const z = c.input("z", [3]);
    c.output("p", exp(z));
    c.output("q", tanh(z));
    expect(() =>
      device.compile(c.graph(), {
        outputs: new Map([
          ["p", x],
          ["q", y],
        ]),
      }),
    ).toThrow('output "p" shares memory with output "q"');
  });

  test("gives what ONNX Runtime says of a type it cannot run", () => {
    using device = openCpu({ threads: 2 });
    const c = new Builder();
    const x = c.input("x", [2, 2], { dtype: "bf16" });
    c.output("y", dot(x, x));
    expect(() => device.compile(c.graph())).toThrow(/^Cannot open ONNX model: ONNX Runtime says ".*"$/s);
  });
});

describe("disposal", () => {
  test("twice does nothing more, and a disposed program refuses to run", async () => {
    const device = openCpu({ threads: 2 });
    const program = device.compile(addThrice().graph());
    await program.run();
    program[Symbol.dispose]();
    program[Symbol.dispose]();
    await expect(program.run()).rejects.toThrow("Cannot run program: it is disposed; compile it again");
    device[Symbol.dispose]();
    device[Symbol.dispose]();
    expect(() => device.compile(addThrice().graph())).toThrow("Cannot use ONNX Runtime: this environment is disposed");
  });

  test("during a run is refused, and possible after it", async () => {
    using device = openCpu({ threads: 2 });
    const program = device.compile(slow().graph());
    const run = program.run();
    expect(() => program[Symbol.dispose]()).toThrow("Cannot dispose program: it is running; await the run first");
    await run;
    program[Symbol.dispose]();
  });

  test("of a program leaves another program of the same sessions running", async () => {
    using device = openCpu({ threads: 2 });
    const first = device.compile(addThrice().graph());
    using second = device.compile(addThrice().graph());
    first[Symbol.dispose]();
    await second.run();
    expect([...floats(second, "outputs", "y")]).toEqual([3, 3, 3]);
  });

  test("of everything, in any order, lets the process open another number of threads", () => {
    const device = openCpu({ threads: 2 });
    const program = device.compile(addThrice().graph());
    expect(() => openCpu({ threads: 1 })).toThrow(ConfigError);
    expect(() => openCpu({ threads: 1 })).toThrow(
      /^Cannot open ONNX Runtime with threads 1, .*: it is open with threads 2, .*; a process has one/,
    );
    device[Symbol.dispose]();
    program[Symbol.dispose]();
    using other = openCpu({ threads: 1 });
    expect(other.threads).toBe(1);
  });

  test("after a failed compile leaves nothing open", () => {
    const device = openCpu({ threads: 2 });
    expect(() => device.compile(addThrice().graph(), { inputs: new Map([["x", new Int32Array(3)]]) })).toThrow(DTypeError);
    device[Symbol.dispose]();
    using other = openCpu({ threads: 1 });
    expect(other.threads).toBe(1);
  });

  test.each([0, 1.5, -1])("openCpu() refuses %d threads", (threads) => {
    expect(() => openCpu({ threads })).toThrow(`Cannot open ONNX Runtime: threads is ${threads}; use a whole number of at least 1`);
  });
});

test("int32 state counts exactly, and wraps", async () => {
  using device = openCpu({ threads: 2 });
  const b = new Builder();
  const count = b.input("count", [], { kind: "state", dtype: "i32" });
  b.output("count", add(count, 1), "state");
  b.output("twice", mul(count, 2));
  const start = Int32Array.of(2 ** 30);
  using program = device.compile(b.graph(), { inputs: new Map([["count", start]]) });
  await program.run();
  expect(program.outputs.get("count")).toEqual(Int32Array.of(2 ** 30 + 1));
  expect(program.outputs.get("twice")).toEqual(Int32Array.of(-(2 ** 31)));
});
