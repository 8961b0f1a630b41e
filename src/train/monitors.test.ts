import { expect, test } from "vitest";
import { Rng } from "../core/index.ts";
import { effectiveRank, entropy, featureStd, klFromLoss, marginalEntropy, meanEntropy, prototypeUsage, type Rows } from "./monitors.ts";

function rows(values: readonly (readonly number[])[]): Rows {
  return {
    data: Float32Array.from(values.flat()),
    rows: values.length,
    width: values[0]?.length ?? 0,
  };
}

function random(n: number, width: number): Rows {
  const rng = new Rng(0, "monitors");
  return { data: Float64Array.from({ length: n * width }, () => rng.normal()), rows: n, width };
}

test("entropy() is ln K for a uniform distribution and 0 for a certain one", () => {
  expect(entropy(Array(8).fill(1 / 8))).toBeCloseTo(Math.log(8), 12);
  expect(entropy([0, 1, 0])).toBe(0);
});

test("meanEntropy(), marginalEntropy() and prototypeUsage() tell the two collapses apart", () => {
  const spread = rows([
    [1, 0, 0, 0],
    [0, 1, 0, 0],
    [0, 0, 1, 0],
    [0, 0, 0, 1],
  ]);
  const one = rows([
    [1, 0, 0, 0],
    [1, 0, 0, 0],
    [1, 0, 0, 0],
    [1, 0, 0, 0],
  ]);
  const uniform = rows(Array(4).fill([0.25, 0.25, 0.25, 0.25]));
  expect([spread, one, uniform].map(meanEntropy)).toEqual([0, 0, expect.closeTo(Math.log(4), 6)]);
  expect([spread, one].map(marginalEntropy)).toEqual([expect.closeTo(Math.log(4), 6), 0]);
  expect([spread, one].map(prototypeUsage)).toEqual([1, 0.25]);
  expect(
    prototypeUsage(
      rows([
        [0.1, 0.9, 0, 0],
        [0.9, 0.1, 0, 0],
      ]),
    ),
  ).toBe(1);
});

test("klFromLoss() is 0 when the student says what the teacher says", () => {
  const p = [0.2, 0.8];
  expect(klFromLoss(-p.reduce((s, x) => s + x * Math.log(x), 0), entropy(p))).toBeCloseTo(0, 12);
});

test("featureStd() is near 1 for spread features, 0 for equal ones, and blind to scale", () => {
  const f = random(400, 16);
  expect(featureStd(f)).toBeGreaterThan(0.95);
  expect(featureStd(rows(Array(5).fill([1, 2, 3])))).toBeCloseTo(0, 6);
  expect(featureStd({ ...f, data: Float64Array.from(f.data, (x) => 7 * x) })).toBeCloseTo(featureStd(f), 10);
});

test("effectiveRank() is RankMe: exp of the entropy of the singular values", () => {
  expect(
    effectiveRank(
      rows([
        [3, 0, 0],
        [0, 3, 0],
        [0, 0, 3],
      ]),
    ),
  ).toBeCloseTo(3, 6);
  expect(
    effectiveRank(
      rows([
        [1, 2],
        [2, 4],
        [3, 6],
      ]),
    ),
  ).toBeCloseTo(1, 4);
  // singular values 3 and 1: entropy of (3/4, 1/4)
  expect(
    effectiveRank(
      rows([
        [3, 0],
        [0, 1],
      ]),
    ),
  ).toBeCloseTo(Math.exp(entropy([0.75, 0.25])), 6);
  expect(effectiveRank(random(200, 24))).toBeGreaterThan(22);
  expect(effectiveRank(random(10, 24))).toBeLessThanOrEqual(10);
  expect(
    effectiveRank(
      rows([
        [0, 0],
        [0, 0],
      ]),
    ),
  ).toBe(0);
  expect(
    effectiveRank(
      rows([
        [NaN, 0],
        [0, 1],
      ]),
    ),
  ).toBeNaN();
});

test("effectiveRank() does not change when features are rotated or transposed", () => {
  const f = random(30, 6);
  const turned: Rows = {
    ...f,
    data: Float64Array.from({ length: 180 }, (_, i) => {
      const [r, c] = [Math.floor(i / 6), i % 6];
      const [a, b] = [f.data[r * 6] ?? 0, f.data[r * 6 + 1] ?? 0];
      return c === 0 ? 0.6 * a - 0.8 * b : c === 1 ? 0.8 * a + 0.6 * b : (f.data[i] ?? 0);
    }),
  };
  const flipped: Rows = {
    rows: 6,
    width: 30,
    data: Float64Array.from({ length: 180 }, (_, i) => f.data[(i % 30) * 6 + Math.floor(i / 30)] ?? 0),
  };
  expect(effectiveRank(turned)).toBeCloseTo(effectiveRank(f), 8);
  expect(effectiveRank(flipped)).toBeCloseTo(effectiveRank(f), 8);
});
