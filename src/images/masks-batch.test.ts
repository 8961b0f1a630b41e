import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ConfigError, Rng } from "../core/index.ts";
import { hasGolden, loadGolden } from "../core/testing/golden.ts";
import { checkMaskRatios, collateMasks, drawMasks, type DrawMasksOptions, maskUpperBound, sliceMasks } from "./index.ts";

const RATIOS = { probability: 0.5, ratioMin: 0.1, ratioMax: 0.5 };
const sum = (xs: Iterable<number>): number => [...xs].reduce((a, b) => a + b, 0);

test("drawMasks() gives DINOv3's counts of T22, in random order", () => {
  const draw = (seed: number): number[] =>
    drawMasks({ slots: 8, rows: 16, columns: 16, ...RATIOS, fill: "exact" }, new Rng(seed, "mask/0")).counts;
  const orders = Array.from({ length: 20 }, (_, seed) => draw(seed));
  for (const counts of orders) expect(counts.toSorted((a, b) => a - b)).toEqual([0, 0, 0, 0, 51, 76, 102, 128]);
  expect(new Set(orders.map((o) => o.join())).size).toBeGreaterThan(15);
  expect(maskUpperBound({ slots: 8, patches: 256, ...RATIOS })).toBe(357);
});

interface TargetCase {
  readonly tokens: number;
  readonly masked_crops: number;
  readonly ratio: readonly [number, number];
  readonly v3_exact_counts: readonly number[];
  readonly v2_uniform_ranges: readonly (readonly [number, number])[];
  readonly upperbound: number;
}
interface Collated {
  readonly batches: number;
  readonly total_mean: number;
  readonly total_std: number;
}

describe.skipIf(!hasGolden("masking", "block_masks"))("drawMasks() meets the reference", () => {
  const json = hasGolden("masking", "block_masks") ? loadGolden("masking", "block_masks").json : {};
  test.each((json["targets"] ?? []) as TargetCase[])("$masked_crops of $tokens patches: exact counts, ranges, bound", (c) => {
    const side = Math.sqrt(c.tokens);
    const ratios = { probability: 0.5, ratioMin: c.ratio[0], ratioMax: c.ratio[1] };
    const grid = { slots: 2 * c.masked_crops, rows: side, columns: side };
    const exact = drawMasks({ ...grid, ...ratios, fill: "exact", shift: true }, new Rng(1)).counts;
    expect(exact.filter((n) => n > 0).toSorted((a, b) => a - b)).toEqual(c.v3_exact_counts);
    expect(maskUpperBound({ slots: grid.slots, patches: c.tokens, ...ratios })).toBe(c.upperbound);
    for (let seed = 0; seed < 20; seed++) {
      const under = drawMasks({ ...grid, ...ratios, fill: "under" }, new Rng(seed)).counts;
      const sorted = under.filter((n) => n > 0).toSorted((a, b) => a - b);
      expect(sorted).toHaveLength(c.masked_crops);
      sorted.forEach((n, i) => expect(n).toBeLessThanOrEqual(c.v3_exact_counts[i] ?? 0));
    }
  });

  test("the masked patches of a batch", () => {
    const { batches, total_mean, total_std } = json["collated"] as Collated; // our own reference file
    const totals = Array.from({ length: batches }, (_, step) =>
      sum(drawMasks({ slots: 16, rows: 16, columns: 16, ...RATIOS, fill: "under" }, new Rng(3, `mask/${step}`)).counts),
    );
    const mean = sum(totals) / batches;
    const std = Math.sqrt(sum(totals.map((t) => (t - mean) ** 2)) / batches);
    expect(Math.abs(mean - total_mean)).toBeLessThan(4 * total_std * Math.sqrt(2 / batches));
    expect(Math.abs(std / total_std - 1)).toBeLessThan(4 / Math.sqrt(batches)); // a standard deviation is known to 1/√(2n), twice
  });
});

const batches: fc.Arbitrary<DrawMasksOptions> = fc.record({
  slots: fc.integer({ min: 2, max: 16 }),
  rows: fc.integer({ min: 3, max: 12 }),
  columns: fc.integer({ min: 4, max: 12 }),
  probability: fc.constantFrom(0.5, 0.75, 1),
  ratioMin: fc.constantFrom(0.1, 0.25),
  ratioMax: fc.constantFrom(0.25, 0.5, 0.9),
  fill: fc.constantFrom("under", "exact"),
  shift: fc.boolean(),
});

