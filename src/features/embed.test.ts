import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FormatError, PlatformError } from "../core/index.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { evalCrop, normalise } from "../images/index.ts";
import { loadImage } from "../images/node/index.ts";
import { readNpy, readSafetensors, writeSafetensors } from "../weights/index.ts";
import { embed, type EmbedOptions } from "./embed.ts";
import { loadModel } from "./load-model.ts";
import { openModel } from "./model.ts";
import { readFeatureTable } from "./table.ts";
import { randomWeights, TINY, writePicture, writeTinyModel } from "./testing/tiny-model.ts";

let root = "";
let model = "";
let data = "";
/** In the order of the table. */
const NAMES = ["blue/1.png", "blue/2 ü.png", "red, dark/3.png", "red, dark/4.png", "red, dark/5.png"];
const LABELS = ["blue", "blue", "red, dark", "red, dark", "red, dark"];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera embed "));
  [model, data] = [join(root, "model"), join(root, "pictures ü")];
  await writeTinyModel(model);
  for (const [i, name] of NAMES.entries())
    await writePicture(join(data, name), { colour: name.startsWith("blue") ? [10, 20, 200] : [200, 30, 10], seed: i });
});
afterAll(() => rm(root, { recursive: true, force: true }));

const out = (name: string): string => join(root, "out", name);
const run = (name: string, more: Partial<EmbedOptions> = {}): ReturnType<typeof embed> =>
  embed({ model, data, out: out(name), threads: 1, batchSize: 2, ...more });

function expectNear(mine: ArrayLike<number>, wanted: ArrayLike<number>, tolerance = 1e-5): void {
  expect(mine.length).toBe(wanted.length);
  const far = Array.from(wanted).findIndex((w, i) => !(Math.abs(Number(mine[i]) - w) <= tolerance));
  expect(far, `value ${far} is ${mine[far]}, not ${wanted[far]}`).toBe(-1);
}

/** All tokens of one picture, straight from decoder and network. */
async function tokensOf(name: string, sizePx = 16): Promise<Float32Array> {
  using device = openCpu({ threads: 1 });
  const { encoder, mean, std } = await openModel(model, device);
  using closing = encoder;
  const image = await loadImage({ path: join(data, name) }, { decode: "python" });
  const planes = normalise(evalCrop(image, { imageSizePx: sizePx, resize: "square", kernel: "bicubic" }), { mean, std });
  const whole = sizePx - (sizePx % 4); // what the network sees of it
  const seen = planes.filter((_, i) => i % sizePx < whole && Math.floor(i / sizePx) % sizePx < whole);
  return (await closing.encode(seen, { pool: "all", sizePx: whole })).features.slice();
}

