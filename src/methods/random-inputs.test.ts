import { describe, expect, test } from "vitest";
import { Rng } from "../core/index.ts";
import type { StepConfig } from "./config.ts";
import { dinov2, type Dinov2Config, distill, type Method } from "./index.ts";
import { drawRandom } from "./random-inputs.ts";
import { SMALL_VIT } from "../nn/testing/small-vit.ts";

const head = { width: 16, hidden: 12, bottleneck: 8, prototypes: 10, layers: 3, batchNorm: false, normLastLayer: false } as const;
const STEP: StepConfig = {
  backbone: { ...SMALL_VIT, depth: 3, positions: "rope", rope: { rescale: 2 }, maskToken: true },
  crops: { globalSizePx: 16, localSizePx: 8, localCount: 3 },
  dropPath: 0.4,
  dropPathUniform: true,
  dropPathKind: "subset",
  batchSize: 8,
  microBatchSize: 8,
};
const at = (config: StepConfig, step = 0): ReadonlyMap<string, ArrayLike<number>> =>
  new Map(drawRandom(config, { rng: new Rng(1), step }).map(([name, data]) => [name, Array.from(data, Number)]));
const V2: Dinov2Config = {
  ...STEP,
  head,
  ibotHead: { ...head, prototypes: 7 },
  mask: { probability: 0.5, ratioMin: 0.1, ratioMax: 0.5, fill: "exact", shift: false },
  objective: { centering: "sinkhorn", centerMomentum: 0.9, sinkhornIterations: 3, koleoWeight: 0, ibotWeight: 1, studentTemp: 0.1 },
};

describe("drop path by subset", () => {
  test("keeps max(⌊n(1 − r)⌋, 1) different rows of each group of crops, in every block alike where it is uniform", () => {
    const draws = at(STEP);
    for (const [name, rows] of [
      ["globals", 16],
      ["locals", 24],
    ] as const)
      for (const block of [0, 1, 2]) {
        const kept = Array.from(draws.get(`drop.${name}.${block}.attn`) ?? []);
        expect(kept).toHaveLength(Math.floor(rows * 0.6));
        expect(new Set(kept).size).toBe(kept.length);
        expect(Math.min(...kept) >= 0 && Math.max(...kept) < rows).toBe(true);
      }
    const few = at({ ...STEP, batchSize: 1, microBatchSize: 1, dropPath: 0.9 });
    expect(few.get("drop.globals.0.mlp")).toHaveLength(1);
  });

  test("rises from 0 in the first block to the rate in the last where it is not uniform", () => {
    const draws = at({ ...STEP, dropPathUniform: false });
    expect(draws.has("drop.globals.0.attn")).toBe(false);
    expect([1, 2].map((block) => draws.get(`drop.globals.${block}.attn`)?.length)).toEqual([12, 9]); // ⌊16 · .8⌋, ⌊16 · .6⌋
  });

  test("is drawn by itself for every branch, block, group and step, and again the same from the same seed", () => {
    const all = [...at(STEP), ...at(STEP, 1)].filter(([name]) => name.startsWith("drop."));
    for (const group of ["globals", "locals"]) {
      const of = all.filter(([name]) => name.includes(group)).map(([, rows]) => JSON.stringify(rows));
      expect(of).toHaveLength(2 * 3 * 2);
      expect(new Set(of).size).toBe(of.length);
    }
    expect(at(STEP)).toEqual(at(STEP));
  });

  test("keeps to the groups of the batch, however it is parted: the same rows in micro-batches", () => {
    const whole = at({ ...STEP, groupSize: 4 });
    const parted = at({ ...STEP, groupSize: 4, microBatchSize: 4 });
    const kept = Math.floor(2 * 4 * 0.6);
    // crop-major rows of 8 images, and of two micro-batches of 4, as (crop, image of the batch)
    const name = "drop.globals.1.mlp";
    const places = (rows: ArrayLike<number> | undefined, micro: number): string[] =>
      Array.from(rows ?? [], (row, i) => `${Math.floor(row / micro)} ${(row % micro) + (micro === 8 ? 0 : 4 * Math.floor(i / kept))}`);
    expect(places(parted.get(name), 4).sort()).toEqual(places(whole.get(name), 8).sort());
  });
});

describe("augmented rotations", () => {
  test("are drawn anew for every block, group and step, for the student alone", () => {
    const tables = [...at(STEP), ...at(STEP, 1)].filter(([name]) => name.endsWith(".sin"));
    expect(tables).toHaveLength(2 * 2 * 3);
    expect(new Set(tables.map(([, data]) => JSON.stringify(data))).size).toBe(tables.length);
    const inputs = (method: Method, part: string): readonly string[] =>
      (method.parts.find(({ name }) => name === part)?.trace({ running: false }).inputs ?? []).map(({ name }) => name);
    const random = (names: readonly string[]): number => names.filter((name) => /^(small\.)?(rope|drop)\./.test(name)).length;
    const method = dinov2(V2);
    expect(random(inputs(method, "student"))).toBe(2 * 3 * 4);
    expect(random(inputs(method, "teacher"))).toBe(0);
    expect(inputs(method, "teacher")).not.toContain("mask");
    expect(inputs(method, "student")).toContain("mask");
    const distilled = distill({ teacher: V2, students: [{ ...V2, name: "small", dropPath: 0 }] });
    expect(inputs(distilled, "small")).not.toContain("mask"); // a distilled student sees whole crops
    expect(inputs(distilled, "small")).toContain("maskIndex"); // and names the patches at the masked places all the same
    expect(random(inputs(distilled, "teacher"))).toBe(0);
  });
});

test("masks are other ones in each step; their weights are one over the masked patches of each crop", () => {
  const method = dinov2(V2);
  const of = (step: number): ReadonlyMap<string, number[]> =>
    new Map([...method.draw({ rng: new Rng(2), step })].map(([name, data]) => [name, Array.from(data, Number)]));
  const [first, second] = [of(0), of(1)];
  expect(first.get("mask")).not.toEqual(second.get("mask"));
  expect(of(0)).toEqual(first);
  const mask = first.get("mask") ?? [];
  const counts = Array.from({ length: 16 }, (_, crop) => mask.slice(16 * crop, 16 * (crop + 1)).reduce((a, b) => a + b, 0));
  // ⌊16 p⌋ for p = .15, .2, … .5 on half of the crops
  expect(counts.filter((n) => n > 0).sort((a, b) => a - b)).toEqual([2, 3, 4, 4, 5, 6, 7, 8]);
  const [index, weight, valid] = ["maskIndex", "maskWeight", "maskValid"].map((name) => first.get(name) ?? []);
  index?.forEach((place, i) => {
    const isListed = valid?.[i] === 1;
    expect(isListed).toBe(mask[place] === 1);
    expect(weight?.[i]).toBeCloseTo(isListed ? 1 / (counts[Math.floor(place / 16)] ?? NaN) : 0, 6);
  });
  expect(first.get("maskCount")).toEqual([counts.reduce((a, b) => a + b, 0)]);
});
