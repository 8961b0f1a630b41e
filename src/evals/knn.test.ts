import fc from "fast-check";
import { expect, test } from "vitest";
import { ConfigError, Rng } from "../core/index.ts";
import { goldenTensor, hasGolden, loadGolden } from "../core/testing/golden.ts";
import { nearestNeighbours, normalizeRows } from "../features/index.ts";
import { voteKnn } from "./eval-knn.ts";
import { weightedVote } from "./knn.ts";

test.skipIf(!hasGolden("metrics", "knn"))("nearestNeighbours() and weightedVote() meet the published k-NN", async () => {
  const golden = loadGolden("metrics", "knn");
  const { temp, ks, classes } = golden.json["config"] as { temp: number; ks: number[]; classes: number }; // our own reference file
  const accuracy = golden.json["accuracy"] as Record<string, { top1: number; top5: number }>; // as above
  const floats = (name: string): Float32Array => Float32Array.from(goldenTensor(golden, name).data as Float32Array); // float32 in the file
  const labels = (name: string): Int32Array => goldenTensor(golden, name).data as Int32Array; // int32 in the file
  const [bank, queries] = [floats("train"), floats("query")];
  const dim = goldenTensor(golden, "train").shape[1] ?? 1;
  normalizeRows(bank, dim);
  normalizeRows(queries, dim);
  const neighbours = await nearestNeighbours(bank, queries, { dim, k: Math.max(...ks), threads: 2 });
  const [bankLabels, queryLabels] = [labels("train_labels"), labels("query_labels")];
  const scores = weightedVote({ neighbours, bankLabels, queryLabels, classes, ks, temperature: temp });
  for (const { k, top1, top5 } of scores) {
    expect(top1).toBeCloseTo(accuracy[k]?.top1 ?? NaN, 9);
    expect(top5).toBeCloseTo(accuracy[k]?.top5 ?? NaN, 9);
    const wanted = labels(`y.k${k}.neighbours`);
    const prediction = labels(`y.k${k}.prediction`);
    for (let q = 0; q < queryLabels.length; q++) {
      expect([...neighbours.indices.subarray(q * neighbours.k, q * neighbours.k + k)]).toEqual([...wanted.subarray(q * k, (q + 1) * k)]);
      const one = {
        k: neighbours.k,
        indices: neighbours.indices.subarray(q * neighbours.k, (q + 1) * neighbours.k),
        scores: neighbours.scores.subarray(q * neighbours.k, (q + 1) * neighbours.k),
      };
      const [vote] = weightedVote({
        neighbours: one,
        bankLabels,
        queryLabels: prediction.slice(q, q + 1),
        classes,
        ks: [k],
        temperature: temp,
      });
      expect(vote?.top1, `prediction ${q}, k ${k}`).toBe(1);
    }
  }
});

/** Votes of one query in float64, by the formula: how many classes are surely, and perhaps, ahead of each class. */
function naiveRanks(neighbours: readonly (readonly [score: number, label: number])[], classes: number, temperature: number): number[][] {
  const votes = Array<number>(classes).fill(0);
  for (const [score, label] of neighbours) votes[label] = Number(votes[label]) + Math.exp(score / temperature);
  return votes.map((own, c) => [
    votes.filter((v) => v > own * (1 + 1e-9)).length,
    votes.filter((v, other) => other !== c && v >= own * (1 - 1e-9)).length,
  ]);
}