describe("embed() writes tables", () => {
  test.each(["t.safetensors", "t.npy", "t.csv", "t.parquet"])(
    "%s: sorted paths, labels, features, and how they were made",
    async (name) => {
      const result = await run(name);
      expect(result).toEqual({ out: out(name), images: 5, dim: 12, shape: [5, 12], failedImages: 0 });
      const table = await readFeatureTable(out(name));
      expect(table.shape).toEqual([5, 12]);
      expect(table.paths).toEqual(NAMES.map((n) => join(data, n)));
      expect(table.labels).toEqual(LABELS);
      for (const [i, picture] of NAMES.entries())
        expectNear(table.features.subarray(i * 12, (i + 1) * 12), (await tokensOf(picture)).subarray(0, 12));
      const side = JSON.parse(await readFile(`${out(name)}.json`, "utf8")) as object; // written above
      expect(side).toEqual({
        formatVersion: 1,
        model,
        arch: null,
        pool: "cls",
        layers: [-1],
        normalize: false,
        preprocessing: {
          imageSizePx: 16,
          resize: "square",
          kernel: "bicubic",
          mean: [0.5, 0.5, 0.5],
          std: [0.25, 0.25, 0.25],
          decode: "python",
          alpha: "drop",
        },
        shape: [5, 12],
        paths: NAMES.map((n) => join(data, n)),
        labels: LABELS,
      });
    },
  );

  test("all formats hold the same numbers, to the bit", async () => {
    const [a, b, c, d] = await Promise.all(["t.safetensors", "t.npy", "t.csv", "t.parquet"].map((name) => readFeatureTable(out(name))));
    expect(b).toEqual(a);
    expect(d).toEqual(a);
    expect(c).toEqual(a);
    const { tensors } = await readSafetensors(out("t.safetensors"));
    expect([...tensors].map(([name, t]) => [name, t.dtype, t.shape])).toEqual([["features", "f32", [5, 12]]]);
    expect(await readNpy(out("t.npy"))).toEqual(tensors.get("features"));
    const [header, first] = (await readFile(out("t.csv"), "utf8")).split("\n");
    expect(header).toBe(`filenames,${Array.from({ length: 12 }, (_, j) => `embedding_${j}`).join(",")},labels`);
    expect(first?.split(",")).toHaveLength(14);
  });

  test("pools are parts of the tokens: cls, mean, cls+mean, gem, patch, all", async () => {
    const table = async (pool: NonNullable<EmbedOptions["pool"]>): Promise<{ shape: readonly number[]; features: Float32Array }> => {
      await run(`pool-${pool}.safetensors`, { pool });
      return readFeatureTable(out(`pool-${pool}.safetensors`));
    };
    const all = await table("all");
    expect(all.shape).toEqual([5, 17, 12]);
    const token = (i: number, t: number): Float32Array => all.features.subarray((i * 17 + t) * 12, (i * 17 + t + 1) * 12);
    const [cls, mean, both, patch] = [await table("cls"), await table("mean"), await table("cls+mean"), await table("patch")];
    expect([cls.shape, mean.shape, both.shape, patch.shape]).toEqual([
      [5, 12],
      [5, 12],
      [5, 24],
      [5, 16, 12],
    ]);
    const gem = await table("gem");
    expect(gem.shape).toEqual([5, 12]);
    for (let i = 0; i < 5; i++) {
      const generalised = Float32Array.from({ length: 12 }, (_, j) => {
        let sum = 0;
        for (let t = 1; t < 17; t++) sum += Math.max(Number(token(i, t)[j]), 1e-6) ** 3;
        return Math.cbrt(sum / 16);
      });
      expectNear(gem.features.subarray(i * 12, (i + 1) * 12), generalised);
      expectNear(cls.features.subarray(i * 12, (i + 1) * 12), token(i, 0));
      expectNear(patch.features.subarray(i * 192, (i + 1) * 192), all.features.subarray((i * 17 + 1) * 12, (i + 1) * 17 * 12));
      const average = Float32Array.from({ length: 12 }, (_, j) => {
        let sum = 0;
        for (let t = 1; t < 17; t++) sum += Number(token(i, t)[j]);
        return sum / 16;
      });
      expectNear(mean.features.subarray(i * 12, (i + 1) * 12), average);
      expectNear(both.features.subarray(i * 24, (i + 1) * 24), [...token(i, 0), ...average]);
    }
  });

  test("normalize scales every vector to length 1, each token by itself", async () => {
    for (const pool of ["cls+mean", "patch"] as const) {
      await run("unit.npy", { pool, normalize: true, overwrite: true });
      await run("raw.npy", { pool, overwrite: true });
      const [unit, raw] = [await readFeatureTable(out("unit.npy")), await readFeatureTable(out("raw.npy"))];
      const d = unit.shape.at(-1) ?? 1;
      for (let at = 0; at < unit.features.length; at += d) {
        const length = Math.hypot(...raw.features.subarray(at, at + d));
        expectNear(
          unit.features.subarray(at, at + d),
          raw.features.subarray(at, at + d).map((v) => v / length),
        );
      }
    }
  });

  test("other sizes, batches and thread counts give the same rows; without classes there are no labels", async () => {
    await run("one.npy", { batchSize: 1, threads: 2, data: join(data, "blue"), imageSizePx: 24 });
    await run("three.npy", { batchSize: 3, data: join(data, "blue"), imageSizePx: 24 });
    const [one, three] = [await readFeatureTable(out("one.npy")), await readFeatureTable(out("three.npy"))];
    expectNear(one.features, three.features);
    expect(one.labels).toBeUndefined();
    expect(one.paths).toEqual(NAMES.slice(0, 2).map((n) => join(data, n)));
    expect((await run("none.csv", { labels: "none" })).images).toBe(5);
    expect((await readFeatureTable(out("none.csv"))).labels).toBeUndefined();
  });
});

