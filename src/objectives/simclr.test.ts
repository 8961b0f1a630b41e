import fc from "fast-check";
import { expect, test } from "vitest";
import { Rng } from "../core/index.ts";
import { expectClose } from "../core/testing/golden.ts";
import { Builder, type Tensor } from "../engine/trace/index.ts";
import { simclrLoss } from "./index.ts";
import { centralDifference, RUNNERS, runObjective, type Tracer } from "./testing/run.ts";

/** NT-Xent as it is written down; `z` holds view 1 of all images, then view 2. */
function naiveSimclr(z: readonly (readonly number[])[], temperature: number): number {
  const b = z.length / 2;
  const sim = (a: readonly number[], c: readonly number[]): number =>
    a.reduce((s, v, i) => s + v * (c[i] ?? 0), 0) / (Math.hypot(...a) * Math.hypot(...c));
  const terms = z.map((zi, i) => {
    const all = z.filter((_, j) => j !== i).reduce((s, zj) => s + Math.exp(sim(zi, zj) / temperature), 0);
    return -Math.log(Math.exp(sim(zi, z[(i + b) % (2 * b)] ?? []) / temperature) / all);
  });
  return terms.reduce((a, c) => a + c) / (2 * b);
}

const drawn = (b: number, d: number, seed: number): number[][] => {
  const rng = new Rng(seed);
  return Array.from({ length: 2 * b }, () => Array.from({ length: d }, () => rng.normal()));
};

const trace =
  (b: number, d: number, temperature: number) =>
  ({ input }: Tracer): Record<string, Tensor> => ({ loss: simclrLoss(input("z", [2, b, d]), { temperature }) });

test.each(RUNNERS)("simclrLoss() is its naive loop, %s", async (runner) => {
  const size = fc.record({ b: fc.integer({ min: 2, max: 6 }), d: fc.integer({ min: 2, max: 5 }), seed: fc.nat() });
  await fc.assert(
    fc.asyncProperty(size, fc.constantFrom(0.1, 0.5, 1), async ({ b, d, seed }, temperature) => {
      const z = drawn(b, d, seed);
      const y = await runObjective(trace(b, d, temperature), { values: { z: z.flat() }, runner });
      expectClose(y.get("loss"), [naiveSimclr(z, temperature)], { atol: 1e-5, rtol: 1e-5 });
    }),
    { numRuns: runner === "cpu" ? 8 : 40 },
  );
});

test.each(RUNNERS)("simclrLoss() has the gradient of central differences, %s", async (runner) => {
  const [b, d] = [3, 4];
  const z = drawn(b, d, 7).flat();
  const y = await runObjective(trace(b, d, 0.2), { values: { z }, wrt: ["z"], runner });
  const slopes = await Promise.all(z.map((_, at) => centralDifference(trace(b, d, 0.2), { values: { z }, name: "z", at })));
  expect(Math.max(...slopes.map(Math.abs))).toBeGreaterThan(0.1);
  expectClose(y.get("g.z"), slopes, { atol: 1e-5, rtol: 1e-4 });
});

test("simclrLoss() is ln(2b − 1) where all views are the same, and near 0 where views agree and images are opposite", async () => {
  const same = await runObjective(trace(4, 3, 0.1), { values: { z: Array.from({ length: 24 }, (_, i) => [1, 2, 3][i % 3] ?? 0) } });
  expect(same.get("loss")[0]).toBeCloseTo(Math.log(7), 6);
  const apart = await runObjective(trace(2, 2, 0.1), { values: { z: [1, 0, -1, 0, 1, 0, -1, 0] } });
  expect(apart.get("loss")[0]).toBeLessThan(1e-6);
});

test("simclrLoss() refuses one image and a temperature of 0", () => {
  const b = new Builder();
  expect(() => simclrLoss(b.input("one", [2, 1, 3]), { temperature: 0.1 })).toThrow(
    "Cannot take SimCLR's loss of a batch of 1: an image needs others to differ from; make the (micro-)batch 2 or more",
  );
  expect(() => simclrLoss(b.input("three", [3, 4, 3]), { temperature: 0.1 })).toThrow(/Cannot read float32\[3,4,3\] as "2 b d"/);
  expect(() => simclrLoss(b.input("z", [2, 4, 3]), { temperature: 0 })).toThrow(/temperature is 0; give a number above 0/);
});