test("drawMasks() masks the asked share of crops, counts what it masks, and stays within the bound", () => {
  fc.assert(
    fc.property(batches, fc.nat(), (o, seed) => {
      const patches = o.rows * o.columns;
      const { masks, counts } = drawMasks(o, new Rng(seed));
      expect(counts).toEqual(counts.map((_, slot) => sum(masks.subarray(slot * patches, (slot + 1) * patches))));
      const masked = counts.filter((n) => n > 0).length;
      if (o.fill === "exact") expect(masked).toBe(Math.floor(o.slots * o.probability));
      else expect(masked).toBeLessThanOrEqual(Math.floor(o.slots * o.probability));
      const bound = maskUpperBound({ ...o, patches });
      if (o.fill === "exact") expect(sum(counts)).toBe(bound);
      else expect(sum(counts)).toBeLessThanOrEqual(bound);
      for (let taken = 0; taken <= o.slots; taken++) {
        const largest = sum(counts.toSorted((a, b) => b - a).slice(0, taken));
        const most = maskUpperBound({ ...o, patches, taken });
        if (o.fill === "exact") expect(largest).toBe(most);
        else expect(largest).toBeLessThanOrEqual(most);
      }
    }),
  );
});

test("drawMasks() depends on the path only, however much of the stream was read", () => {
  const options = { slots: 6, rows: 7, columns: 7, ...RATIOS, fill: "under" } as const;
  const read = new Rng(1, "mask/9");
  read.nextU32();
  expect(drawMasks(options, read)).toEqual(drawMasks(options, new Rng(1, "mask/9")));
  expect(drawMasks(options, read)).not.toEqual(drawMasks(options, new Rng(1, "mask/10")));
});

test("drawMasks() masks nothing with probability 0", () => {
  const options = { slots: 4, rows: 2, columns: 2, probability: 0, ratioMin: 0, ratioMax: 1 };
  expect(drawMasks({ ...options, fill: "exact" }, new Rng(0)).counts).toEqual([0, 0, 0, 0]);
  expect(maskUpperBound({ ...options, patches: 4 })).toBe(0);
});

test("collateMasks() lists the masked patches of each crop, then padding", () => {
  const masks = Uint8Array.of(0, 1, 0, 1, 0, 0, 0, 0, 1, 1, 1, 0);
  const list = collateMasks(masks, { slots: 3, patches: 4, upperBound: 7 });
  expect(list.count).toBe(5);
  expect([...list.indices]).toEqual([1, 3, 8, 9, 10, 0, 0]);
  expect([...list.weights]).toEqual([0.5, 0.5, 1 / 3, 1 / 3, 1 / 3, 0, 0].map(Math.fround));
  expect([...list.valid]).toEqual([1, 1, 1, 1, 1, 0, 0]);
});

test("collateMasks() weighs each masked crop 1, whatever the masks", () => {
  fc.assert(
    fc.property(batches, fc.nat(), (o, seed) => {
      const patches = o.rows * o.columns;
      const { masks, counts } = drawMasks(o, new Rng(seed));
      const upperBound = maskUpperBound({ ...o, patches });
      const list = collateMasks(masks, { slots: o.slots, patches, upperBound });
      expect(list.indices).toHaveLength(upperBound);
      expect(list.count).toBe(sum(counts));
      expect(sum(list.valid)).toBe(list.count);
      expect(sum(list.weights)).toBeCloseTo(counts.filter((n) => n > 0).length, 4);
      expect([...list.indices.subarray(0, list.count)]).toEqual([...masks.keys()].filter((at) => masks[at] === 1));
    }),
  );
});