describe("embed() with broken images", () => {
  let mixed = "";
  beforeAll(async () => {
    mixed = join(root, "mixed");
    for (const [i, name] of ["a/1.png", "a/3.png", "b/4.png"].entries())
      await writePicture(join(mixed, name), { colour: [9, 9, 9], seed: i });
    await writeFile(join(mixed, "a/2 bad.png"), "no picture");
    await writeFile(join(mixed, "b/5.jpg"), "");
  });

  test("stops at the first one and writes nothing, unless they may be left out", async () => {
    await expect(run("mixed.npy", { data: mixed })).rejects.toThrow(FormatError);
    await expect(run("mixed.npy", { data: mixed })).rejects.toThrow(/Cannot decode image ".*2 bad\.png": .*--skip-broken/);
    expect((await readdir(join(root, "out"))).filter((n) => n.startsWith("mixed"))).toEqual([]);
  });

  test("leaves them out, tells of each, lists them in OUT.failed.jsonl; a later run without any removes the list", async () => {
    const notices: string[] = [];
    const result = await run("mixed.csv", { data: mixed, skipBroken: true, onNotice: (line) => notices.push(line) });
    expect(result).toMatchObject({ images: 3, failedImages: 2 });
    expect((await readFeatureTable(out("mixed.csv"))).paths).toEqual(["a/1.png", "a/3.png", "b/4.png"].map((n) => join(mixed, n)));
    const lines = (await readFile(`${out("mixed.csv")}.failed.jsonl`, "utf8")).trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line) as object)).toEqual([
      { path: join(mixed, "a/2 bad.png"), reason: expect.stringMatching(/^Cannot decode image ".*2 bad\.png": its content is no JPEG/) },
      { path: join(mixed, "b/5.jpg"), reason: expect.stringMatching(/the file is empty/) },
    ]);
    expect(notices).toEqual([expect.stringMatching(/Left out: Cannot decode/), expect.stringMatching(/Left out: .*empty/)]);
    await run("mixed.csv", { overwrite: true });
    expect((await readdir(join(root, "out"))).filter((n) => n.startsWith("mixed"))).toEqual(["mixed.csv", "mixed.csv.json"]);
  });

  test("refuses a set without one good image", async () => {
    await mkdir(join(root, "bad"));
    await writeFile(join(root, "bad", "1.png"), "");
    await expect(run("bad.npy", { data: join(root, "bad"), skipBroken: true })).rejects.toThrow(/none of 1 images could be read/);
  });
});

test("a size that leaves pixels over: the network sees whole patches from the left and the top, and that is said", async () => {
  const said: string[] = [];
  const { shape } = await run("edges.npy", { imageSizePx: 18, pool: "patch", onNotice: (line) => said.push(line) });
  expect(shape).toEqual([5, 16, 12]);
  const { features } = await readFeatureTable(out("edges.npy"));
  expectNear(features.subarray(0, 16 * 12), (await tokensOf(NAMES[0] ?? "", 18)).subarray(-16 * 12));
  expect(said.join()).toMatch(/18 px are no multiple of patches of 4 px: 2 px at the right and at the bottom .*--image-size 16 or 20/);
});

