import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ConfigError, Rng } from "../core/index.ts";
import { expectClose, goldenTensor, goldenTolerance, hasGolden, loadGolden } from "../core/testing/golden.ts";
import { interpret } from "../engine/ir/index.ts";
import { Builder } from "../engine/trace/index.ts";
import { drawRope, type RopeConfig, ropeIsAugmented, ropePeriods, ropeTables, type ViTConfig } from "./index.ts";
import { givenRotation, gridRotation, rotate } from "./rotary.ts";

const CONFIG: ViTConfig = {
  imageSizePx: 16,
  patchSizePx: 8,
  width: 16,
  depth: 1,
  heads: 2,
  mlpRatio: 4,
  layerNormEps: 1e-5,
  posInterpolation: "size",
  positions: "rope",
};

interface GoldenRope {
  readonly embed_dim: number;
  readonly num_heads: number;
  readonly base: number | null;
  readonly min_period?: number;
  readonly max_period?: number;
  readonly normalize_coords?: "max" | "min" | "separate";
  readonly hw: readonly [number, number];
}

/** Arguments of our functions for a case of the goldens. */
function toArguments(c: GoldenRope): Parameters<typeof ropeTables>[0] {
  const { base, min_period: minPeriod, max_period: maxPeriod, normalize_coords: normalize = "separate" } = c;
  const periods = base === null ? { minPeriod: minPeriod ?? NaN, maxPeriod: maxPeriod ?? NaN } : { base };
  const [rows, columns] = c.hw;
  return { rope: { ...periods, normalize }, headDim: c.embed_dim / c.num_heads, grid: { rows, columns } };
}

describe("ropeTables() meets the reference", () => {
  test.skipIf(!hasGolden("models", "rope_tables"))("without augmentation, every parametrisation", () => {
    const golden = loadGolden("models", "rope_tables");
    const cases = golden.json["cases"] as GoldenRope[]; // our own reference file
    expect(cases).toHaveLength(7);
    const tolerance = goldenTolerance(golden, { atol: 2e-6, rtol: 0 });
    cases.map(toArguments).forEach((c, i) => {
      expectClose(ropePeriods(c.rope, c.headDim), goldenTensor(golden, `y.${i}.periods`), {
        atol: 0,
        rtol: 1e-6,
        what: `periods ${i}`,
      });
      const tables = ropeTables(c);
      expectClose(tables.sin, goldenTensor(golden, `y.${i}.sin`), { ...tolerance, what: `sin ${i}` });
      expectClose(tables.cos, goldenTensor(golden, `y.${i}.cos`), { ...tolerance, what: `cos ${i}` });
    });
  });

  test.skipIf(!hasGolden("models", "rope_augmented"))("with shift, jitter and rescaling", () => {
    const golden = loadGolden("models", "rope_augmented");
    const cases = golden.json["cases"] as GoldenRope[]; // our own reference file
    expect(cases).toHaveLength(2);
    cases.map(toArguments).forEach((c, i) => {
      const drawn = (name: string): [number, number] =>
        [...(goldenTensor(golden, `x.${i}.${name}`).data as Float32Array)] as [number, number]; // float32 of two, or one
      const draws = { shift: drawn("shift_hw"), jitter: drawn("jitter_hw"), rescale: drawn("rescale")[0] };
      const tables = ropeTables({ ...c, draws });
      const tolerance = goldenTolerance(golden, { atol: 1e-5, rtol: 0 });
      expectClose(tables.sin, goldenTensor(golden, `y.${i}.sin`), { ...tolerance, what: `sin ${i}` });
      expectClose(tables.cos, goldenTensor(golden, `y.${i}.cos`), { ...tolerance, what: `cos ${i}` });
    });
  });
});

describe("ropePeriods()", () => {
  test("are the published ones", () => {
    expect([...ropePeriods({}, 8)].map((p) => +p.toFixed(6))).toEqual([1, 10]);
    const of64 = ropePeriods({ base: 100 }, 64);
    expect([0, 1, 2, 15].map((i) => of64[i]?.toPrecision(6))).toEqual(["1.00000", "1.33352", "1.77828", "74.9894"]);
    const of128 = ropePeriods({}, 128);
    expect([1, 31].map((i) => of128[i]?.toPrecision(6))).toEqual(["1.15478", "86.5964"]);
  });

  test("grow from the least to the most in equal ratios", () => {
    const p = ropePeriods({ minPeriod: 0.5, maxPeriod: 32 }, 16);
    expect([...p].map((x) => +x.toFixed(9))).toEqual([0.5, 2, 8, 32]);
  });

  test.each<readonly [RopeConfig, number, string]>([
    [{}, 6, "Cannot rotate positions: a head has 6 numbers; give each head a multiple of 4"],
    [{ base: 0 }, 8, "Cannot rotate positions: base is 0; give a positive number"],
    [
      { minPeriod: 1 },
      8,
      "Cannot rotate positions: base is undefined, minPeriod 1, maxPeriod undefined; give base, or both positive periods",
    ],
    [{ base: 100, minPeriod: 1, maxPeriod: 2 }, 8, "give base, or both positive periods"],
    [{ shift: -1 }, 8, "Cannot rotate positions: shift is -1; give a number from 0"],
    [{ jitter: 0.5 }, 8, "Cannot rotate positions: jitter is 0.5; give a factor from 1"],
    [{ rescale: NaN }, 8, "Cannot rotate positions: rescale is NaN; give a factor from 1"],
  ])("refuses %o with heads of %d", (config, headDim, message) => {
    expect(() => ropePeriods(config, headDim)).toThrow(ConfigError);
    expect(() => ropePeriods(config, headDim)).toThrow(message);
  });
});

