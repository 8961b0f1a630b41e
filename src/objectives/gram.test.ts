import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ConfigError, Rng } from "../core/index.ts";
import { expectClose, goldenTensor, goldenTolerance, hasGolden, loadGolden } from "../core/testing/golden.ts";
import { gradients } from "../engine/grad/index.ts";
import { Builder, type Tensor } from "../engine/trace/index.ts";
import { interpolationMatrix } from "../nn/index.ts";
import { gramLoss, type GramLossOptions, resizeFeatures } from "./index.ts";
import { RUNNERS, runObjective, type Tracer } from "./testing/run.ts";

interface GramCase {
  readonly images: number;
  readonly grid: readonly [number, number];
  readonly d: number;
  readonly normalized: boolean;
  readonly img_level: boolean;
  readonly remove_neg: boolean;
  readonly remove_only_teacher_neg: boolean;
  readonly tokens_used: "all" | "masked" | "unmasked";
  readonly teacher_grid: readonly [number, number] | null;
}

const gridOf = ([rows, columns]: readonly [number, number]): { rows: number; columns: number } => ({ rows, columns });

describe("gramLoss() meets its formula", () => {
  const names = ["image", "batch", "unnormalised", "remove_neg", "remove_teacher_neg", "masked", "unmasked", "highres"];
  const cases = names.flatMap((name) => RUNNERS.map((runner) => ({ name: `gram_${name}`, runner })));
  test.for(cases)("$name, $runner", async ({ name, runner }, { skip }) => {
    skip(!hasGolden("losses", name));
    const golden = loadGolden("losses", name);
    const c = golden.json["config"] as GramCase; // our own reference file
    const p = c.grid[0] * c.grid[1];
    const from = c.teacher_grid ?? c.grid;
    const trace = ({ input }: Tracer): Record<string, Tensor> => {
      const teacher = resizeFeatures(input("teacher", [c.images, from[0] * from[1], c.d]), { from: gridOf(from), to: gridOf(c.grid) });
      const used = c.tokens_used;
      const options: GramLossOptions = {
        normalize: c.normalized,
        level: c.img_level ? "image" : "batch",
        removeNegative: c.remove_neg,
        removeOnlyTeacherNegative: c.remove_only_teacher_neg,
        ...(used !== "all" && { tokens: { mask: input("mask", [c.images, p]), used } }),
      };
      const loss = gramLoss(input("student", [c.images, p, c.d]), teacher, options);
      return c.teacher_grid === null ? { loss } : { loss, resized: teacher };
    };
    const values = {
      student: goldenTensor(golden, "x.student"),
      teacher: goldenTensor(golden, "x.teacher"),
      ...(c.tokens_used !== "all" && { mask: goldenTensor(golden, "mask") }),
    };
    const y = await runObjective(trace, { values, wrt: ["student"], runner });
    const tolerance = goldenTolerance(golden);
    expectClose(y.get("loss"), goldenTensor(golden, "y.loss").data as Float32Array, { ...tolerance, what: "loss" });
    expectClose(y.get("g.student"), goldenTensor(golden, "g.student").data as Float32Array, { ...tolerance, what: "gradient" });
    if (c.teacher_grid !== null)
      expectClose(y.get("resized"), goldenTensor(golden, "y.teacher_resized").data as Float32Array, { ...tolerance, what: "resized" });
  });
});

/** The loss of one image as it is written down. */
function naiveGram(student: number[][], teacher: number[][]): number {
  const cosine = (a: number[], b: number[]): number =>
    a.reduce((s, v, i) => s + v * (b[i] ?? 0), 0) / (Math.hypot(...a) * Math.hypot(...b));
  let sum = 0;
  for (const i of student.keys())
    for (const j of student.keys()) sum += (cosine(student[i]!, student[j]!) - cosine(teacher[i]!, teacher[j]!)) ** 2; // indices of both
  return sum / student.length ** 2;
}

const drawn = (rng: Rng, p: number, d: number): number[][] =>
  Array.from({ length: p }, () => Array.from({ length: d }, () => rng.normal()));

test("gramLoss() is its naive loop, and 0 for a student that is the teacher turned and scaled", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 7 }), fc.nat(), async (p, seed) => {
      const rng = new Rng(seed);
      const [s, t] = [drawn(rng, p, 2), drawn(rng, p, 2)];
      const turned = t.map(([x = 0, y = 0]) => [3 * (0.6 * x - 0.8 * y), 3 * (0.8 * x + 0.6 * y)]);
      const trace = ({ input }: Tracer): Record<string, Tensor> => ({ loss: gramLoss(input("s", [1, p, 2]), input("t", [1, p, 2])) });
      const of = async (a: number[][]): Promise<ArrayLike<number>> =>
        (await runObjective(trace, { values: { s: a.flat(), t: t.flat() } })).get("loss");
      expectClose(await of(s), [naiveGram(s, t)], { atol: 1e-9, rtol: 1e-6 });
      expectClose(await of(turned), [0], { atol: 1e-12, rtol: 0 });
    }),
    { numRuns: 30 },
  );
});

