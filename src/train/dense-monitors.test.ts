import fc from "fast-check";
import { expect, test } from "vitest";
import { Rng, ShapeError } from "../core/index.ts";
import { clsPatchSimilarity, type PatchTokens, patchSimilarityDrift, patchSimilarityMean } from "./dense-monitors.ts";

function random(images: number, patches: number, width: number, seed = 0): PatchTokens {
  const rng = new Rng(seed, "dense");
  return { data: Float32Array.from({ length: images * patches * width }, () => rng.normal()), images, patches, width };
}

const tokens = (rows: readonly (readonly number[])[]): PatchTokens => ({
  data: rows.flat(),
  images: 1,
  patches: rows.length,
  width: rows[0]?.length ?? 0,
});

const vector = ({ data, width }: PatchTokens, i: number): number[] => Array.from({ length: width }, (_, j) => data[i * width + j] ?? NaN);
const cosine = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((s, x, j) => s + x * (b[j] ?? 0), 0) / (Math.hypot(...a) * Math.hypot(...b));

test("patchSimilarityDrift() is DINOv3's Gram loss as a mean", () => {
  // MSE of two 3x3 matrices of cosines, by hand in float64
  const now = tokens([
    [1, 0],
    [1, 1],
    [0, -2],
  ]);
  const then = tokens([
    [1, 0.5],
    [0, 1],
    [-1, -1],
  ]);
  expect(patchSimilarityDrift(now, then)).toBeCloseTo(0.2150099, 6);
});

test("patchSimilarityDrift() is 0 for equal tokens, also rotated or scaled, and symmetric; it equals the naive loop", () => {
  const [a, b] = [random(3, 5, 4, 1), random(3, 5, 4, 2)];
  expect(patchSimilarityDrift(a, a)).toBe(0);
  const turned: PatchTokens = {
    ...a,
    data: Array.from(a.data, (x, i) => {
      const [p, q] = [a.data[i - (i % 4)] ?? 0, a.data[i - (i % 4) + 1] ?? 0];
      return 7 * (i % 4 === 0 ? 0.6 * p - 0.8 * q : i % 4 === 1 ? 0.8 * p + 0.6 * q : x);
    }),
  };
  expect(patchSimilarityDrift(turned, a)).toBeCloseTo(0, 10);
  expect(patchSimilarityDrift(a, b)).toBe(patchSimilarityDrift(b, a));
  let sum = 0;
  for (let n = 0; n < 3; n++)
    for (let i = 0; i < 5; i++)
      for (let j = 0; j < 5; j++)
        sum += (cosine(vector(a, n * 5 + i), vector(a, n * 5 + j)) - cosine(vector(b, n * 5 + i), vector(b, n * 5 + j))) ** 2;
  expect(patchSimilarityDrift(a, b)).toBeCloseTo(sum / 75, 10);
  expect(patchSimilarityDrift(random(2, 5, 4), random(2, 5, 9))).toBeGreaterThan(0); // widths may differ
});

test("patchSimilarityMean() and clsPatchSimilarity() equal naive means of cosines", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 2, max: 6 }), fc.nat(), (images, patches, seed) => {
      const x = random(images, patches, 3, seed);
      const cls = random(images, 1, 3, seed + 1);
      let [pairs, withCls] = [0, 0];
      for (let b = 0; b < images; b++)
        for (let i = 0; i < patches; i++) {
          const own = vector(x, b * patches + i);
          withCls += cosine(vector(cls, b), own) / (images * patches);
          for (let j = 0; j < patches; j++)
            if (j !== i) pairs += cosine(own, vector(x, b * patches + j)) / (images * patches * (patches - 1));
        }
      expect(patchSimilarityMean(x)).toBeCloseTo(pairs, 8);
      expect(clsPatchSimilarity({ data: cls.data, rows: images, width: 3 }, x)).toBeCloseTo(withCls, 8);
    }),
  );
});

test("patchSimilarityMean() and clsPatchSimilarity() are 1 in dense collapse, near 0 for spread patches, NaN for what is none", () => {
  const same = tokens(Array(6).fill([1, 2, 3]));
  const cls = { data: [2, 4, 6], rows: 1, width: 3 };
  expect(patchSimilarityMean(same)).toBeCloseTo(1, 10);
  expect(clsPatchSimilarity(cls, same)).toBeCloseTo(1, 10);
  expect(Math.abs(patchSimilarityMean(random(2, 40, 64)))).toBeLessThan(0.02);
  expect(patchSimilarityMean(tokens([[1, 2]]))).toBeNaN();
  expect(patchSimilarityMean(tokens([[NaN, 1], [1, 0]]))).toBeNaN(); // prettier-ignore
});

test("monitors of patches refuse other images, patches and lengths", () => {
  const a = random(2, 4, 3);
  expect(() => patchSimilarityDrift(a, random(3, 4, 3))).toThrow(/now float32\[2,4,3\], then float32\[3,4,3\]; give the same images/);
  expect(() => patchSimilarityDrift(a, random(2, 5, 3))).toThrow(ShapeError);
  expect(() => patchSimilarityMean({ ...a, images: 3 })).toThrow(/float32\[3,4,3\] has 24 numbers/);
  expect(() => patchSimilarityMean({ data: [], images: 0, patches: 4, width: 3 })).toThrow(ShapeError);
  expect(() => clsPatchSimilarity({ data: new Float32Array(9), rows: 3, width: 3 }, a)).toThrow(
    /class tokens float32\[3,3\] with patches float32\[2,4,3\]/,
  );
});
