import { copyFile, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCpu } from "../engine/runtime/index.ts";
import { evalKnn } from "../evals/index.ts";
import { embed, openModel, readFeatureTable } from "../features/index.ts";
import { evalCropBands, writeBandPlanes } from "../images/index.ts";
import { loadBands } from "../images/node/index.ts";
import { encodeTiff } from "../images/testing/tiff.ts";
import { inflatePatchEmbed } from "../nn/index.ts";
import { readSafetensors, writeFileAtomic } from "../weights/index.ts";
import type { UserConfig } from "./config/index.ts";
import { distill } from "./distill.ts";
import { readConfig } from "./loop/prepare.ts";
import { checkpointDir, readMetrics } from "./run/index.ts";
import { bandRun as bandRunOf, COUNT, field, SIDE, writeBands } from "./testing/band-run.ts";
import { checkpointFiles, tinyRun, trainUntil } from "./testing/tiny-run.ts";
import { train } from "./train.ts";

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-bands-"));
  await writeBands(dir);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const bandRun = (data: string, channels: number, more: UserConfig = {}): UserConfig => bandRunOf(join(dir, data), channels, more);

/** Mean and deviation of a band over all pictures, each with the same weight: they have one size. */
function moments(channels: number, most: number): { readonly mean: number[]; readonly std: number[] } {
  const all = Array.from({ length: COUNT }, (_, i) => field(i, channels, most)).flat();
  const bands = Array.from({ length: channels }, (_, c) => all.filter((_x, i) => i % channels === c).map((v) => v / most));
  const mean = bands.map((xs) => xs.reduce((a, b) => a + b, 0) / xs.length);
  const std = bands.map((xs, c) => Math.sqrt(xs.reduce((a, x) => a + (x - (mean[c] ?? 0)) ** 2, 0) / xs.length));
  return { mean, std };
}

function expectClose(found: readonly number[] | undefined, wanted: readonly number[]): void {
  expect(found).toHaveLength(wanted.length);
  wanted.forEach((x, i) => expect(found?.[i]).toBeCloseTo(x, 6));
}

