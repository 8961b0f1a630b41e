import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ConfigError, Rng } from "../../core/index.ts";
import { evalCropBands, writeBandPlanes } from "../bands.ts";
import { cleanBandView, drawBandView, renderBandView } from "../band-views.ts";
import { DINO_AUGMENT, DINO_CROPS, viewPath } from "../crops.ts";
import { encodeTiff } from "../testing/tiff.ts";
import { decodeBands } from "./decode-bands.ts";
import { openEvalPool } from "./eval-pool.ts";
import { openCropPool } from "./pool.ts";

const CROPS = { ...DINO_CROPS, globalSizePx: 8, localSizePx: 4, localCount: 2, gramSizePx: 12 };
const NUMBERS = { mean: [0.1, 0.2, 0.3, 0.4, 0.5], std: [0.5, 0.4, 0.3, 0.2, 0.1] };
const AUGMENT = { ...DINO_AUGMENT, ...NUMBERS, saturation: 0, hue: 0, grayscale: 0 };
const RULES = { decode: "managed", alpha: "drop" } as const;

function tiff(seed: number, channels: number): Uint8Array {
  const rng = new Rng(seed);
  const values = Array.from({ length: 20 * 16 * channels }, () => rng.int(65_536));
  return encodeTiff(values, { width: 20, height: 16, channels, bits: 16 });
}

let folder = "";
const files = [tiff(0, 5), tiff(1, 5), tiff(2, 4)];
const refs = files.map((_, n) => ({ sampleId: n, path: "" }));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tricera bands "));
  for (const [n, bytes] of files.entries()) {
    const path = join(folder, `${n}.tif`);
    await writeFile(path, bytes);
    refs[n] = { sampleId: n, path };
  }
});
afterAll(() => rm(folder, { recursive: true }));

test("CropPool.crop() gives the views of drawBandView() and renderBandView() with one or two threads, cached or not", async () => {
  const wanted = { globals: new Float32Array(4 * 5 * 64), locals: new Float32Array(4 * 5 * 16), gramCrops: new Float32Array(4 * 5 * 144) };
  for (const [slot, bytes] of files.slice(0, 2).entries()) {
    const image = await decodeBands(bytes, { channels: 5 });
    for (let view = 0; view < 4; view++) {
      const plan = drawBandView(new Rng(7, viewPath(3, slot, view)), { width: 20, height: 16, view, crops: CROPS, augment: AUGMENT });
      const row = (view % 2) * 2 + slot;
      renderBandView(image, plan, view < 2 ? wanted.globals : wanted.locals, row * 5 * plan.sizePx ** 2);
      if (view < 2) renderBandView(image, cleanBandView(plan, 12), wanted.gramCrops, row * 5 * 144);
    }
  }
  for (const threads of [1, 2]) {
    await using pool = openCropPool({ threads, seed: 7, crops: CROPS, augment: AUGMENT, ...RULES });
    for (let again = 0; again < 2; again++)
      expect(await pool.crop(refs.slice(0, 2), { epoch: 3 })).toEqual({ ...wanted, sampleIds: Int32Array.of(0, 1), failed: [] });
  }
});

test("EvalPool.load() gives all bands, and names a picture of another number", async () => {
  const crop = { imageSizePx: 8, resize: "square" } as const;
  await using pool = openEvalPool({ ...crop, ...NUMBERS, ...RULES, threads: 1 });
  const { images, failed } = await pool.load(refs);
  const wanted = new Float32Array(3 * 5 * 64);
  for (const n of [0, 1])
    writeBandPlanes(evalCropBands(await decodeBands(files[n] ?? new Uint8Array(), { channels: 5 }), crop), wanted, {
      ...NUMBERS,
      offset: n * 5 * 64,
    });
  expect(images).toEqual(wanted);
  expect(failed.map(({ index, reason }) => [index, reason.replace(folder, "")])).toEqual([
    [2, 'Cannot decode image "/2.tif": it has 4 bands, the network takes 5; give pictures of 5, or set model.channels=4'],
  ]);
});

test("pools refuse mean and std of different numbers of channels", () => {
  const std = [1, 1, 1];
  expect(() => openCropPool({ threads: 1, seed: 1, crops: CROPS, augment: { ...AUGMENT, std }, ...RULES })).toThrow(ConfigError);
  expect(() => openEvalPool({ threads: 1, imageSizePx: 8, resize: "square", ...NUMBERS, std, ...RULES })).toThrow(
    /std 3; give one of each/,
  );
});
