import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ConfigError, FormatError, Rng } from "../core/index.ts";
import { listDense } from "../data/index.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { exportModel, extractFeatures, nearestNeighbours, openModel } from "../features/index.ts";
import { writeTinyModel } from "../features/testing/tiny-model.ts";
import { encodePng, openEvalPool } from "../images/node/index.ts";
import { maskPng } from "../images/testing/mask-png.ts";
import { weightedVote } from "./knn.ts";
import { evalPatchKnn } from "./patch-eval.ts";
import { patchKnn } from "./patch-knn.ts";
import { patchLabels } from "./patch-labels.ts";
import { choosePatches } from "./patch-sample.ts";
import { Confusion, predictByVote } from "./patch-vote.ts";

/** Side of the pictures: 4 x 4 patches of 6 px, resized to 16 px for a network with patches of 4 px. */
const [SIDE, GRID] = [24, 4];
const VOID = 255;
/** Three classes: two that are hard to tell apart under the noise, and one that no training image shows. */
const COLOURS = [
  [126, 112, 98],
  [106, 120, 106],
  [40, 60, 220],
];
let root = "";
const at = (...parts: readonly string[]): string => join(root, ...parts);

async function write(file: string, content: Uint8Array | string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content);
}

/** A picture of textured stripes with its mask; `classOf` gives the class of a patch. */
async function writePair(
  images: string,
  name: string,
  { classOf, seed }: { readonly classOf: (x: number, y: number) => number; readonly seed: number },
): Promise<void> {
  const rng = new Rng(seed);
  const cell = (i: number): number => classOf(Math.floor(((i % SIDE) * GRID) / SIDE), Math.floor((Math.floor(i / SIDE) * GRID) / SIDE));
  const ids = Array.from({ length: SIDE * SIDE }, (_, i) => cell(i));
  const data = Uint8Array.from({ length: SIDE * SIDE * 3 }, (_, i) => (COLOURS[ids[Math.floor(i / 3)] ?? 0]?.[i % 3] ?? 128) + rng.int(90));
  await write(join(images, `${name}.png`), await encodePng({ width: SIDE, height: SIDE, data }));
  await write(
    join(`${images.replace(/images$/, "masks")}`, `${name}.png`),
    maskPng({ width: SIDE, height: SIDE, samples: ids, filter: (y) => y % 5 }),
  );
}

const halves = (turn: number) => (x: number, y: number) => (turn % 2 === 0 ? Math.floor(x / 2) : Math.floor(y / 2));

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera patch knn "));
  await writeTinyModel(at("model"));
  for (let i = 0; i < 6; i++) await writePair(at("train/images"), `t${i}`, { classOf: halves(i), seed: i });
  for (let i = 0; i < 3; i++)
    await writePair(at("test/images"), `e${i}`, { classOf: (x, y) => (x === 0 && y === 0 ? VOID : halves(i + 1)(x, y)), seed: 50 + i });
});
afterAll(() => rm(root, { recursive: true }));

test("patchLabels() is the majority of each patch's pixels, counted naively", () => {
  fc.assert(
    fc.property(
      fc.record({
        width: fc.integer({ min: 1, max: 23 }),
        height: fc.integer({ min: 1, max: 23 }),
        grid: fc.integer({ min: 1, max: 7 }),
        seed: fc.nat(),
      }),
      ({ width, height, grid, seed }) => {
        const rng = new Rng(seed);
        const ids = Uint8Array.from({ length: width * height }, () => [0, 1, 2, 9][rng.int(4)] ?? 0);
        const labels = patchLabels({ width, height, ids }, { grid, ignore: [9] });
        for (let cell = 0; cell < grid * grid; cell++) {
          const [gx, gy] = [cell % grid, Math.floor(cell / grid)];
          const inside = [...ids.keys()].filter((i) => {
            const [x, y] = [i % width, Math.floor(i / width)];
            return Math.floor(((x + 0.5) * grid) / width) === gx && Math.floor(((y + 0.5) * grid) / height) === gy;
          });
          if (width < grid || height < grid || inside.length === 0) continue; // cells of less than a pixel: below
          const count = (id: number): number => inside.filter((i) => ids[i] === id).length;
          const best = [0, 1, 2].reduce((a, b) => (count(b) > count(a) ? b : a));
          expect(labels[cell]).toBe(count(best) >= count(9) && count(best) > 0 ? best : -1);
        }
      },
    ),
    { numRuns: 120 },
  );
});

