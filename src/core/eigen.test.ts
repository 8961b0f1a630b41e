import { expect, test } from "vitest";
import { jacobiEigen, topEigen } from "./eigen.ts";
import { Rng } from "./rng.ts";

test("jacobiEigen() gives falling values with vectors of unit length, and leaves its matrix alone", () => {
  const matrix = Float64Array.of(2, 1, 1, 2);
  const { values, vectors } = jacobiEigen(matrix, 2);
  expect([...values]).toEqual([expect.closeTo(3, 12), expect.closeTo(1, 12)]);
  expect([...vectors].map(Math.abs)).toEqual(Array(4).fill(expect.closeTo(Math.SQRT1_2, 12)));
  expect(vectors[0]! * vectors[2]! + vectors[1]! * vectors[3]!).toBeCloseTo(0, 12);
  expect([...matrix]).toEqual([2, 1, 1, 2]);
});

test("topEigen() by subspace iteration equals jacobiEigen()", () => {
  const d = 40;
  const rng = new Rng(3, "eigen-test");
  const a = Float64Array.from({ length: 100 * d }, (_, i) => rng.normal() / (1 + (i % d))); // clear axes
  const m = new Float64Array(d * d);
  for (let i = 0; i < d; i++) for (let j = 0; j < d; j++) for (let r = 0; r < 100; r++) m[i * d + j]! += a[r * d + i]! * a[r * d + j]!;
  const all = jacobiEigen(m, d);
  const top = topEigen(m, { d, k: 3 });
  for (let i = 0; i < 3; i++) {
    expect(top.values[i]! / all.values[i]!).toBeCloseTo(1, 10);
    const along = all.vectors.subarray(i * d, (i + 1) * d).reduce((s, v, c) => s + v * top.vectors[i * d + c]!, 0);
    expect(Math.abs(along)).toBeCloseTo(1, 9);
  }
});