describe("pictures of five bands of 16 bits", () => {
  const out = (): string => join(dir, "run-five");

  test("a run measures their mean and std, goes on bit for bit after a stop, and k-NN and pictures see all bands", async () => {
    const knn = { train: join(dir, "five"), everyEpochs: 1, k: 3 };
    const config = bandRun("five", 5, { knn, log: { imagesEverySteps: 2 } });
    await train({ config, out: out() });
    const { config: frozen, reasons } = await readConfig(out());
    const { mean, std } = moments(5, 65_535);
    expectClose(frozen.augment.mean, mean);
    expectClose(frozen.augment.std, std);
    expect(reasons["augment.mean"]).toBe(`measured on ${COUNT} of the pictures, each of 5 channels`);
    expect(frozen.augment).toMatchObject({ brightness: 0.4, contrast: 0.4, saturation: 0, hue: 0, grayscale: 0 });
    expect(reasons["augment.hue"]).toMatch(/pictures of 5 channels: hue, saturation and grey are of red, green and blue/);
    expect(reasons["augment.brightness"]).toMatch(/each with factors of its own/);
    const lines = await readMetrics(out());
    expect(lines.flatMap((l) => l["loss"] ?? []).every(Number.isFinite)).toBe(true);
    expect(lines.flatMap((l) => l["knnTop1"] ?? []).length).toBeGreaterThan(0);
    expect(await readFile(join(out(), "report.html"), "utf8")).toContain("Attention");

    const parted = join(dir, "run-five-parted");
    await trainUntil(2, { config, out: parted });
    await train({ out: parted, resume: true });
    const names = ["student", "teacher", "optimizer", "method"];
    const [a, b] = [await checkpointFiles(out(), 3, names), await checkpointFiles(parted, 3, names)];
    names.forEach((name, i) => expect(a[i]?.equals(b[i] ?? Buffer.alloc(0)), name).toBe(true));
  });

  test("the exported folder is opened, embeds what its network gives, and is evaluated", async () => {
    const model = join(out(), "exported", "last");
    const { config: frozen } = await readConfig(out());
    const { mean, std } = frozen.augment;
    expect(JSON.parse(await readFile(join(model, "preprocessor_config.json"), "utf8"))).toMatchObject({ image_mean: mean, image_std: std });
    expect(JSON.parse(await readFile(join(model, "config.json"), "utf8"))).toMatchObject({ num_channels: 5 });
    expect(await readFile(join(model, "README.md"), "utf8")).toContain("Pictures have 5 channels");
    const table = join(dir, "five.safetensors");
    expect(await embed({ model, data: join(dir, "five"), out: table, threads: 1 })).toMatchObject({ images: COUNT, shape: [COUNT, 16] });

    using device = openCpu({ threads: 1 });
    const { encoder, preprocessing } = await openModel(model, device);
    using closing = encoder;
    const planes = new Float32Array(5 * 16 * 16);
    const image = await loadBands({ path: join(dir, "five", "class-0", "00.tif") }, { channels: 5 });
    writeBandPlanes(evalCropBands(image, preprocessing), planes, { mean, std });
    const { features } = await closing.encode(planes, { pool: "cls", sizePx: 16 });
    const stored = await readFeatureTable(table);
    expect(stored.features.length).toBe(COUNT * 16);
    features.forEach((x, i) => expect(stored.features[i]).toBeCloseTo(x, 4));
    expect(new Set(stored.features.slice(0, 16)).size).toBeGreaterThan(8);

    const score = await evalKnn({ model, train: join(dir, "five"), split: 0.34, k: [1], threads: 1 });
    expect(score).toMatchObject({ classes: 2, dim: 16 });
    expect(score.trainImages + score.testImages).toBe(COUNT);
    const padded = await embed({ model, data: join(dir, "five"), out: join(dir, "pad.npy"), resize: "pad", threads: 1 });
    expect(padded.shape).toEqual([COUNT, 16]);
    await expect(embed({ model, data: join(dir, "images"), out: join(dir, "no.npy"), threads: 1 })).rejects.toThrow(
      /00\.png": it has 3 bands, the network takes 5; give pictures of 5, or set model\.channels=3/,
    );
  });

  test("distillation gives students the teacher's channels and numbers", async () => {
    const to = join(dir, "student");
    const config = {
      data: { path: join(dir, "five"), workers: 1 },
      train: { batchSize: 4, steps: 1, threads: 2 },
      log: { imagesEverySteps: 0 },
    };
    await distill({ teacher: out(), models: ["vit_nano_patch4"], config, out: to });
    const [taught, own] = [await readConfig(to), await readConfig(out())];
    expect(taught.config.distill.students.map(({ model }) => model.channels)).toEqual([5]);
    expect(taught.config.augment).toEqual(own.config.augment);

    // without heads the folder teaches by its features, pictures normalised as its processor says
    const features = join(dir, "features-student");
    await distill({ teacher: join(out(), "exported", "last"), models: ["vit_nano_patch4"], config, out: features });
    const { config: settled } = await readConfig(features);
    expect(settled.distill.students.map(({ model }) => model.channels)).toEqual([5]);
    expect([settled.augment.mean, settled.augment.std]).toEqual([own.config.augment.mean, own.config.augment.std]);
    expect(settled.distill.objective).toBe("features");
  });
});

test("the Gram stage of DINOv3 sees all bands, and begins with the numbers of the run before", async () => {
  const [first, out] = [join(dir, "run-v3"), join(dir, "run-gram")];
  const v3 = { ...bandRun("five", 5), method: "dinov3" } as const;
  await train({ config: v3, out: first });
  const later = { train: { steps: 2 }, checkpoint: { everySteps: 100 }, log: { imagesEverySteps: 0 } };
  await train({ config: { ...later, method: "dinov3", stage: "gram", init: { from: first } }, out });
  expect((await readMetrics(out)).at(-1)?.["loss.gram"]).toBeGreaterThan(0);
  const [before, after] = [await readConfig(first), await readConfig(out)];
  expect(after.config.augment).toEqual(before.config.augment);
  expect(after.reasons["augment.mean"]).toBe("as in the run it goes on from");
});