describe("drawRope()", () => {
  const rope: RopeConfig = { shift: 0.3, jitter: 1.5, rescale: 2 };

  test("draws within the ranges, differently for each block, and again the same from the same seed", () => {
    const rng = new Rng(1);
    const all = Array.from({ length: 400 }, (_, i) => drawRope(rope, rng.split(`rope/0/${i}`)));
    for (const { shift, jitter, rescale } of all) {
      expect(shift.every((x) => Math.abs(x) <= 0.3)).toBe(true);
      expect(jitter.every((x) => x >= 1 / 1.5 && x <= 1.5)).toBe(true);
      expect(rescale >= 0.5 && rescale <= 2).toBe(true);
    }
    expect(new Set(all.map((d) => d.rescale)).size).toBe(400);
    const half = all.filter((d) => d.rescale < 1).length; // log-uniform: as often smaller as larger
    expect(Math.abs(half - 200)).toBeLessThan(4 * 10); // four standard deviations
    expect(drawRope(rope, new Rng(1).split("rope/0/7"))).toEqual(all[7]);
  });

  test("changes nothing where nothing is to be drawn", () => {
    expect(ropeIsAugmented({ base: 100 })).toBe(false);
    expect([{ shift: 0.1 }, { jitter: 1.1 }, { rescale: 2 }].every(ropeIsAugmented)).toBe(true);
    const draws = drawRope({}, new Rng(3));
    const c = { rope: {}, headDim: 8, grid: { rows: 2, columns: 3 } };
    expect(ropeTables({ ...c, draws })).toEqual(ropeTables(c));
  });
});

/** Rows `[t, 8]` turned as the tokens of a 2 × 3 grid, the class token before them. */
function turned(rows: readonly (readonly number[])[], given = false): number[][] {
  const builder = new Builder();
  const t = rows.length;
  const x = builder.input("x", [1, 1, t, 8]);
  const grid = { rows: 2, columns: 3 };
  const tables = ropeTables({ rope: {}, headDim: 8, grid });
  const inputs = given ? { sin: builder.input("sin", [6, 8]), cos: builder.input("cos", [6, 8]) } : undefined;
  builder.output("y", rotate(x, inputs === undefined ? gridRotation(builder, CONFIG, grid) : givenRotation(inputs, CONFIG, 6)));
  const cell = (shape: readonly number[], data: ArrayLike<number>): { shape: readonly number[]; data: Float64Array } => ({
    shape,
    data: Float64Array.from(data),
  });
  const y = interpret(
    builder.graph(),
    new Map([
      ["x", cell([1, 1, t, 8], rows.flat())],
      ["sin", cell([6, 8], tables.sin)],
      ["cos", cell([6, 8], tables.cos)],
    ]),
  );
  const data = [...(y.get("y")?.data ?? [])];
  return rows.map((_, i) => data.slice(8 * i, 8 * i + 8));
}

const ROW = [1, 2, 3, 4, 5, 6, 7, 8];

describe("rotate()", () => {
  test.each([false, true])("turns the published vector at tokens 0 and 5, and leaves the class token (tables given: %s)", (given) => {
    const y = turned(Array<number[]>(7).fill(ROW), given);
    expectClose(y[0] ?? [], ROW, { atol: 0, rtol: 0, what: "class token" });
    const first = [-1, 3.75621, -7.56218, 6.90807, -5, 5.08831, -0.901924, 5.68142];
    const last = [-1, 0.0480111, 4.56218, 0.400289, -5, 6.32437, -6.09808, 8.93531];
    expectClose(y[1] ?? [], first, { atol: 5e-6, rtol: 2e-6, what: "token 0" });
    expectClose(y[6] ?? [], last, { atol: 5e-6, rtol: 2e-6, what: "token 5" });
  });

  test("keeps the length of each pair; q · k depends on the difference of places only", () => {
    const vector = fc.array(fc.double({ min: -2, max: 2, noNaN: true }), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(vector, vector, (q, k) => {
        const [a, b] = [turned(Array<number[]>(7).fill(q)), turned(Array<number[]>(7).fill(k))];
        for (const row of a)
          for (let i = 0; i < 4; i++) expect(Math.hypot(row[i] ?? 0, row[i + 4] ?? 0)).toBeCloseTo(Math.hypot(q[i] ?? 0, q[i + 4] ?? 0), 5);
        const product = (i: number, j: number): number => (a[i] ?? []).reduce((sum, x, c) => sum + x * (b[j]?.[c] ?? 0), 0);
        expect(product(1, 2)).toBeCloseTo(product(2, 3), 5); // one column to the right
        expect(product(1, 2)).toBeCloseTo(product(5, 6), 5); // in the other row
        expect(product(1, 4)).toBeCloseTo(product(3, 6), 5); // one row down
      }),
      { numRuns: 20 },
    );
  });

  test("refuses tables of another grid", () => {
    const builder = new Builder();
    const sin = builder.input("sin", [5, 8]);
    expect(() => givenRotation({ sin, cos: sin }, CONFIG, 6)).toThrow(
      "Cannot rotate positions by float32[5,8]: the patches need float32[6,8]; make new tables",
    );
  });
});