test("weightedVote() equals the naive vote: ties, duplicates, one class, k above the bank, top-5", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        seed: fc.nat(),
        n: fc.integer({ min: 1, max: 40 }),
        classes: fc.integer({ min: 1, max: 8 }),
        k: fc.integer({ min: 1, max: 50 }),
        temperature: fc.constantFrom(0.5, 2, 10),
      }),
      async ({ seed, n, classes, k, temperature }) => {
        const rng = new Rng(seed);
        const whole = (length: number): Float32Array => Float32Array.from({ length }, () => rng.int(5) - 2);
        const [bank, query] = [whole(n * 3), whole(3)];
        const bankLabels = Int32Array.from({ length: n }, () => rng.int(classes));
        const neighbours = await nearestNeighbours(bank, query, { dim: 3, k, threads: 1 });
        const scoreOf = (i: number): number => [0, 1, 2].reduce((s, j) => s + Number(bank[i * 3 + j]) * Number(query[j]), 0);
        const nearest = Array.from({ length: n }, (_, i) => i)
          .sort((a, b) => scoreOf(b) - scoreOf(a) || a - b)
          .slice(0, k);
        const ranks = naiveRanks(
          nearest.map((i) => [scoreOf(i), bankLabels[i] ?? 0] as const),
          classes,
          temperature,
        );
        for (const [label, [least = 0, most = 0]] of ranks.entries()) {
          const [vote] = weightedVote({ neighbours, bankLabels, queryLabels: Int32Array.of(label), classes, ks: [k], temperature });
          expect([least < 1, most < 1]).toContain(vote?.top1 === 1);
          expect([least < Math.min(5, k), most < Math.min(5, k)]).toContain(vote?.top5 === 1);
        }
      },
    ),
    { numRuns: 80 },
  );
});

const vote = (scores: readonly number[], labels: readonly number[], label: number, more: object = {}): unknown =>
  weightedVote({
    neighbours: { k: scores.length, indices: Int32Array.from(scores, (_, i) => i), scores: Float32Array.from(scores) },
    bankLabels: Int32Array.from(labels),
    queryLabels: Int32Array.of(label),
    classes: 8,
    ks: [scores.length],
    temperature: 0.07,
    ...more,
  })[0];

test("weightedVote() gives equal votes to the class that comes first, and does not overflow", () => {
  expect(vote([0.5, 0.5], [6, 2], 2)).toMatchObject({ top1: 1 });
  expect(vote([0.5, 0.5], [6, 2], 6)).toMatchObject({ top1: 0, top5: 1 });
  expect(vote([0.9, 0.8, 0.8], [1, 2, 2], 1)).toMatchObject({ top1: 1 }); // e^(0.1 / 0.07) > 2
  expect(vote([0.9, 0.88, 0.88], [1, 2, 2], 2)).toMatchObject({ top1: 1 });
  expect(vote([1, 0.9, 0.9], [3, 4, 4], 3, { temperature: 1e-4 })).toMatchObject({ top1: 1 });
  expect(vote([1], [3], 3)).toMatchObject({ top1: 1, top5: 1 });
  expect(vote([1], [3], 4)).toMatchObject({ top1: 0, top5: 0 }); // one neighbour: one guess
  for (const temperature of [0, -1, NaN]) expect(() => vote([1], [3], 3, { temperature })).toThrow(ConfigError);
});

test("voteKnn() refuses other widths, unknown classes and images without one; it leaves the features as they are", async () => {
  const side = (features: readonly number[], dim: number, labels: readonly string[]) => ({
    features: Float32Array.from(features),
    dim,
    labels,
  });
  const options = { k: [1], temperature: 0.07, threads: 1 };
  const train = side([3, 0, 0, 5], 2, ["a", "b"]);
  expect(await voteKnn([train, side([0, 1, 9, 1], 2, ["b", "a"])], options)).toEqual([{ k: 1, top1: 1, top5: 1 }]);
  expect([...train.features]).toEqual([3, 0, 0, 5]);
  await expect(voteKnn([train, side([1, 2, 3], 3, ["a"])], options)).rejects.toThrow(
    /Cannot compare features: one side has 2 numbers, the other 3/,
  );
  await expect(voteKnn([train, side([1, 2], 2, ["c"])], options)).rejects.toThrow(/1 test images are of classes that do not vote \("c"\)/);
  await expect(voteKnn([train, side([1, 2], 2, [""])], options)).rejects.toThrow(/1 of 1 test images have no class/);
  await expect(voteKnn([train, side([NaN, 2], 2, ["a"])], options)).rejects.toThrow(/not finite/);
  await expect(voteKnn([side([], 2, []), side([1, 2], 2, ["a"])], options)).rejects.toThrow(ConfigError);
  await expect(voteKnn([train, train], { ...options, k: [] })).rejects.toThrow(ConfigError);
});