test("pictures of one channel train with given numbers, and their dry run is drawn", async () => {
  const config = bandRun("grey", 1, { augment: { mean: [0.25], std: [0.125] }, train: { batchSize: 4, steps: 2, threads: 2 } });
  const out = join(dir, "run-grey");
  const { contactSheet, text } = await train({ config, out: join(dir, "dry"), dryRun: true });
  expect(text).toMatch(/mean, std +0\.\d+; 0\.\d+ \(the run normalises by 0\.250; 0\.125\)/);
  expect((await readFile(contactSheet ?? "")).length).toBeGreaterThan(1000);
  await train({ config, out });
  const { tensors } = await readSafetensors(join(checkpointDir(out, 2), "student.safetensors"));
  expect(tensors.get("backbone.patch_embed.proj.weight")?.shape).toEqual([16, 1, 4, 4]);
  using device = openCpu({ threads: 1 });
  const { encoder, mean, std } = await openModel(join(out, "exported", "last"), device);
  using closing = encoder;
  expect([closing.config.channels, mean, std]).toEqual([1, [0.25], [0.125]]);
});

test("--init inflates a patch embedding of three channels and says so", async () => {
  const [colours, out] = [join(dir, "run-colours"), join(dir, "run-inflated")];
  const base = tinyRun(dir, "dinov2", 1);
  await train({ config: base, out: colours });
  const notes: string[] = [];
  const init = { from: join(colours, "exported", "last"), headWarmupSteps: 1 };
  const config = bandRun("five", 5, { init, train: { batchSize: 4, steps: 1, threads: 2 } });
  await train({ config, out, onNotice: (line) => notes.push(line) });
  expect(notes.join("\n")).toMatch(/Patch embedding "backbone\.patch_embed\.proj\.weight" of three channels inflated to 5/);
  const name = "backbone.patch_embed.proj.weight";
  const from = (await readSafetensors(join(checkpointDir(colours, 1), "teacher.safetensors"))).tensors.get(name);
  const to = (await readSafetensors(join(checkpointDir(out, 1), "student.safetensors"))).tensors.get(name);
  expect(from?.shape).toEqual([16, 3, 4, 4]);
  // the backbone is frozen while the heads warm up
  if (from !== undefined) expect(to).toEqual(inflatePatchEmbed(from, 5));
});

test("a picture of another number of bands is left out and named, a set of such pictures refused; a band that says nothing is refused", async () => {
  await expect(train({ config: bandRun("images", 5), out: join(dir, "none") })).rejects.toThrow(
    /none of 12 images looked at can be read \(.*it has 3 bands, the network takes 5; .*set model\.channels=3/,
  );
  await mkdir(join(dir, "mixed"));
  for (let i = 0; i < COUNT; i++)
    await copyFile(join(dir, "five", `class-${i % 2}`, `${String(i).padStart(2, "0")}.tif`), join(dir, "mixed", `${i}.tif`));
  await copyFile(join(dir, "grey", "00.tiff"), join(dir, "mixed", "odd.tif"));
  const notes: string[] = [];
  const mixed = bandRun("mixed", 5, { train: { batchSize: 13, steps: 1, threads: 2 } });
  const { failedImages } = await train({ config: mixed, out: join(dir, "odd"), onNotice: (line) => notes.push(line) });
  expect(failedImages).toBe(1);
  expect(notes.join("\n")).toMatch(/odd\.tif": it has 1 band, the network takes 5; give pictures of 5, or set model\.channels=1/);
  const flat = encodeTiff(
    field(1, 2, 255).map((v, i) => (i % 2 === 1 ? 51 : v)),
    { width: SIDE, height: SIDE, channels: 2, bits: 8 },
  );
  await writeFileAtomic(join(dir, "flat", "0.tif"), flat);
  await writeFileAtomic(join(dir, "flat", "1.tif"), flat);
  await expect(train({ config: bandRun("flat", 2), out: join(dir, "run-flat") })).rejects.toThrow(
    /Cannot measure channel 2 of 2: it is 0\.2\d* everywhere on the 2 pictures looked at/,
  );
});
