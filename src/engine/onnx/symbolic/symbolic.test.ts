import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { openOrt } from "../../runtime/index.ts";
import { Builder, concat, broadcast, mul, reduceMean, reshape, slice, split, type Tensor } from "../../trace/index.ts";
import { encodeModel, type OnnxModel } from "../proto.ts";
import { lowerModel } from "./lower-model.ts";
import { cornerOf, fitPoly, isFixed, polyAt, polyText, type SizeSymbol } from "./poly.ts";
import { traceSymbolic } from "./trace.ts";

const SYMBOLS: readonly SizeSymbol[] = [
  { name: "b", low: 101, high: 103, probe: 107 },
  { name: "n", low: 11, high: 13, probe: 17 },
];

describe("fitPoly()", () => {
  test("finds whole coefficients of every product of sizes", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -999, max: 999 }), { minLength: 4, maxLength: 4 }), (c) => {
        const fitted = fitPoly(
          SYMBOLS,
          c.map((_, mask) => polyAt(c, cornerOf(SYMBOLS, mask))),
        );
        expect(fitted.map((x) => x + 0)).toEqual(c.map((x) => x + 0)); // -0 is 0
        expect(isFixed(fitted)).toBe(c.slice(1).every((x) => x === 0));
      }),
    );
  });

  test("refuses what is not linear in a size with whole numbers", () => {
    expect(() => fitPoly(SYMBOLS, [0, 1, 0, 1])).toThrow(/not linear/);
  });

  test("prints as a name of a size", () => {
    expect(polyText([5, 0, 0, 1], SYMBOLS)).toBe("5 + b*n");
    expect(polyText([0, 2, 1, 0], SYMBOLS)).toBe("2*b + n");
    expect(polyText([0, 0, 0, 0], SYMBOLS)).toBe("0");
  });
});

/** Traces with `x` `[b, n, 4]` as the input. */
function traceWith(network: (x: Tensor, b: number, n: number) => Tensor) {
  return traceSymbolic(SYMBOLS, ([b = 0, n = 0]) => {
    const builder = new Builder();
    builder.output("y", network(builder.input("x", [b, n, 4]), b, n));
    return builder.graph();
  });
}

function lower(network: (x: Tensor, b: number, n: number) => Tensor): OnnxModel {
  return lowerModel(traceWith(network), {
    sources: [
      { axis: 0, step: 1 },
      { axis: 1, step: 1 },
    ],
    axisNames: { 0: "b", 1: "n" },
    weight: ({ name }) => name,
    table: () => "",
  });
}

/** Runs a model on `[b, n, 4]` counting up. */
async function run(model: OnnxModel, [b, n]: readonly [number, number], shape: readonly number[]): Promise<number[]> {
  using env = openOrt({ threads: 1 });
  using session = env.session(encodeModel(model), { inputs: ["x"], outputs: ["y"] });
  using x = env.tensor(
    Float32Array.from({ length: b * n * 4 }, (_, i) => i),
    "f32",
    [b, n, 4],
  );
  const data = new Float32Array(shape.reduce((a, d) => a * d, 1));
  using y = env.tensor(data, "f32", shape);
  await session.run([x], [y]);
  return [...data];
}

describe("lowerModel() with open sizes", () => {
  test("reshapes, broadcasts, slices, splits and means at any of them", async () => {
    const model = lower((x, b, n) => {
      const [first, others] = split(slice(x, 1, [1, n]), 1, [1, n - 2]) as [Tensor, Tensor]; // split in two
      const lone = broadcast(reduceMean(others, [0, 1], true), [b, 1, 4]);
      return concat([reshape(concat([first, others, lone], 1), [b * n, 4]), reshape(mul(x, 2), [b * n, 4])], 0);
    });
    expect(model.inputs[0]?.shape).toEqual(["b", "n", 4]);
    expect(model.outputs[0]?.shape).toEqual(["2*b*n", 4]);
    for (const [b, n] of [
      [1, 3],
      [2, 5],
    ] as const) {
      const rows = Array.from({ length: b * n }, (_, i) => [4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3]);
      const inner = rows.filter((_, i) => i % n > 1);
      const mean = [0, 1, 2, 3].map((k) => inner.reduce((sum, row) => sum + (row[k] ?? 0), 0) / inner.length);
      const kept = Array.from({ length: b }, (_, i) => [...rows.slice(i * n + 1, (i + 1) * n), mean]).flat(2);
      const got = await run(model, [b, n], [2 * b * n, 4]);
      const wanted = [...kept, ...rows.flat().map((v) => 2 * v)];
      got.forEach((v, i) => expect(v).toBeCloseTo(wanted[i] ?? Number.NaN, 4));
    }
  });

  test("has one constant for a shape of one open size, and names no other operator set", () => {
    const model = lower((x, b, n) => reshape(x, [b * n, 4]));
    expect(model.nodes).toEqual([{ op: "Reshape", inputs: ["x", "c0"], outputs: ["y"] }]);
    expect(model.initializers[0]?.data).toEqual(BigInt64Array.of(-1n, 4n));
    expect(model).toMatchObject({ opset: 18, standard: true });
  });

  test("gives outputs that are one value, or the input itself, names of their own", () => {
    const traced = traceSymbolic(SYMBOLS, ([b = 0, n = 0]) => {
      const builder = new Builder();
      const x = builder.input("x", [b, n, 4]);
      const y = mul(x, 3);
      for (const [name, value] of Object.entries({ y, z: y, same: x })) builder.output(name, value);
      return builder.graph();
    });
    const axes = { sources: [], axisNames: {}, weight: () => "", table: () => "" };
    expect(lowerModel(traced, axes).nodes.map(({ op, inputs, outputs }) => `${outputs.join()} = ${op} ${inputs.join()}`)).toEqual([
      "y = Mul x,c0",
      "z = Identity y",
      "same = Identity x",
    ]);
  });

  test("refuses a network that is another one at other sizes, and one that bakes a size in", () => {
    expect(() => traceWith((x, b) => (b > 102 ? mul(x, 2) : x))).toThrow(/is another one at other sizes, from node 0 on/);
    expect(() => traceWith((x, b) => mul(b > 102 ? mul(x, 2) : x, x))).toThrow(/is another one at other sizes, from node 0 on/);
    expect(() => traceWith((x, b) => reshape(x, [b > 102 ? b : 1, (x.shape[0]! * x.shape[1]! * 4) / (b > 102 ? b : 1)]))).toThrow(
      /Cannot fit|not linear/,
    );
    expect(() => traceWith((x, b) => mul(x, b))).toThrow(/depends on the sizes/);
    expect(() => lower((x) => x.builder.op("pad", [x], { low: [0, 0, 0], high: [1, 0, 0] }))).toThrow(/would bake in a size/);
  });
});
