import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ConfigError, Rng, ShapeError } from "../core/index.ts";
import { expectClose, goldenTensor, goldenTolerance, hasGolden, loadGolden } from "../core/testing/golden.ts";
import { Builder } from "../engine/trace/index.ts";
import { koleo, type KoleoOptions, koleoPerCrop } from "./index.ts";
import { RUNNERS, runObjective } from "./testing/run.ts";

describe("koleo() meets the reference", () => {
  const names = ["koleo", "koleo_duplicates", "koleo_groups", "koleo_groups_top2"];
  test.for(names.flatMap((name) => RUNNERS.map((runner) => ({ name, runner }))))("$name, $runner", async ({ name, runner }, { skip }) => {
    skip(!hasGolden("losses", name));
    const golden = loadGolden("losses", name);
    const x = goldenTensor(golden, "x");
    const { group, topk } = golden.json["config"] as { readonly group?: number; readonly topk?: number }; // our own reference file
    const options: KoleoOptions = { ...(group !== undefined && { groupSize: group }), ...(topk !== undefined && { topK: topk }) };
    const y = await runObjective(({ input }) => ({ loss: koleo(input("x", x.shape), options) }), { values: { x }, wrt: ["x"], runner });
    const tolerance = goldenTolerance(golden);
    expectClose(y.get("loss"), goldenTensor(golden, "y.loss").data as Float32Array, { ...tolerance, what: "loss" });
    // rows 0 and 1 of the duplicates are not comparable: terms near 1e7 cancel
    const from = name === "koleo_duplicates" ? 2 * (x.shape[1] ?? 1) : 0;
    const wanted = (goldenTensor(golden, "g.x").data as Float32Array).subarray(from);
    expectClose(Array.from(y.get("g.x")).slice(from), wanted, { ...tolerance, what: "gradient" });
  });
});

/** KoLeo as it is written down. */
function naiveKoleo(rows: readonly (readonly number[])[], { groupSize, topK }: { groupSize: number; topK: number }): number {
  const unit = rows.map((r) => r.map((v) => v / Math.hypot(...r)));
  const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((s, v, i) => s + v * (b[i] ?? 0), 0);
  const terms = unit.flatMap((x, i) => {
    const start = i - (i % groupSize);
    const others = unit.slice(start, start + groupSize).filter((_, j) => start + j !== i);
    return others
      .toSorted((a, b) => dot(x, b) - dot(x, a))
      .slice(0, topK)
      .map((near) => -Math.log(Math.hypot(...x.map((v, c) => v - (near[c] ?? 0) + 1e-8)) + 1e-8));
  });
  return terms.reduce((a, b) => a + b) / terms.length;
}

test("koleo() is its naive loop, in groups and with several neighbours", async () => {
  const shape = fc.record({ groups: fc.integer({ min: 1, max: 3 }), groupSize: fc.integer({ min: 2, max: 5 }), seed: fc.nat() });
  await fc.assert(
    fc.asyncProperty(shape, fc.nat({ max: 3 }), async ({ groups, groupSize, seed }, more) => {
      const rng = new Rng(seed);
      const topK = 1 + (more % (groupSize - 1));
      const rows = Array.from({ length: groups * groupSize }, () => Array.from({ length: 4 }, () => rng.normal()));
      const y = await runObjective(({ input }) => ({ loss: koleo(input("x", [rows.length, 4]), { groupSize, topK }) }), {
        values: { x: rows.flat() },
      });
      expectClose(y.get("loss"), [naiveKoleo(rows, { groupSize, topK })], { atol: 1e-6, rtol: 1e-6 });
    }),
    { numRuns: 30 },
  );
});

test("koleoPerCrop() is the sum over crops", async () => {
  const rng = new Rng(1);
  const [a, b] = [0, 1].map(() => Array.from({ length: 4 }, () => [rng.normal(), rng.normal(), rng.normal()]));
  const y = await runObjective(({ input }) => ({ loss: koleoPerCrop([input("a", [4, 3]), input("b", [4, 3])]) }), {
    values: { a: a!.flat(), b: b!.flat() }, // two crops
  });
  const one = (rows: number[][]): number => naiveKoleo(rows, { groupSize: 4, topK: 1 });
  expectClose(y.get("loss"), [one(a!) + one(b!)], { atol: 1e-6, rtol: 1e-6 }); // two crops
});

test("koleo() refuses a batch of one, groups that do not divide, and more neighbours than there are", () => {
  const builder = new Builder();
  const [one, eight] = [builder.input("one", [1, 4]), builder.input("eight", [8, 4])];
  expect(() => koleo(one)).toThrow(ShapeError);
  expect(() => koleo(one)).toThrow(
    "Cannot take KoLeo of a batch of 1: a nearest neighbour is another image; make the (micro-)batch 2 or more, or KoLeo's weight 0",
  );
  expect(() => koleo(eight, { groupSize: 3 })).toThrow(/Cannot take KoLeo of 8 rows in groups of 3/);
  expect(() => koleo(eight, { groupSize: 1 })).toThrow(/Cannot take KoLeo of 8 rows in groups of 1/);
  expect(() => koleo(eight, { groupSize: 4, topK: 4 })).toThrow(ConfigError);
  expect(() => koleo(eight, { groupSize: 4, topK: 4 })).toThrow(/4 neighbours in groups of 4: each row has 3; take 1 to 3/);
  expect(() => koleo(eight, { topK: 0 })).toThrow(/Cannot take KoLeo of 0 neighbours/);
});
