import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Rng } from "../core/index.ts";
import { expectClose, goldenTensor, goldenTolerance, hasGolden, loadGolden } from "../core/testing/golden.ts";
import { add, Builder, type Tensor } from "../engine/trace/index.ts";
import { sinkhornTargets } from "./index.ts";
import { RUNNERS, runObjective, type Values } from "./testing/run.ts";

const drawn = (rows: number, k: number, { seed, scale = 0.3 }: { seed: number; scale?: number }): number[] => {
  const rng = new Rng(seed);
  return Array.from({ length: rows * k }, () => rng.normal(0, scale));
};

/** Sinkhorn–Knopp as it is written down, with one maximum taken off everywhere. */
function naiveSinkhorn(x: readonly number[], k: number, { temp, iterations }: { temp: number; iterations: number }): number[] {
  const rows = x.length / k;
  const max = Math.max(...x);
  const q = x.map((v) => Math.exp((v - max) / temp));
  const scale = (index: (i: number) => number, parts: number): void => {
    const sums = Array<number>(parts).fill(0);
    q.forEach((v, i) => (sums[index(i)]! += v)); // index is below parts
    q.forEach((v, i) => (q[i] = v / (sums[index(i)]! * parts))); // index is below parts
  };
  for (let i = 0; i < iterations; i++) {
    scale((at) => at % k, k);
    scale((at) => Math.floor(at / k), rows);
  }
  return q.map((v) => v * rows);
}

async function targetsOf(
  x: readonly number[],
  k: number,
  options: { temp?: number; iterations?: number } = {},
): Promise<ArrayLike<number>> {
  const { temp = 0.05, ...rest } = options;
  const y = await runObjective(({ input }) => ({ q: sinkhornTargets(input("x", [x.length / k, k]), input("temp", []), rest) }), {
    values: { x, temp: [temp] },
  });
  return y.get("q");
}

describe("sinkhornTargets() meets the reference", () => {
  const names = ["sinkhorn_wide", "sinkhorn_tall", "sinkhorn_sharp", "sinkhorn_square_1it"];
  const cases = names.flatMap((name) => RUNNERS.flatMap((runner) => [0, 7].map((pad) => ({ name, runner, pad }))));
  test.for(cases)("$name, $runner, $pad rows of padding", async ({ name, runner, pad }, { skip }) => {
    skip(!hasGolden("losses", name));
    const golden = loadGolden("losses", name);
    const { rows, k, temp, iterations } = golden.json["config"] as Record<"rows" | "k" | "temp" | "iterations", number>; // our own reference file
    const x = [...(goldenTensor(golden, "x").data as Float32Array), ...Array<number>(pad * k).fill(9)];
    const valid = [...Array<number>(rows).fill(1), ...Array<number>(pad).fill(0)];
    const y = await runObjective(
      ({ input }) => ({
        q: sinkhornTargets(input("x", [rows + pad, k]), input("temp", []), { iterations, valid: input("valid", [rows + pad]) }),
      }),
      { values: { x, temp: [temp], valid }, runner },
    );
    const wanted = [...(goldenTensor(golden, "y.float64").data as Float32Array), ...Array<number>(pad * k).fill(0)];
    expectClose(y.get("q"), wanted, goldenTolerance(golden));
  });
});

test("sinkhornTargets() is its naive loop", async () => {
  const sizes = fc.record({ rows: fc.integer({ min: 1, max: 9 }), k: fc.integer({ min: 2, max: 9 }), seed: fc.nat() });
  await fc.assert(
    fc.asyncProperty(sizes, fc.integer({ min: 1, max: 4 }), async ({ rows, k, seed }, iterations) => {
      const x = drawn(rows, k, { seed });
      expectClose(await targetsOf(x, k, { iterations }), naiveSinkhorn(x, k, { temp: 0.05, iterations }), { atol: 1e-9, rtol: 1e-6 });
    }),
    { numRuns: 40 },
  );
});

test("sinkhornTargets() gives rows that sum to 1 and do not feel a constant added to all logits", async () => {
  const x = drawn(6, 10, { seed: 1 });
  const q = Array.from(await targetsOf(x, 10));
  for (let r = 0; r < 6; r++) expect(q.slice(r * 10, r * 10 + 10).reduce((a, b) => a + b)).toBeCloseTo(1, 9);
  const raised = await targetsOf(
    x.map((v) => v + 7),
    10,
  );
  expectClose(raised, q, { atol: 1e-10, rtol: 1e-8 });
});