test("patchLabels() takes the nearest pixel where patches are smaller, drops void, and takes 16-bit ids", () => {
  const small = patchLabels({ width: 2, height: 1, ids: Uint8Array.of(3, 5) }, { grid: 4, ignore: [] });
  expect([...small]).toEqual([3, 3, 5, 5, 3, 3, 5, 5, 3, 3, 5, 5, 3, 3, 5, 5]);
  const one = (ids: readonly number[], ignore: readonly number[]): readonly number[] => [
    ...patchLabels({ width: ids.length, height: 1, ids: Uint16Array.from(ids) }, { grid: 1, ignore }),
  ];
  expect(one([4000, 4000, 7], [])).toEqual([4000]);
  expect(one([4000, 4000, 7], [4000])).toEqual([-1]);
  expect(one([4, 7, 7, 4], [])).toEqual([4]);
  expect(one([4, 11, 11, 4], [11])).toEqual([4]);
  expect(one([10, 11, 4], [10, 11])).toEqual([-1]); // kinds of void count together
  for (const grid of [0, 1.5])
    expect(() => patchLabels({ width: 1, height: 1, ids: Uint8Array.of(0) }, { grid, ignore: [] })).toThrow(ConfigError);
});

test("choosePatches() draws labelled patches, rising, always the same, each alike", () => {
  const labels = Int32Array.from({ length: 400 }, (_, i) => (i % 4 === 0 ? -1 : i % 3));
  const chosen = choosePatches(labels, { most: 120, stream: "a" });
  expect(chosen).toHaveLength(120);
  expect(chosen).toEqual(choosePatches(labels, { most: 120, stream: "a" }));
  expect(chosen).not.toEqual(choosePatches(labels, { most: 120, stream: "b" }));
  expect([...chosen]).toEqual([...new Set(chosen)].sort((a, b) => a - b));
  expect(chosen.every((i) => (labels[i] ?? -1) >= 0)).toBe(true);
  expect(choosePatches(labels, { most: Infinity, stream: "a" })).toHaveLength(300);
  const hits = new Float64Array(400);
  for (let s = 0; s < 200; s++) for (const i of choosePatches(labels, { most: 120, stream: `s${s}` })) hits[i]!++; // i < 400
  const half = (from: number): number => hits.subarray(from, from + 200).reduce((a, b) => a + b, 0);
  expect(Math.abs(half(0) / half(200) - 1)).toBeLessThan(0.05);
});

test("predictByVote() answers what weightedVote() counts as right", async () => {
  const rng = new Rng(4);
  const draw = (n: number): Float32Array => Float32Array.from({ length: n * 3 }, () => rng.int(5) - 2);
  const [bank, queries] = [draw(30), draw(40)];
  const bankLabels = Int32Array.from({ length: 30 }, () => rng.int(4));
  const neighbours = await nearestNeighbours(bank, queries, { dim: 3, k: 7, threads: 1 });
  const predicted = predictByVote({ neighbours, bankLabels, classes: 4, temperature: 2 });
  const [all] = weightedVote({ neighbours, bankLabels, queryLabels: predicted, classes: 4, ks: [7], temperature: 2 });
  expect(all?.top1).toBe(1);
  expect(() => predictByVote({ neighbours, bankLabels, classes: 4, temperature: 0 })).toThrow(ConfigError);
});

test("Confusion gives accuracy and intersection over union by their definitions", () => {
  const confusion = new Confusion(4);
  confusion.add(Int32Array.of(0, 0, 0, 1), Int32Array.of(0, 0, 1, 1));
  confusion.add(Int32Array.of(1, 1), Int32Array.of(0, 2));
  expect([confusion.accuracy, confusion.total]).toEqual([3 / 6, 6]);
  expect(confusion.scoreOf(0)).toEqual({ iou: 2 / 4, accuracy: 2 / 3, patches: 3 });
  expect(confusion.scoreOf(1)).toEqual({ iou: 1 / 4, accuracy: 1 / 3, patches: 3 });
  expect(confusion.scoreOf(2)).toEqual({ iou: 0, accuracy: 0, patches: 0 });
  expect(confusion.scoreOf(3)).toBeUndefined();
});

