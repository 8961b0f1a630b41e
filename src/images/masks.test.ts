import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ConfigError, Rng } from "../core/index.ts";
import { hasGolden, loadGolden } from "../core/testing/golden.ts";
import { type BlockMaskOptions, drawBlockMask, maxMaskPatches } from "./masks.ts";

const countOf = (mask: Uint8Array): number => mask.reduce((a, b) => a + b, 0);

test("maxMaskPatches() meets the published numbers: half the patches, or less by two floors", () => {
  const sizes = [
    [224, 14, 128],
    [224, 16, 98],
    [256, 16, 128],
    [512, 16, 512],
    [768, 16, 1152],
    [518, 14, 666],
  ] as const;
  for (const [imageSizePx, patchSizePx, most] of sizes) expect(maxMaskPatches({ imageSizePx, patchSizePx })).toBe(most);
  expect(() => maxMaskPatches({ imageSizePx: 8, patchSizePx: 16 })).toThrow(
    "Cannot mask crops of 8 px: they hold no patch of 16 px; make crops larger",
  );
});

/** A grid, a target that it can have, and the rest of the options. */
const options: fc.Arbitrary<BlockMaskOptions> = fc
  .record({ rows: fc.integer({ min: 1, max: 20 }), columns: fc.integer({ min: 1, max: 20 }) })
  .chain(({ rows, columns }) =>
    fc.record({
      rows: fc.constant(rows),
      columns: fc.constant(columns),
      target: fc.integer({ min: 0, max: rows * columns }),
      fill: fc.constantFrom("under" as const, "exact" as const),
      shift: fc.boolean(),
    }),
  );

test("drawBlockMask() never masks more than its target, and fills it exactly where it is told to", () => {
  fc.assert(
    fc.property(options, fc.nat(), (o, seed) => {
      const mask = drawBlockMask(o, new Rng(seed));
      expect(mask).toHaveLength(o.rows * o.columns);
      expect(mask.every((m) => m === 0 || m === 1)).toBe(true);
      if (o.fill === "exact") expect(countOf(mask)).toBe(o.target);
      else expect(countOf(mask)).toBeLessThanOrEqual(o.target);
    }),
  );
});

test("drawBlockMask() depends on nothing but the stream", () => {
  fc.assert(
    fc.property(options, fc.nat(), (o, seed) => {
      expect(drawBlockMask(o, new Rng(seed))).toEqual(drawBlockMask(o, new Rng(seed)));
    }),
  );
  const draw = (seed: number): Uint8Array => drawBlockMask({ rows: 14, columns: 14, target: 60, fill: "under" }, new Rng(seed));
  expect(draw(1)).not.toEqual(draw(2));
});

test("drawBlockMask() with a shift is the same mask, rolled around", () => {
  const [rows, columns] = [6, 9];
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 53 }), fc.nat(), (target, seed) => {
      const draw = (shift: boolean): Uint8Array => drawBlockMask({ rows, columns, target, fill: "exact", shift }, new Rng(seed));
      const [plain, moved] = [draw(false), draw(true)];
      const rolls = Array.from({ length: rows * columns }, (_, by) =>
        plain
          .map((__, at) => {
            const y = (Math.floor(at / columns) + Math.floor(by / columns)) % rows;
            return plain[y * columns + (((at % columns) + by) % columns)] ?? 0;
          })
          .join(),
      );
      expect(rolls).toContain(moved.join());
    }),
  );
});

/** Share of the masked patches, the last row's left out, that have a masked patch below. */
function maskedBelow(mask: Uint8Array, columns: number): number {
  const above = mask.subarray(0, mask.length - columns);
  const pairs = above.reduce((a, v, i) => a + v * (mask[i + columns] ?? 0), 0);
  return pairs / Math.max(1, countOf(above));
}

test("drawBlockMask() of smaller blocks has fewer neighbours masked", () => {
  const neighbours = (maxPatches: number): number => {
    const draw = (seed: number): Uint8Array =>
      drawBlockMask({ rows: 16, columns: 16, target: 60, maxPatches, fill: "under" }, new Rng(seed));
    return Array.from({ length: 100 }, (_, seed) => maskedBelow(draw(seed), 16)).reduce((a, b) => a + b) / 100;
  };
  expect(neighbours(128)).toBeGreaterThan(0.75);
  expect(neighbours(6)).toBeLessThan(0.65);
  expect(drawBlockMask({ rows: 8, columns: 8, target: 9, maxPatches: 0, fill: "under" }, new Rng(1))).toEqual(new Uint8Array(64));
});

test("drawBlockMask() refuses a target that is no number of the grid's patches", () => {
  const draw = (target: number): Uint8Array => drawBlockMask({ rows: 3, columns: 4, target, fill: "exact" }, new Rng(0));
  expect(countOf(draw(12))).toBe(12);
  expect(() => draw(13)).toThrow(ConfigError);
  expect(() => draw(13)).toThrow("Cannot mask 13 patches of a 3 × 4 grid: it has 12; take a whole number from 0 to that");
  for (const target of [-1, 1.5, Number.NaN]) expect(() => draw(target)).toThrow(/Cannot mask/);
});

interface Statistics {
  readonly grid: readonly [number, number];
  readonly target: number;
  readonly max_num_patches: number;
  readonly draws: number;
  readonly count_mean: number;
  readonly count_std: number;
  readonly exactly_target: number;
  readonly centre_probability: number;
  readonly corner_probability: number;
  readonly edge_mid_probability: number;
  readonly vertical_neighbour_also_masked: number;
}

describe.skipIf(!hasGolden("masking", "block_masks"))("drawBlockMask() meets the statistics of the reference", () => {
  const cases = hasGolden("masking", "block_masks") ? (loadGolden("masking", "block_masks").json["generator"] as Statistics[]) : []; // our own reference file
  test.each(cases)("grid $grid, target $target", (s) => {
    const [rows, columns] = s.grid;
    const masks = Array.from({ length: s.draws }, (_, i) =>
      drawBlockMask({ rows, columns, target: s.target, maxPatches: s.max_num_patches, fill: "under" }, new Rng(5, `draw/${i}`)),
    );
    const mean = (of: (mask: Uint8Array) => number): number => masks.reduce((a, m) => a + of(m), 0) / masks.length;
    // both sides are samples of the same size
    const errors = (std: number): number => 4 * std * Math.sqrt(2 / s.draws);
    expect(Math.abs(mean(countOf) - s.count_mean)).toBeLessThan(errors(s.count_std));
    const shares: [number, number][] = [
      [mean((m) => Number(countOf(m) === s.target)), s.exactly_target],
      [mean((m) => m[Math.floor(rows / 2) * columns + Math.floor(columns / 2)] ?? 0), s.centre_probability],
      [mean((m) => m[0] ?? 0), s.corner_probability],
      [mean((m) => m[Math.floor(columns / 2)] ?? 0), s.edge_mid_probability],
    ];
    for (const [mine, reference] of shares) expect(Math.abs(mine - reference)).toBeLessThan(errors(Math.sqrt(reference * (1 - reference))));
    const below = mean((m) => maskedBelow(m, columns));
    expect(Math.abs(below / s.vertical_neighbour_also_masked - 1)).toBeLessThan(0.03);
  });
});