test("sinkhornTargets() gives every prototype equal mass", async () => {
  const q = Array.from(await targetsOf(drawn(12, 4, { seed: 2 }), 4, { iterations: 200, temp: 0.3 }));
  for (let k = 0; k < 4; k++) expect(q.filter((_, i) => i % 4 === k).reduce((a, b) => a + b)).toBeCloseTo(3, 6);
});

test.each([0, 4, 300])("sinkhornTargets() stays finite in float32 where rows lie %s apart", async (apart) => {
  const x = drawn(5, 8, { seed: 3, scale: 2 }).map((v, i) => v + apart * (Math.floor(i / 8) - 2));
  const y = await runObjective(({ input }) => ({ q: sinkhornTargets(input("x", [5, 8]), input("temp", [])) }), {
    values: { x, temp: [0.04] },
    runner: "cpu",
  });
  const q = Array.from(y.get("q"));
  expect(q.every((v) => Number.isFinite(v) && v >= 0)).toBe(true);
  for (let r = 0; r < 5; r++) expect(q.slice(r * 8, r * 8 + 8).reduce((a, b) => a + b)).toBeCloseTo(1, 4);
});

/** Sinkhorn of one process: what it sends at each sum goes out as `sent.i`, what the others send comes in as `got.i`. */
const process =
  (rows: number, k: number) =>
  ({ input }: { readonly input: (name: string, shape: readonly number[]) => Tensor }): Record<string, Tensor> => {
    const sent: Tensor[] = [];
    const allReduce = (t: Tensor): Tensor => {
      sent.push(t);
      return add(t, input(`got.${sent.length - 1}`, t.shape));
    };
    const options = { valid: input("valid", [rows]), allReduce };
    const q = sinkhornTargets(input("x", [rows, k]), input("temp", []), options);
    return { q, ...Object.fromEntries(sent.map((t, i) => [`sent.${i}`, t])) };
  };

test("sinkhornTargets() of two processes that add up their sums are those of one", async () => {
  const [k, temp] = [6, 0.05];
  const x = drawn(9, k, { seed: 4, scale: 0.6 });
  const parts = [
    { rows: 4, x: x.slice(0, 3 * k).concat(Array<number>(k).fill(2)), valid: [1, 1, 1, 0] },
    { rows: 6, x: x.slice(3 * k), valid: [1, 1, 1, 1, 1, 1] },
  ] as const;
  // the sums: rows counted, middle, and a prototype's mass in each of three rounds; each depends on the ones before it
  const sizes = [1, 1, k, k, k];
  const got = parts.map(() => sizes.map((n) => Array<number>(n).fill(0)));
  const runAll = async (): Promise<Awaited<ReturnType<typeof runObjective>>[]> =>
    await Promise.all(
      parts.map(({ rows, x: own, valid }, p) => {
        const heard: Values = Object.fromEntries((got[p] ?? []).map((t, i) => [`got.${i}`, t]));
        return runObjective(process(rows, k), { values: { x: own, valid, temp: [temp], ...heard } });
      }),
    );
  for (let i = 0; i < sizes.length; i++) {
    const said = await runAll();
    parts.forEach((_, p) => (got[p]![i] = Array.from(said[1 - p]!.get(`sent.${i}`)))); // two parts
  }
  const [first, second] = await runAll();
  const joined = [...Array.from(first!.get("q")).slice(0, 3 * k), ...Array.from(second!.get("q"))]; // two parts
  expectClose(joined, await targetsOf(x, k, { temp }), { atol: 1e-9, rtol: 1e-7 });
});

test("sinkhornTargets() of a list without valid rows are zeros", async () => {
  const y = await runObjective(
    ({ input }) => ({ q: sinkhornTargets(input("x", [3, 4]), input("temp", []), { valid: input("valid", [3]) }) }),
    {
      values: { x: drawn(3, 4, { seed: 5 }), temp: [0.05], valid: [0, 0, 0] },
      runner: "cpu",
    },
  );
  expect(Array.from(y.get("q"))).toEqual(Array<number>(12).fill(0));
});

test("sinkhornTargets() refuses no iterations, and lists of another length", () => {
  const b = new Builder();
  const [x, temp] = [b.input("x", [3, 4]), b.input("temp", [])];
  expect(() => sinkhornTargets(x, temp, { iterations: 0 })).toThrow(/Cannot balance targets: 0 iterations/);
  expect(() => sinkhornTargets(x, temp, { valid: b.input("valid", [4]) })).toThrow(/Cannot read float32\[4\] as "3"/);
  expect(() => sinkhornTargets(x, temp, { count: b.input("count", [1]) })).toThrow(/Cannot count the rows .*; reshape it to \[\]/);
});
