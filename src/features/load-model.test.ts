import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ConfigError, FormatError, ShapeError } from "../core/index.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { evalCrop, normalise } from "../images/index.ts";
import { loadImage } from "../images/node/index.ts";
import { fitPicture, multipleSize } from "./fit.ts";
import { loadModel } from "./load-model.ts";
import { openModel } from "./model.ts";
import type { Picture } from "./picture.ts";
import { TINY, writePicture, writeTinyModel } from "./testing/tiny-model.ts";

const REGISTERS = { ...TINY, registers: 2, layerScale: 1, maskToken: true, posInterpolation: "size-antialias" } as const;
let root = "";
let plain = "";
let withRegisters = "";
let picture = "";
let other = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera load "));
  [plain, withRegisters] = [join(root, "plain"), join(root, "registers")];
  [picture, other] = [join(root, "1 ü.png"), join(root, "2.png")];
  await writeTinyModel(plain);
  await writeTinyModel(withRegisters, { config: REGISTERS });
  await writePicture(picture, { colour: [10, 20, 200], seed: 1 });
  await writePicture(other, { colour: [200, 90, 20], seed: 2 });
});
afterAll(() => rm(root, { recursive: true }));

/** Tokens and attention straight from the network. */
async function direct(model: string, path: string): Promise<{ tokens: Float32Array; attention: Float32Array | undefined }> {
  using device = openCpu({ threads: 1 });
  const { encoder, mean, std } = await openModel(model, device);
  using closing = encoder;
  const image = await loadImage({ path }, { decode: "python" });
  const planes = normalise(evalCrop(image, { imageSizePx: 16, resize: "square", kernel: "bicubic" }), { mean, std });
  const { features, attention } = await closing.encode(planes, { pool: "all", sizePx: 16, attention: true });
  return { tokens: features.slice(), attention: attention?.slice() };
}

function expectNear(mine: ArrayLike<number>, wanted: ArrayLike<number>, tolerance = 1e-5): void {
  expect(mine.length).toBe(wanted.length);
  const far = Array.from(wanted).findIndex((w, i) => !(Math.abs(Number(mine[i]) - w) <= tolerance));
  expect(far, `value ${far} is ${mine[far]}, not ${wanted[far]}`).toBe(-1);
}

test("loadModel() gives class token, registers, patches, grid and attention of a picture", async () => {
  const { tokens, attention } = await direct(withRegisters, picture);
  await using model = await loadModel(withRegisters, { threads: 1 });
  expect([model.width, model.heads, model.patchSizePx, model.imageSizePx, model.device]).toEqual([12, 2, 4, 16, "cpu"]);
  const found = await model.embed(picture, { attention: true });
  expectNear(found.cls, tokens.subarray(0, 12));
  expectNear(found.registers, tokens.subarray(12, 36));
  expectNear(found.patches, tokens.subarray(36));
  expect(found.grid).toEqual({ rows: 4, columns: 4 });
  expectNear(found.attention ?? [], attention ?? []);
  expect(found.attention).toHaveLength(2 * 16);
  expect(found.layers).toBeUndefined();
  expect((await model.embed(picture)).attention).toBeUndefined();
});

test("a path, the file's bytes and its raw pixels give the same features; grey and alpha are understood", async () => {
  await using model = await loadModel(plain, { threads: 1 });
  const wanted = await model.embed(picture);
  const { width, height, data } = await loadImage({ path: picture }, { decode: "python" });
  const rgba = Uint8ClampedArray.from({ length: width * height * 4 }, (_, i) => (i % 4 === 3 ? 7 : Number(data[(i >> 2) * 3 + (i % 4)])));
  const same: Picture[] = [await readFile(picture), { data, width, height }, { data: rgba, width, height, channels: 4 }];
  for (const image of same) expect((await model.embed(image)).cls).toEqual(wanted.cls);
  const grey = Uint8Array.from({ length: 20 * 20 }, (_, i) => i % 251);
  const tripled = Uint8Array.from({ length: 3 * 20 * 20 }, (_, i) => Math.floor(i / 3) % 251);
  expect(await model.embed({ data: grey, width: 20, height: 20 })).toEqual(await model.embed({ data: tripled, width: 20, height: 20 }));
  await using white = await loadModel(plain, { threads: 1, alpha: "white" });
  const clear = new Uint8Array(16 * 16 * 4);
  const paper = new Uint8Array(16 * 16 * 3).fill(255);
  expect(await white.embed({ data: clear, width: 16, height: 16 })).toEqual(await white.embed({ data: paper, width: 16, height: 16 }));
});

test("an array gives one result each, in order, equal to single calls; calls side by side do not mix", async () => {
  await using model = await loadModel(plain, { threads: 1 });
  const [a, b] = [await model.embed(picture), await model.embed(other)];
  const many = await model.embed([picture, other, other, picture, picture]);
  for (const [i, wanted] of [a, b, b, a, a].entries()) {
    expectNear(many[i]?.cls ?? [], wanted.cls);
    expectNear(many[i]?.patches ?? [], wanted.patches);
  }
  expect(await model.embed([])).toEqual([]);
  const [x, y, [z]] = await Promise.all([model.embed(picture), model.embed(other), model.embed([picture])]);
  expect([x, y, z]).toEqual([a, b, a]);
});