test("sliceMasks() cuts micro-batches whose lists are the whole list again, each within its bound", () => {
  const [images, patches, micro] = [6, 49, 2];
  const options = { slots: 2 * images, rows: 7, columns: 7, ...RATIOS, fill: "exact" } as const;
  const { masks } = drawMasks(options, new Rng(4, "mask/0"));
  const upperBound = maskUpperBound({ ...options, patches, taken: 2 * micro });
  const found = [0, 2, 4].flatMap((from) => {
    const part = sliceMasks(masks, { patches, images, range: [from, from + micro] });
    const list = collateMasks(part, { slots: 2 * micro, patches, upperBound });
    return [...list.indices.subarray(0, list.count)].map((at, row) => {
      const [slot, patch] = [Math.floor(at / patches), at % patches];
      const [crop, image] = [Math.floor(slot / micro), from + (slot % micro)];
      return `${(crop * images + image) * patches + patch}:${list.weights[row]}`;
    });
  });
  const whole = collateMasks(masks, { slots: 2 * images, patches, upperBound: maskUpperBound({ ...options, patches }) });
  expect(found.toSorted()).toEqual([...whole.indices].map((at, row) => `${at}:${whole.weights[row]}`).toSorted());
});

test("collateMasks() and sliceMasks() refuse sizes that do not fit and lists that are too short", () => {
  const masks = Uint8Array.of(1, 1, 0, 1);
  expect(() => collateMasks(masks, { slots: 2, patches: 3, upperBound: 9 })).toThrow(
    "Cannot read masks: 4 values are not 2 crops of 3 patches; pass whole crops",
  );
  expect(() => collateMasks(masks, { slots: 2, patches: 2, upperBound: 2 })).toThrow(
    "Cannot list masked patches: crops 0 to 1 have 3, the list takes 2; make it maskUpperBound() long",
  );
  expect(() => sliceMasks(masks, { patches: 2, images: 3, range: [0, 1] })).toThrow(/Cannot read masks/);
  expect(() => sliceMasks(masks, { patches: 2, images: 1, range: [0, 2] })).toThrow(/images 0 to 2 are not among 1/);
});

test("masks refuse shares and ratios that cannot be, and say what to change", () => {
  const check = (ratios: Partial<typeof RATIOS>, [rows, columns] = [4, 4]): (() => void) => {
    return () => checkMaskRatios({ ...RATIOS, ...ratios }, { rows, columns });
  };
  expect(check({})).not.toThrow();
  expect(check({ probability: 1.5 })).toThrow("Cannot mask patches: mask.probability is 1.5; give a share from 0 to 1");
  expect(check({ probability: -0.1 })).toThrow(ConfigError);
  expect(check({ ratioMin: Number.NaN })).toThrow(/mask.ratioMin is NaN/);
  expect(check({ ratioMin: 0.6 })).toThrow(/mask.ratioMin 0.6 is above mask.ratioMax 0.5/);
  expect(check({ ratioMin: 0.05 })).toThrow(
    "Cannot mask patches: mask.ratioMin 0.05 of a 4 × 4 grid (16 patches) selects no patch; raise it to 0.07, or make global crops larger or patches smaller",
  );
  expect(check({ ratioMin: 0.1 }, [3, 3])).toThrow(/3 × 3 grid \(9 patches\) selects no patch; raise it to 0.12/);
  expect(check({ ratioMax: 1 })).toThrow(
    "Cannot mask patches: mask.ratioMax 1 of a 4 × 4 grid (16 patches) selects all of them; lower it below 1",
  );
  expect(check({}, [1, 1])).toThrow(/1 × 1 grid \(1 patch\) leaves nothing to see/);
  expect(check({ probability: 0, ratioMax: 1 }, [1, 1])).not.toThrow();
  expect(() => drawMasks({ slots: 4, rows: 3, columns: 3, ...RATIOS, fill: "under" }, new Rng(0))).toThrow(/selects no patch/);
  expect(() => maskUpperBound({ slots: 2, patches: 16, ...RATIOS, probability: 0.3 })).toThrow(
    "Cannot mask a share of 0.3 of 2 crops: that is none; raise mask.probability or the batch size, or set it to 0",
  );
  expect(() => maskUpperBound({ slots: 2, patches: 16, ...RATIOS, taken: 3 })).toThrow(/Cannot bound the masked patches of 3 crops/);
  expect(() => maskUpperBound({ slots: 2, patches: 16, ...RATIOS, probability: 2 })).toThrow(/mask.probability is 2/);
});

test("the smallest ratio that an error proposes selects a patch", () => {
  for (let patches = 2; patches < 3000; patches++) {
    const proposed = Math.ceil(100 / patches) / 100;
    if (proposed >= 1) continue;
    expect(Math.floor(patches * proposed)).toBeGreaterThanOrEqual(1);
  }
});
