import { expect, test } from "vitest";
import { bestPatch, similarityMap } from "./similarity.ts";

const a = { patches: Float32Array.of(3, 4, 0, 2, -3, -4) };
const b = { patches: Float32Array.of(0, 0, 8, 6, 6, 8) };

test("similarityMap() gives cosines with every patch, of the same picture or of another", () => {
  expect([...similarityMap(a, 0, { width: 2 })].map((x) => Number(x.toFixed(6)))).toEqual([1, 0.8, -1]);
  expect([...similarityMap(a, 0, { to: b, width: 2 })].map((x) => Number(x.toFixed(6)))).toEqual([0, 0.96, 1]);
  expect(bestPatch(similarityMap(a, 0, { to: b, width: 2 }))).toBe(2);
});

test("similarityMap() refuses patches that are not there and another width", () => {
  expect(() => similarityMap(a, 3, { width: 2 })).toThrow(/there are 3; give a number from 0 to 2/);
  expect(() => similarityMap(a, 0, { width: 4 })).toThrow(/Cannot compare patches of width 4/);
  expect(() => similarityMap(a, 0, { to: { patches: new Float32Array(3) }, width: 2 })).toThrow(/there are 3 values/);
});