describe("embed() refuses", () => {
  test("to overwrite, unless told to; a folder; a suffix that is no format; tokens in a .csv: all before it computes", async () => {
    await run("kept.npy");
    const before = await readFile(out("kept.npy"));
    const nowhere = join(root, "no such model");
    await expect(run("kept.npy", { model: nowhere })).rejects.toThrow(/Cannot write ".*kept\.npy": it is there already; give --overwrite/);
    expect(await readFile(out("kept.npy"))).toEqual(before);
    await run("kept.npy", { overwrite: true, pool: "mean" });
    expect(await readFile(out("kept.npy"))).not.toEqual(before);
    await mkdir(out("folder.npy"));
    await expect(run("folder.npy", { overwrite: true, model: nowhere })).rejects.toThrow(/it is a folder/);
    await expect(run("t.txt", { model: nowhere })).rejects.toThrow(/its suffix names no table format; use \.safetensors, \.npy, \.csv/);
    await expect(run("p.csv", { pool: "patch", model: nowhere })).rejects.toThrow(/a row of \.csv holds one vector/);
    for (const imageSizePx of [3, 16.5, Number.NaN])
      await expect(run("s.npy", { imageSizePx })).rejects.toThrow(/Cannot embed at (3|16\.5|NaN) px: patches are 4 px; /);
    await expect(run("d.npy", { data: join(root, "nothing") })).rejects.toThrow(PlatformError);
  });

  test("a model that is not there, or is none, and offers the nearest name", async () => {
    await expect(run("m.npy", { model: join(root, "modle") })).rejects.toThrow(
      /Cannot open model ".*modle": it does not exist; did you mean "model"\?/,
    );
    await expect(run("m.npy", { model: data })).rejects.toThrow(/it holds blue, red, dark and no model\.safetensors/);
    await expect(run("m.npy", { model: join(model, "config.json") })).rejects.toThrow(/it is a file of JSON; give the file of weights/);
    await expect(run("m.npy", { model: "vit_tiny_patch16" })).rejects.toThrow(/an architecture without weights/);
    await expect(run("m.npy", { model: join(model, "model.safetensors") })).rejects.toThrow(
      /width 12 and depth 2 do not say how many heads .*\(--arch\)/,
    );
    await expect(run("m.npy", { model: join(model, "model.safetensors"), arch: "vit_tny_patch16" })).rejects.toThrow(
      /did you mean "vit_tiny_patch16"/,
    );
    expect((await readdir(join(root, "out"))).filter((n) => n.startsWith("m.npy"))).toEqual([]);
  });

  test("weights that are missing, of another shape, of more blocks, or not finite", async () => {
    const broken = async (name: string, change: (weights: ReturnType<typeof randomWeights>) => void): Promise<string> => {
      const weights = randomWeights({ ...TINY, depth: 3 }, 1);
      const dir = join(root, name);
      await writeTinyModel(dir);
      change(weights);
      await writeSafetensors(join(dir, "model.safetensors"), weights);
      return dir;
    };
    const two = (weights: ReturnType<typeof randomWeights>): void => {
      for (const key of weights.keys()) if (key.startsWith("blocks.2.")) weights.delete(key);
    };
    const missing = await broken("missing", (w) => {
      two(w);
      w.delete("norm.bias");
    });
    await expect(run("w.npy", { model: missing })).rejects.toThrow(/1 missing \(norm\.bias \[12\]\)/);
    const shape = await broken("shape", (w) => {
      two(w);
      w.set("norm.bias", { dtype: "f32", shape: [6], data: new Float32Array(6) });
    });
    await expect(run("w.npy", { model: shape })).rejects.toThrow(/1 wrongly shaped \(norm\.bias \[6\] instead of \[12\]\)/);
    const more = await broken("more", () => undefined);
    await expect(run("w.npy", { model: more })).rejects.toThrow(/12 extra \(blocks\.2\.norm1\.weight, blocks\.2\.norm1\.bias/);
    const infinite = await broken("infinite", (w) => {
      two(w);
      w.set("norm.bias", { dtype: "f32", shape: [12], data: new Float32Array(12).fill(NaN) });
    });
    await expect(run("w.npy", { model: infinite })).rejects.toThrow(/Cannot embed ".*1\.png": its features are not finite/);
  });
});

describe("embed() of layers, registers and attention", () => {
  test("layers have an axis of their own, or stand side by side where a row is one vector", async () => {
    await run("l.safetensors", { layers: [-1, -2] });
    await run("l.parquet", { layers: [-1, -2] });
    await run("l0.npy", { layers: [0] });
    const [axis, side, first] = [
      await readFeatureTable(out("l.safetensors")),
      await readFeatureTable(out("l.parquet")),
      await readFeatureTable(out("l0.npy")),
    ];
    expect([axis.shape, side.shape, first.shape]).toEqual([
      [5, 2, 12],
      [5, 24],
      [5, 12],
    ]);
    expect(side.features).toEqual(axis.features);
    const last = await readFeatureTable(out("t.safetensors"));
    for (let i = 0; i < 5; i++) {
      expectNear(axis.features.subarray(i * 24, i * 24 + 12), last.features.subarray(i * 12, (i + 1) * 12));
      expectNear(axis.features.subarray(i * 24 + 12, (i + 1) * 24), first.features.subarray(i * 12, (i + 1) * 12));
    }
    await run("lp.npy", { layers: [0, 1], pool: "patch" });
    expect((await readNpy(out("lp.npy"))).shape).toEqual([5, 2, 16, 12]);
    await expect(run("l9.npy", { layers: [9] })).rejects.toThrow(/Cannot take layers 9: the network has 2 blocks/);
    await expect(run("lr.npy", { pool: "registers" })).rejects.toThrow(/Cannot give registers: the network has none/);
  });

  test("attention is a tensor beside the features; each head's weights over the patches sum to less than one", async () => {
    await run("att.safetensors", { attention: true });
    const { tensors } = await readSafetensors(out("att.safetensors"));
    expect([...tensors].map(([name, t]) => [name, t.shape])).toEqual([
      ["features", [5, 12]],
      ["attention", [5, 2, 16]],
    ]);
    const maps = tensors.get("attention")?.data as Float32Array; // f32, above
    for (let at = 0; at < maps.length; at += 16) {
      const sum = maps.subarray(at, at + 16).reduce((a, b) => a + b, 0);
      expect(sum).toBeGreaterThan(0.3);
      expect(sum).toBeLessThan(1); // the class token keeps the rest
    }
    expect((await readFeatureTable(out("att.safetensors"))).features).toEqual((await readFeatureTable(out("t.safetensors"))).features);
    await expect(run("att.npy", { attention: true })).rejects.toThrow(/a \.npy has no place for attention maps; use \.safetensors/);
  });
});

describe("embed() fits pictures of other shapes", () => {
  test.each(["stretch", "crop", "pad", "multiple"] as const)("--resize %s gives what loadModel() gives", async (resize) => {
    await run(`${resize}.npy`, { resize });
    const table = await readFeatureTable(out(`${resize}.npy`));
    await using loaded = await loadModel(model, { threads: 1, resize });
    const found = await loaded.embed(NAMES.map((name) => join(data, name)));
    for (const [i, { cls }] of found.entries()) expectNear(table.features.subarray(i * 12, (i + 1) * 12), cls);
    const { preprocessing } = JSON.parse(await readFile(out(`${resize}.npy.json`), "utf8")) as { preprocessing: { policy?: string } };
    expect(preprocessing.policy).toBe(resize === "pad" || resize === "multiple" ? resize : undefined);
  });

  test("tokens of sizes that differ are refused; broken pictures are listed", async () => {
    await expect(run("m.npy", { resize: "multiple", pool: "patch" })).rejects.toThrow(/Cannot write tokens of pictures of several sizes/);
    const mixed = join(root, "mixed");
    for (const resize of ["pad", "multiple"] as const)
      expect(await run(`broken-${resize}.npy`, { data: mixed, resize, skipBroken: true })).toMatchObject({ images: 3, failedImages: 2 });
  });
});