test("gramLoss() of masked patches ignores the others, and is 0 where none is masked", async () => {
  const rng = new Rng(2);
  const [s, t] = [drawn(rng, 6, 3), drawn(rng, 6, 3)];
  const mask = [1, 0, 1, 0, 0, 1];
  const trace = ({ input }: Tracer): Record<string, Tensor> => {
    const [student, teacher] = [input("s", [1, 6, 3]), input("t", [1, 6, 3])];
    const of = (name: string): Tensor =>
      gramLoss(student, teacher, { level: "batch", tokens: { mask: input(name, [1, 6]), used: "masked" } });
    return { loss: of("mask"), none: of("none") };
  };
  const y = await runObjective(trace, { values: { s: s.flat(), t: t.flat(), mask, none: [0, 0, 0, 0, 0, 0] }, wrt: ["s"] });
  const kept = (rows: number[][]): number[][] => rows.filter((_, i) => mask[i] === 1);
  expectClose(y.get("loss"), [naiveGram(kept(s), kept(t))], { atol: 1e-9, rtol: 1e-6 });
  expect(Array.from(y.get("none"))).toEqual([0]);
  const slopes = Array.from(y.get("g.s"));
  expect(mask.map((_, i) => slopes.slice(3 * i, 3 * i + 3).some((v) => v !== 0))).toEqual(mask.map((m) => m === 1));
});

test("gramLoss() sends no gradient to the teacher", () => {
  const b = new Builder();
  const [s, t] = [b.input("s", [1, 4, 3]), b.input("t", [1, 4, 3])];
  const [gs, gt] = gradients(gramLoss(s, t), [s, t]);
  expect(gs).toBeDefined();
  expect(gt).toBeUndefined();
});

test("gramLoss() refuses features of other shapes and options that exclude each other", () => {
  const b = new Builder();
  const [s, t, mask] = [b.input("s", [2, 4, 3]), b.input("t", [2, 4, 3]), b.input("mask", [2, 4])];
  expect(() => gramLoss(s, b.input("other", [2, 9, 3]))).toThrow(/Cannot read float32\[2,9,3\] as "2 4 3"/);
  expect(() => gramLoss(s, t, { removeNegative: true, removeOnlyTeacherNegative: true })).toThrow(ConfigError);
  expect(() => gramLoss(s, t, { tokens: { mask, used: "masked" } })).toThrow(/set level to "batch"/);
  expect(() => gramLoss(s, t, { level: "batch", tokens: { mask: b.input("short", [2, 3]), used: "masked" } })).toThrow(/as "2 4"/);
});

test("resizeFeatures() is the product with the whole interpolation matrix, made of two small ones", async () => {
  const [from, to, d] = [{ rows: 6, columns: 8 }, { rows: 3, columns: 11 }, 2];
  const rng = new Rng(3);
  const maps = [drawn(rng, 48, d), drawn(rng, 48, d)];
  const y = await runObjective(
    ({ input, builder }) => {
      const x = input("x", [2, 48, d]);
      expect(resizeFeatures(x, { from, to: from })).toBe(x);
      const resized = resizeFeatures(x, { from, to });
      expect(builder.nodes.map((n) => n.op).filter((op) => op === "dot")).toHaveLength(2);
      expect(new Set(builder.nodes.map((n) => n.op))).toEqual(new Set(["constant", "broadcast", "dot", "reshape"]));
      return { resized };
    },
    { values: { x: maps.flat(2) } },
  );
  const matrix = interpolationMatrix(from, to, "size");
  const wanted = maps.map((map) =>
    Array.from({ length: 33 }, (_, i) =>
      Array.from({ length: d }, (__, c) => map.reduce((s, row, j) => s + (matrix[i * 48 + j] ?? 0) * (row[c] ?? 0), 0)),
    ),
  );
  expectClose(y.get("resized"), wanted.flat(2), { atol: 1e-6, rtol: 1e-6 });
});

test("resizeFeatures() refuses a grid that is not that of the patches", () => {
  const x = new Builder().input("x", [2, 12, 3]);
  expect(() => resizeFeatures(x, { from: { rows: 3, columns: 3 }, to: { rows: 2, columns: 2 } })).toThrow(
    "Cannot resize float32[2,12,3]: it holds 12 patches, not 3 × 3; name the grid of the patches",
  );
});