test("layers are the blocks' outputs after the final norm; the last one equals the features", async () => {
  await using model = await loadModel(withRegisters, { threads: 1 });
  const found = await model.embed(picture, { layers: [-1, 0] });
  expect(found.layers).toHaveLength(2);
  expect(found.layers?.[0]).toEqual({ cls: found.cls, registers: found.registers, patches: found.patches });
  const first = found.layers?.[1]?.patches ?? new Float32Array();
  expect(first).toHaveLength(16 * 12);
  // a fresh network's final norm has weight 1 and bias 0: every token is centred
  for (let t = 0; t < 16; t++) {
    const token = first.subarray(t * 12, (t + 1) * 12);
    expect(Math.abs(token.reduce((sum, v) => sum + v, 0))).toBeLessThan(1e-4);
  }
  expect(first).not.toEqual(found.patches);
  for (const [layers, state] of [
    [[2], /the network has 2 blocks; give whole numbers from -2 to 1/],
    [[-3], /the network has 2 blocks/],
    [[0.5], /the network has 2 blocks/],
    [[1, -1], /one comes twice/],
    [[], /none is named/],
  ] as const) {
    await expect(model.embed(picture, { layers })).rejects.toThrow(state);
    await expect(model.embed(picture, { layers })).rejects.toThrow(ConfigError);
  }
});

test("resize policies: stretch, crop, pad and multiple give grids that fit, and other sizes may be asked for", async () => {
  const wide = { data: Uint8Array.from({ length: 30 * 12 * 3 }, (_, i) => (i * 7) % 256), width: 30, height: 12 };
  const gridOf = async (resize: "stretch" | "crop" | "pad" | "multiple", imageSizePx = 16): Promise<unknown> => {
    await using model = await loadModel(plain, { threads: 1, resize, imageSizePx });
    return (await model.embed(wide)).grid;
  };
  expect(await gridOf("stretch")).toEqual({ rows: 4, columns: 4 });
  expect(await gridOf("crop", 24)).toEqual({ rows: 6, columns: 6 });
  expect(await gridOf("pad")).toEqual({ rows: 4, columns: 4 });
  expect(await gridOf("multiple")).toEqual({ rows: 4, columns: 10 });
  await using model = await loadModel(plain, { threads: 1, resize: "multiple" });
  const both = await model.embed([wide, picture, wide]);
  expect(both.map((f) => f.grid.columns)).toEqual([10, 4, 10]); // 20x18 at 16 px is 17.8 px wide: 4.4 patches
});

test("loadModel() and embed() refuse what cannot be: sizes, policies, pictures, pixels; a disposed model", async () => {
  await expect(loadModel(join(root, "nothing"))).rejects.toThrow(/Cannot open model/);
  await expect(loadModel(plain, { imageSizePx: 18, threads: 1 })).rejects.toThrow(/Cannot embed at 18 px: patches are 4 px; use 16 or 20/);
  await expect(loadModel(plain, { imageSizePx: NaN, threads: 1 })).rejects.toThrow(ConfigError);
  // @ts-expect-error: JavaScript callers may pass anything
  await expect(loadModel(plain, { resize: "squash" })).rejects.toThrow(/no such policy; use stretch, crop, pad, multiple/);
  const model = await loadModel(plain, { threads: 1 });
  await expect(model.embed(join(root, "none.png"))).rejects.toThrow(FormatError);
  await expect(model.embed(Buffer.from("no picture"))).rejects.toThrow(/Cannot decode image/);
  await expect(model.embed([picture, Buffer.alloc(0)])).rejects.toThrow(/the file is empty/);
  // @ts-expect-error: as above
  await expect(model.embed(7)).rejects.toThrow(/Cannot embed number: it is no picture/);
  // @ts-expect-error: as above
  await expect(model.embed(null)).rejects.toThrow(/Cannot embed null: it is no picture/);
  for (const [length, width, height] of [
    [10, 4, 4],
    [0, 0, 0],
    [12, 2, -2],
    [80, 4, 4],
  ] as const)
    await expect(model.embed({ data: new Uint8Array(length), width, height })).rejects.toThrow(ShapeError);
  await expect(model.embed(picture, { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
  const pending = model.embed(picture); // what failed before spoils nothing
  let isDone = false;
  void pending.then(() => (isDone = true));
  void model.dispose();
  await model.dispose(); // the second call waits, too
  expect(isDone).toBe(true);
  expect((await pending).cls).toHaveLength(12);
  await expect(model.embed(picture)).rejects.toThrow(/the model is disposed of/);
});

test("fitPicture() pads with zeros around the whole picture, and keeps proportions to the patch", () => {
  const image = { data: new Uint8Array(30 * 12 * 3).fill(255), width: 30, height: 12 };
  const preprocessing = { imageSizePx: 20, resize: "square", mean: [0, 0, 0], std: [1, 1, 1] } as const;
  const { planes, sizePx } = fitPicture(image, { preprocessing, patchSizePx: 4, resize: "pad" });
  expect(sizePx).toBe(20);
  for (let c = 0; c < 3; c++) for (let y = 0; y < 20; y++) expect(planes[(c * 20 + y) * 20 + 7]).toBe(y >= 6 && y < 14 ? 1 : 0); // 20x8 px in the middle
  for (const [width, height, wanted] of [
    [30, 12, { height: 20, width: 52 }],
    [12, 30, { height: 52, width: 20 }],
    [1, 1000, { height: 20_000, width: 20 }],
  ] as const)
    expect(multipleSize({ width, height }, { shortPx: 20, patchSizePx: 4 })).toEqual(wanted);
});
