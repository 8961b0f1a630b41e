import fc from "fast-check";
import { expect, test } from "vitest";
import { ConfigError, Rng, ShapeError } from "../core/index.ts";
import { nearestNeighbours, planSearch } from "./nearest.ts";

/** All scores in float64, sorted; equal ones in the bank's order. */
function naive(bank: Float32Array, queries: Float32Array, { dim, k }: { readonly dim: number; readonly k: number }): number[][] {
  const rows = Array.from({ length: bank.length / dim }, (_, i) => i);
  return Array.from({ length: queries.length / dim }, (_, q) => {
    const score = (i: number): number => {
      let sum = 0;
      for (let j = 0; j < dim; j++) sum += Number(bank[i * dim + j]) * Number(queries[q * dim + j]);
      return sum;
    };
    const scores = rows.map(score);
    return rows.toSorted((a, b) => Number(scores[b]) - Number(scores[a]) || a - b).slice(0, k);
  });
}

/** Small whole numbers: dot products are exact in float32 and have many ties. */
const wholeNumbers = (rng: Rng, length: number): Float32Array => Float32Array.from({ length }, () => rng.int(5) - 2);

test("nearestNeighbours() equals a naive float64 search: ties in the bank's order, duplicates, k above the bank, any blocks", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        seed: fc.nat(),
        n: fc.integer({ min: 1, max: 200 }),
        m: fc.integer({ min: 1, max: 9 }),
        dim: fc.integer({ min: 1, max: 6 }),
        k: fc.integer({ min: 1, max: 12 }),
        blocks: fc.constantFrom(undefined, { queryRows: 2, bankRows: 1 }, { queryRows: 4, bankRows: 128 }),
      }),
      async ({ seed, n, m, dim, k, blocks }) => {
        const rng = new Rng(seed);
        const [bank, queries] = [wholeNumbers(rng, n * dim), wholeNumbers(rng, m * dim)];
        const found = await nearestNeighbours(bank, queries, { dim, k, threads: 1, blocks });
        expect(found.k).toBe(Math.min(k, n));
        const wanted = naive(bank, queries, { dim, k });
        expect(Array.from({ length: m }, (_, q) => [...found.indices.subarray(q * found.k, (q + 1) * found.k)])).toEqual(wanted);
        for (const [i, index] of found.indices.entries()) {
          const q = Math.floor(i / found.k);
          let sum = 0;
          for (let j = 0; j < dim; j++) sum += Number(bank[index * dim + j]) * Number(queries[q * dim + j]);
          expect(found.scores[i]).toBe(sum);
        }
      },
    ),
    { numRuns: 40 },
  );
});

test("nearestNeighbours() over several blocks of queries and bank gives what one block gives", async () => {
  const rng = new Rng(4);
  const [n, m, dim, k] = [1000, 37, 16, 10];
  const bank = Float32Array.from({ length: n * dim }, () => rng.normal());
  const queries = Float32Array.from({ length: m * dim }, () => rng.normal());
  const done: number[] = [];
  const whole = await nearestNeighbours(bank, queries, { dim, k, threads: 2, blocks: { queryRows: m, bankRows: n } });
  const parts = await nearestNeighbours(bank, queries, {
    dim,
    k,
    threads: 2,
    blocks: { queryRows: 10, bankRows: 192 },
    onProgress: (p) => done.push(p.done),
  });
  expect(parts.indices).toEqual(whole.indices);
  for (const [i, s] of parts.scores.entries()) expect(Math.abs(s - Number(whole.scores[i]))).toBeLessThan(1e-5);
  expect(done).toEqual([10, 20, 30, 37]);
  expect([...whole.indices.subarray(0, k)]).toEqual(naive(bank, queries.subarray(0, dim), { dim, k })[0]);
});

test("planSearch() needs no matrix of scores for ImageNet's 1,281,167 rows", () => {
  const plan = planSearch({ bank: 1_281_167, queries: 50_000 }, { k: 200 });
  expect(plan).toEqual({ k: 200, queryRows: 512, bankRows: 4096, scores: 512 * 4096, maxima: 512 * 64, best: 204_800, result: 20_000_000 });
  const bytes = 4 * (2 * plan.scores + 2 * plan.maxima + plan.best + plan.result);
  expect(bytes).toBeLessThan(100e6); // the matrix would be 256 GB
  expect(planSearch({ bank: 10, queries: 3 }, { k: 20 })).toMatchObject({ k: 10, queryRows: 3, bankRows: 64, scores: 192 });
});

test("nearestNeighbours() refuses what is no rows, not finite, empty, or a bad k; no queries give no neighbours", async () => {
  const rows = Float32Array.of(1, 2, 3, 4);
  const options = { dim: 2, k: 1, threads: 1 };
  const search = (bank: Float32Array, queries: Float32Array, more: object = {}): Promise<unknown> =>
    nearestNeighbours(bank, queries, { ...options, ...more });
  await expect(search(rows, rows, { dim: 3 })).rejects.toThrow(ShapeError);
  await expect(search(rows, rows, { dim: 0 })).rejects.toThrow(/the bank has 4 numbers, which are no rows of 0/);
  for (const bad of [NaN, Infinity, -Infinity]) {
    await expect(search(Float32Array.of(1, bad), rows)).rejects.toThrow(/the bank has features that are not finite/);
    await expect(search(rows, Float32Array.of(bad, 1))).rejects.toThrow(/the queries has features that are not finite/);
  }
  await expect(search(new Float32Array(0), rows)).rejects.toThrow(/Cannot find neighbours: the bank is empty/);
  for (const k of [0, 1.5, NaN]) await expect(search(rows, rows, { k })).rejects.toThrow(ConfigError);
  await expect(search(Float32Array.of(3e38, -3e38), Float32Array.of(3e38, 3e38))).rejects.toThrow(/overflow float32/);
  expect(await search(rows, new Float32Array(0))).toEqual({ k: 1, indices: new Int32Array(0), scores: new Float32Array(0) });
  await expect(search(rows, rows, { signal: AbortSignal.abort() })).rejects.toThrow("aborted");
});
