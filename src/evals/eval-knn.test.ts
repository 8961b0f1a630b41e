import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ConfigError, FormatError, Rng } from "../core/index.ts";
import { embed } from "../features/index.ts";
import { writePicture, writeTinyModel } from "../features/testing/tiny-model.ts";
import { writeNpy, writeSafetensors } from "../weights/index.ts";
import { evalKnn } from "./eval-knn.ts";

let root = "";
const at = (...parts: readonly string[]): string => join(root, ...parts);
const CLASSES = { "blue sky": [10, 40, 200], red: [200, 30, 10], grün: [20, 180, 40] };

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera knn "));
  await writeTinyModel(at("model"));
  let seed = 0;
  for (const [side, count] of [
    ["train", 5],
    ["test", 2],
  ] as const)
    for (const [name, colour] of Object.entries(CLASSES))
      for (let i = 0; i < count; i++) await writePicture(at(side, name, `${i}.png`), { colour, seed: seed++ });
  for (const side of ["train", "test"])
    for (const format of ["safetensors", "npy", "csv"])
      await embed({ model: at("model"), data: at(side), out: at(`${side}.${format}`), threads: 1 });
});
afterAll(() => rm(root, { recursive: true }));

const perfect = { top1: { 1: 1, 5: 1 }, top5: { 1: 1, 5: 1 } };
const options = { k: [1, 5], threads: 1 };

test.each(["safetensors", "npy", "csv"])("evalKnn() over .%s tables gives what it gives over images", async (format) => {
  const wanted = { trainImages: 15, testImages: 6, classes: 3, dim: 12, ...perfect };
  expect(await evalKnn({ ...options, train: at(`train.${format}`), test: at(`test.${format}`) })).toEqual(wanted);
  if (format === "csv") expect(await evalKnn({ ...options, model: at("model"), train: at("train"), test: at("test") })).toEqual(wanted);
  // a table on one side, images on the other
  if (format === "npy") expect(await evalKnn({ ...options, model: at("model"), train: at("train.npy"), test: at("test") })).toEqual(wanted);
});

test("evalKnn() with a split holds out every fifth image of each class, the same of a folder and of its table", async () => {
  const wanted = { trainImages: 12, testImages: 3, classes: 3, dim: 12, ...perfect };
  expect(await evalKnn({ ...options, train: at("train.csv"), split: 0.2 })).toEqual(wanted);
  expect(await evalKnn({ ...options, train: at("train"), model: at("model"), split: 0.2 })).toEqual(wanted);
  expect(await evalKnn({ ...options, train: at("train.npy"), split: 0.4 })).toMatchObject({ trainImages: 9, testImages: 6 });
  for (const split of [0, 1, -0.1, NaN]) await expect(evalKnn({ ...options, train: at("train.npy"), split })).rejects.toThrow(ConfigError);
  await expect(evalKnn({ ...options, train: at("train.npy"), split: 0.05 })).rejects.toThrow(/one side has no image; .*--split/);
  await expect(evalKnn({ ...options, train: at("train.npy") })).rejects.toThrow(/\(--test\) or the share to hold out \(--split\)/);
  await expect(evalKnn({ ...options, train: at("train.npy"), test: at("test.npy"), split: 0.2 })).rejects.toThrow(ConfigError);
});

test("evalKnn() takes classes from a file of labels, and tells random labels from right ones", async () => {
  const rng = new Rng(1);
  const names = Object.keys(CLASSES);
  const file = at("random.csv");
  const pictures = names.flatMap((name) => [0, 1, 2, 3, 4].map((i) => join("train", name, `${i}.png`)));
  await writeFile(file, pictures.map((p) => `${p},${names[rng.int(3)] ?? ""}\n`).join(""));
  const random = await evalKnn({ ...options, train: at("train"), test: at("train.npy"), model: at("model"), labels: file });
  expect(random.top1[5]).toBeLessThan(0.8);
  expect(random.testImages).toBe(15);
});

test("evalKnn() refuses what has no classes, no model, tokens, other widths, or features that are not finite", async () => {
  const run = (more: object): Promise<unknown> => evalKnn({ ...options, train: at("train.npy"), test: at("test.npy"), ...more });
  await expect(run({ train: at("train", "red") })).rejects.toThrow(/its images have no classes/);
  await expect(run({ train: at("train"), test: at("test") })).rejects.toThrow(/there is no network; give --model/);
  await expect(run({ train: at("train"), model: at("model"), pool: "patch" })).rejects.toThrow(/k-NN needs one vector an image/);
  await expect(run({ test: at("nothing.npy") })).rejects.toThrow(/it is not there/);
  await embed({ model: at("model"), data: at("test"), out: at("patches.npy"), pool: "patch", threads: 1 });
  await expect(run({ test: at("patches.npy") })).rejects.toThrow(/its features have shape \[6,16,12\]; embed with one vector/);
  await embed({ model: at("model"), data: at("test"), out: at("wide.npy"), pool: "cls+mean", threads: 1 });
  await expect(run({ test: at("wide.npy") })).rejects.toThrow(/Cannot compare features: one side has 12 numbers, the other 24/);
  await embed({ model: at("model"), data: at("test"), out: at("plain.npy"), labels: "none", threads: 1 });
  await expect(run({ test: at("plain.npy") })).rejects.toThrow(/it has no labels; embed a folder/);
  const bad = { dtype: "f32", shape: [1, 12], data: new Float32Array(12).fill(NaN) } as const;
  await writeSafetensors(at("nan.safetensors"), new Map([["features", bad]]));
  await writeFile(at("nan.safetensors.json"), JSON.stringify({ paths: ["x"], labels: ["red"] }));
  await expect(run({ test: at("nan.safetensors") })).rejects.toThrow(/the queries has features that are not finite/);
  await expect(run({ train: at("nan.safetensors"), test: at("nan.safetensors") })).rejects.toThrow(/the bank has features/);
  await writeNpy(at("empty.npy"), { dtype: "f32", shape: [0, 12], data: new Float32Array(0) });
  await writeFile(at("empty.npy.json"), JSON.stringify({ paths: [], labels: [] }));
  await expect(run({ train: at("empty.npy") })).rejects.toThrow(FormatError);
  for (const k of [[0], [1.5], []]) await expect(run({ k })).rejects.toThrow(ConfigError);
});

test("evalKnn() stops at a broken image unless it may be left out", async () => {
  const broken = at("test", "red", "broken.png");
  await writeFile(broken, "");
  const over = { ...options, model: at("model"), train: at("train.npy"), test: at("test") };
  await expect(evalKnn(over)).rejects.toThrow(new RegExp(`${basename(dirname(broken))}/broken\\.png": the file is empty.*--skip-broken`));
  expect(await evalKnn({ ...over, skipBroken: true })).toMatchObject({ testImages: 6, ...perfect });
});
