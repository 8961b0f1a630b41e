import { describe, expect, test } from "vitest";
import { InternalError, ShapeError } from "../../../core/index.ts";
import { add, Builder, gather, scatterAdd, type Tensor } from "../../trace/index.ts";
import { erf } from "./erf.ts";
import { interpret } from "./index.ts";
import type { Cell } from "./rule.ts";

const cell = (shape: readonly number[], ...data: number[]): Cell => ({ shape, data: Float64Array.from(data) });

describe("interpret()", () => {
  const b = new Builder();
  b.output("y", add(b.input("x", [2]), b.input("w", [1])));
  const graph = b.graph();

  test("runs in float64 whatever the graph's dtype", () => {
    const out = interpret(
      graph,
      new Map([
        ["x", cell([2], 1, 1e16)],
        ["w", cell([1], 1e-9)],
      ]),
    );
    expect([...(out.get("y")?.data ?? [])]).toEqual([1 + 1e-9, 1e16]);
  });

  test("refuses a missing input, and one of another shape", () => {
    expect(() => interpret(graph, new Map([["x", cell([2], 1, 2)]]))).toThrow(InternalError);
    expect(() => interpret(graph, new Map([["x", cell([2], 1, 2)]]))).toThrow('Cannot interpret the graph: input "w" has no value');
    const wrong = new Map([
      ["x", cell([1, 2], 1, 2)],
      ["w", cell([1], 0)],
    ]);
    expect(() => interpret(graph, wrong)).toThrow(ShapeError);
    expect(() => interpret(graph, wrong)).toThrow('Cannot interpret the graph: input "x" is [1,2]; give [2]');
  });

  test("refuses a graph out of order, and an output of another shape than inferred", () => {
    const values = new Map([
      ["x", cell([2], 1, 2)],
      ["w", cell([1], 0)],
    ]);
    expect(() => interpret({ ...graph, inputs: graph.inputs.slice(1) }, values)).toThrow("%0 is used before it is made");
    const nodes = graph.nodes.map((n) => ({ ...n, outputs: [{ id: 2, dtype: "f32" as const, shape: [3] }] }));
    expect(() => interpret({ ...graph, nodes }, values)).toThrow("Cannot interpret add: output 0 has another shape than inferred");
  });
});

test("erf() has the values of C's libm to 1e-15, on both of its branches", () => {
  const known: readonly (readonly [x: number, y: number])[] = [
    [0, 0],
    [1e-8, 1.1283791670955126e-8],
    [0.1, 0.1124629160182849],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [2.4, 0.999311486103355],
    [2.49, 0.9995707121322661],
    [2.5, 0.999593047982555],
    [3, 0.9999779095030014],
    [5, 0.9999999999984626],
    [7, 1],
  ];
  for (const [x, y] of known) {
    expect(Math.abs(erf(x) - y)).toBeLessThanOrEqual(1e-15 * y);
    expect(erf(-x)).toBe(-erf(x));
  }
});

test("interpret() holds a trace to its promise that no index comes twice", () => {
  const run = (make: (x: Tensor, indices: Tensor) => Tensor, indices: readonly number[]) => {
    const builder = new Builder();
    builder.output("y", make(builder.input("x", [2]), builder.input("i", [2], { dtype: "i32" })));
    return interpret(
      builder.graph(),
      new Map([
        ["x", cell([2], 5, 6)],
        ["i", cell([2], ...indices)],
      ]),
    ).get("y")?.data;
  };
  const both = [
    (x: Tensor, i: Tensor) => gather(x, i, { unique: true }),
    (x: Tensor, i: Tensor) => scatterAdd(x, i, { rows: 2, unique: true }),
  ];
  for (const make of both) {
    expect(run(make, [1, 0])).toEqual(Float64Array.of(6, 5));
    expect(() => run(make, [1, 1])).toThrow("index 1 comes twice, though the trace promises unique ones; leave `unique` out");
  }
});