/** Everything in one process with loops: cosine of all pairs, votes, counts. */
async function naive(
  k: number,
  temperature: number,
): Promise<{ readonly patchTop1: number; readonly miou: number; readonly patches: number }> {
  using device = openCpu({ threads: 1 });
  const { encoder, preprocessing } = await openModel(at("model"), device);
  using closing = encoder;
  await using pool = openEvalPool({ ...preprocessing, resize: "square", threads: 1, decode: "python", alpha: "drop" });
  const side = async (spec: string): Promise<{ readonly x: readonly number[]; readonly label: number }[]> => {
    const list = await listDense(spec);
    const { features } = await extractFeatures(list.images, { encoder: closing, pool, imageSizePx: 16, pooling: "patch" });
    return list.masks
      .flatMap((mask, i) =>
        Array.from({ length: 16 }, (_, p) => {
          const [c, r] = [p % 4, Math.floor(p / 4)];
          const turn = Number(mask.at(-5)) + (spec.endsWith("test") ? 1 : 0);
          const label = spec.endsWith("test") && p === 0 ? -1 : halves(turn)(c, r);
          const x = [...features.subarray((i * 16 + p) * 12, (i * 16 + p + 1) * 12)];
          const norm = Math.hypot(...x);
          return { x: x.map((v) => v / norm), label };
        }),
      )
      .filter(({ label }) => label >= 0);
  };
  const [bank, queries] = [await side(at("train")), await side(at("test"))];
  const counts = Array.from({ length: 2 }, () => [0, 0]);
  for (const { x, label } of queries) {
    const scored = bank.map((b) => ({ s: b.x.reduce((sum, v, j) => sum + v * (x[j] ?? 0), 0), label: b.label }));
    const votes = [0, 0];
    for (const { s, label: own } of scored.toSorted((a, b) => b.s - a.s).slice(0, k))
      votes[own] = (votes[own] ?? 0) + Math.exp(s / temperature);
    const answer = (votes[1] ?? 0) > (votes[0] ?? 0) ? 1 : 0;
    counts[label]![answer]!++; // both 0 or 1
  }
  const [[a = 0, b = 0] = [], [c = 0, d = 0] = []] = counts;
  return { patchTop1: (a + d) / queries.length, miou: (a / (a + b + c) + d / (b + c + d)) / 2, patches: queries.length };
}

test("evalPatchKnn() equals a brute-force vote over all patches, with void ones left out", async () => {
  for (const [k, temperature] of [
    [1, 0.07],
    [20, 0.07],
    [60, 0.02],
  ] as const) {
    const wanted = await naive(k, temperature);
    const found = await evalPatchKnn({
      model: at("model"),
      train: at("train"),
      test: at("test"),
      k,
      temperature,
      threads: 1,
      batchSize: 2,
    });
    expect(found).toMatchObject({
      trainImages: 6,
      testImages: 3,
      bankPatches: 96,
      testPatches: 45,
      classes: 2,
      dim: 12,
      imageSizePx: 16,
      k,
    });
    expect(found.testPatches).toBe(wanted.patches);
    expect(found.patchTop1).toBeCloseTo(wanted.patchTop1, 10);
    expect(found.miou).toBeCloseTo(wanted.miou, 10);
    expect(found.patchTop1).toBeGreaterThan(0.55); // chance is one half
    expect(found.patchTop1).toBeLessThan(1); // votes differ, or the two would agree too easily
    expect(Object.keys(found.perClass)).toEqual(["0", "1"]);
  }
});

test("evalPatchKnn() bounds the bank and the queries, splits one set, takes other sizes and ids to ignore", async () => {
  const base = { model: at("model"), train: at("train"), threads: 1 };
  const bounded = await evalPatchKnn({ ...base, test: at("test"), maxBank: 30, maxQueries: 10 });
  expect(bounded).toMatchObject({ bankPatches: 30, testPatches: 10 });
  expect(await evalPatchKnn({ ...base, test: at("test"), maxBank: 30, maxQueries: 10 })).toEqual(bounded);
  expect(await evalPatchKnn({ ...base, split: 0.5 })).toMatchObject({ trainImages: 3, testImages: 3, bankPatches: 48, testPatches: 48 });
  expect(await evalPatchKnn({ ...base, test: at("test"), imageSizePx: 32 })).toMatchObject({ imageSizePx: 32, bankPatches: 6 * 64 });
  expect((await evalPatchKnn({ ...base, test: at("test"), ignore: [1, VOID] })).perClass).toEqual({
    0: { iou: 1, accuracy: 1, patches: 21 },
  });
});

