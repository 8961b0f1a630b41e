import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Rng } from "../core/index.ts";
import { expectClose } from "../core/testing/golden.ts";
import { Builder, l2Normalize, mul, reduceMean, reshape, sumAll, type Tensor } from "../engine/trace/index.ts";
import { featureCosineLoss, resizeFeatures } from "./index.ts";
import { centralDifference, RUNNERS, runObjective, type Tracer } from "./testing/run.ts";

const drawn = (rng: Rng, length: number): number[] => Array.from({ length }, () => rng.normal());
const row = (values: readonly number[], at: number, d: number): number[] => values.slice(at * d, (at + 1) * d);

/** The mean of 1 − cos as it is written down: `pairs` says which teacher's row each student's row meets. */
function naive(
  student: readonly number[],
  teacher: readonly number[],
  { d, pairs }: { readonly d: number; readonly pairs: number[][] },
): number {
  const losses = pairs.map(([s = 0, t = 0]) => {
    const [a, b] = [row(student, s, d), row(teacher, t, d)];
    return 1 - a.reduce((sum, x, i) => sum + x * (b[i] ?? Number.NaN), 0) / Math.hypot(...a) / Math.hypot(...b);
  });
  return losses.reduce((a, b) => a + b, 0) / losses.length;
}

const [V, N, D] = [2, 4, 5] as const; // 1 / (V · N) is exact in float32
const own = ({ input }: Tracer): Record<string, Tensor> => ({
  loss: featureCosineLoss(input("s", [V, N, D]), l2Normalize(input("t", [V, N, D]))),
});

describe("featureCosineLoss()", () => {
  test.each(RUNNERS)("is the mean of 1 − cos over rows of their own, values and gradients, %s", async (runner) => {
    const rng = new Rng(3);
    const values = { s: drawn(rng, V * N * D), t: drawn(rng, V * N * D) };
    const y = await runObjective(own, { values, wrt: ["s"], runner });
    const pairs = Array.from({ length: V * N }, (_, i) => [i, i]);
    const tolerance = runner === "cpu" ? { atol: 1e-6, rtol: 1e-5 } : { atol: 1e-12, rtol: 0 };
    expectClose(y.get("loss"), [naive(values.s, values.t, { d: D, pairs })], tolerance);
    for (const at of [0, 7, 39]) {
      const slope = await centralDifference(own, { values, name: "s", at });
      expect(y.get("g.s")[at]).toBeCloseTo(slope, runner === "cpu" ? 5 : 8);
      expect(Math.abs(slope)).toBeGreaterThan(1e-4);
    }
  });

  test("with the mean of unit targets is the mean over all pairs of crops and targets", async () => {
    const rng = new Rng(4);
    const values = { s: drawn(rng, 4 * N * D), t: drawn(rng, 2 * N * D) };
    const shared = ({ input }: Tracer): Record<string, Tensor> => {
      const target = reduceMean(l2Normalize(input("t", [2, N, D])), [0]);
      return { loss: featureCosineLoss(input("s", [4, N, D]), reshape(target, [1, N, D])) };
    };
    const pairs = Array.from({ length: 8 * N }, (_, i) => [Math.floor(i / (2 * N)) * N + (i % N), Math.floor((i / N) % 2) * N + (i % N)]);
    expectClose((await runObjective(shared, { values })).get("loss"), [naive(values.s, values.t, { d: D, pairs })], {
      atol: 1e-12,
      rtol: 0,
    });
  });

  test("is 0 for the teacher scaled, 2 for its opposite, and does not see the student's scale", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.double({ min: 0.01, max: 100, noNaN: true }), async (seed, scale) => {
        const rng = new Rng(seed);
        const [s, t] = [drawn(rng, V * N * D), drawn(rng, V * N * D)];
        const of = async (x: number[]): Promise<number> => (await runObjective(own, { values: { s: x, t } })).get("loss")[0] ?? NaN;
        expect(await of(t.map((x) => x * scale))).toBeCloseTo(0, 10);
        expect(await of(t.map((x) => -x * scale))).toBeCloseTo(2, 10);
        expect(await of(s.map((x) => x * scale))).toBeCloseTo(await of(s), 10);
      }),
      { numRuns: 20 },
    );
  });

  test("refuses targets of other rows or width", () => {
    const b = new Builder();
    const s = b.input("s", [2, 3, 5]);
    expect(() => featureCosineLoss(s, b.input("wide", [2, 3, 6]))).toThrow(/Cannot read float32\[2,3,6\] as "2 3 5"/);
    expect(() => featureCosineLoss(s, b.input("long", [1, 4, 5]))).toThrow(/as "1 3 5"/);
  });
});

describe("resizeFeatures() by bilinear interpolation", () => {
  const grid = (side: number): { rows: number; columns: number } => ({ rows: side, columns: side });
  const resized = async (map: readonly number[], [from, to]: readonly [number, number], runner: "interpreter" | "cpu" = "interpreter") =>
    await runObjective(
      ({ input }) => {
        const out = resizeFeatures(input("x", [1, from * from, 1]), { from: grid(from), to: grid(to), kernel: "bilinear" });
        return { out, loss: sumAll(mul(out, input("w", [1, to * to, 1]))) };
      },
      { values: { x: map, w: Array<number>(to * to).fill(1) }, wrt: ["x"], runner },
    );

  test.each(RUNNERS)("enlarges as torch's `interpolate(align_corners=False)`, %s", async (runner) => {
    // 2 -> 4: weights (1, 0), (3/4, 1/4), (1/4, 3/4), (0, 1) along each side
    const wanted = [0, 1, 3, 4].flatMap((y) => [0, 1, 3, 4].map((x) => (2 * y + x) / 4));
    expectClose((await resized([0, 1, 2, 3], [2, 4], runner)).get("out"), wanted, { atol: 1e-6, rtol: 0 });
  });

  test("keeps constants, stays within the map's values, and leaves no patch out", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), fc.nat(), async (from, to, seed) => {
        const map = drawn(new Rng(seed), from * from);
        const y = await resized(map, [from, to]);
        for (const x of Array.from(y.get("out"))) {
          expect(x).toBeGreaterThanOrEqual(Math.min(...map) - 1e-6);
          expect(x).toBeLessThanOrEqual(Math.max(...map) + 1e-6);
        }
        expectClose(
          (
            await resized(
              map.map(() => 2.5),
              [from, to],
            )
          ).get("out"),
          Array<number>(to * to).fill(2.5),
          { atol: 1e-6, rtol: 0 },
        );
        for (const slope of Array.from(y.get("g.x"))) expect(slope).toBeGreaterThan(0);
      }),
      { numRuns: 25 },
    );
  });
});