test("evalPatchKnn() counts a class that does not vote as missed", async () => {
  await writePair(at("blue/images"), "b0", { classOf: (x) => (x < 2 ? 0 : 2), seed: 9 });
  const found = await evalPatchKnn({ model: at("model"), train: at("train"), test: at("blue"), threads: 1 });
  expect(found.perClass["2"]).toEqual({ iou: 0, accuracy: 0, patches: 8 });
  expect(found.classes).toBe(3);
  expect(found.patchTop1).toBeLessThanOrEqual(0.5);
});

test("evalPatchKnn() refuses bad options, other classes on both sides, and sets that are all void", async () => {
  const run = (more: object): Promise<unknown> =>
    evalPatchKnn({ model: at("model"), train: at("train"), test: at("test"), threads: 1, ...more });
  await expect(run({ imageSizePx: 18 })).rejects.toThrow(/Cannot classify patches at 18 px: patches are 4 px; use 16/);
  for (const bad of [{ k: 0 }, { k: 1.5 }, { maxBank: 0 }, { maxQueries: NaN }, { temperature: 0 }, { imageSizePx: NaN }, { split: 0.2 }])
    await expect(run(bad)).rejects.toThrow(ConfigError);
  await expect(run({ test: undefined })).rejects.toThrow(/\(--test\) or the share to hold out \(--split\)/);
  for (const split of [0, 1, NaN]) await expect(run({ test: undefined, split })).rejects.toThrow(ConfigError);
  await expect(run({ test: undefined, split: 0.1 })).rejects.toThrow(/one side has no image/);
  await expect(run({ test: at("model") })).rejects.toThrow(/Cannot find the masks/);
  await expect(run({ ignore: [0, 1, VOID] })).rejects.toThrow(/all patches of the train images are void/);
  await expect(run({ model: at("nothing") })).rejects.toThrow(FormatError);
  const [train, named] = [await listDense(at("train")), { ...(await listDense(at("test"))), classes: ["a", "b"] }];
  using device = openCpu({ threads: 1 });
  const { encoder, preprocessing } = await openModel(at("model"), device);
  using closing = encoder;
  await using pool = openEvalPool({ ...preprocessing, resize: "square", threads: 1, decode: "python", alpha: "drop" });
  const options = { encoder: closing, pool, imageSizePx: 16, threads: 1 };
  await expect(patchKnn({ train: { ...train, classes: ["b", "a"] }, test: named }, options)).rejects.toThrow(/have other classes/);
  const { perClass } = await patchKnn({ train, test: { ...named, ignore: [VOID], classes: ["red", "green"] } }, options);
  expect(Object.keys(perClass)).toEqual(["red", "green"]);
  await expect(patchKnn({ train, test: train }, { ...options, signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
});

test("evalPatchKnn() of an ONNX file finds what it finds of the weights, and refuses another size than the file's", async () => {
  const sets = { train: at("train"), test: at("test"), threads: 1 };
  await exportModel({ model: at("model"), out: at("model.onnx"), threads: 1, check: false });
  const graph = await evalPatchKnn({ model: at("model.onnx"), ...sets });
  const { patchTop1, miou, trainImages } = await evalPatchKnn({ model: at("model"), ...sets });
  expect(graph).toMatchObject({ patchTop1, miou, trainImages });
  await expect(evalPatchKnn({ model: at("model.onnx"), ...sets, imageSizePx: 20 })).rejects.toThrow(/takes 16x16 px only/);
});

test("evalPatchKnn() stops at a broken image or mask unless it may be left out", async () => {
  for (let i = 0; i < 3; i++) await writePair(at("broken/images"), `t${i}`, { classOf: halves(i), seed: i });
  const over = { model: at("model"), train: at("broken"), test: at("test"), threads: 1 };
  await write(at("broken/images/t0.png"), "");
  await expect(evalPatchKnn(over)).rejects.toThrow(/t0\.png": the file is empty.*--skip-broken/);
  await write(at("broken/masks/t1.png"), "no picture");
  await expect(evalPatchKnn(over)).rejects.toThrow(/Cannot read mask ".*t1\.png": its content is no PNG/);
  const notices: string[] = [];
  const found = await evalPatchKnn({ ...over, skipBroken: true, onNotice: (line) => notices.push(line) });
  expect(found).toMatchObject({ trainImages: 1, bankPatches: 16, testImages: 3 });
  expect(notices.filter((line) => line.startsWith("Left out"))).toHaveLength(2);
});
