import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ConfigError, FormatError, Rng } from "../../core/index.ts";
import { DINO_AUGMENT, drawView, viewPath, type CropsConfig } from "../crops.ts";
import { evalCrop } from "../eval-crop.ts";
import { makeImage, type RgbImage } from "../image.ts";
import { IMAGENET_MEAN, IMAGENET_STD, normalise } from "../pixel-ops.ts";
import { renderView } from "../render.ts";
import { encodePng } from "./encode.ts";
import { openEvalPool } from "./eval-pool.ts";
import { openCropPool, type CropPool, type CropPoolOptions } from "./pool.ts";
import type { ImageRef } from "./decode.ts";

const CROPS: CropsConfig = {
  globalSizePx: 12,
  localSizePx: 6,
  localCount: 3,
  globalScaleRange: [0.4, 1],
  localScaleRange: [0.05, 0.4],
  interpolation: "bicubic",
};
const OPTIONS: CropPoolOptions = { threads: 1, seed: 7, crops: CROPS, augment: DINO_AUGMENT, decode: "managed", alpha: "white" };

function picture(n: number): RgbImage {
  return makeImage(
    20 + n,
    16,
    Uint8Array.from({ length: (20 + n) * 48 }, (_, i) => Math.imul(i + 1, 77 + n) & 255),
  );
}

let folder = "";
let refs: ImageRef[] = [];
let broken: ImageRef;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tricera pool "));
  const members = await Promise.all([3, 4].map((n) => encodePng(picture(n))));
  const shard = join(folder, "shard.tar");
  await writeFile(shard, Buffer.concat([Buffer.alloc(512), ...members]));
  for (let n = 0; n < 3; n++) await writeFile(join(folder, `${n} ü.png`), await encodePng(picture(n)));
  refs = [0, 1, 2].map((n) => ({ sampleId: n, path: join(folder, `${n} ü.png`) }));
  refs.push({ sampleId: 3, path: shard, offset: 512, bytes: members[0]?.length ?? 0 });
  refs.push({ sampleId: 4, path: shard, offset: 512 + (members[0]?.length ?? 0), bytes: members[1]?.length ?? 0 });
  broken = { sampleId: 9, path: join(folder, "broken.jpg") };
  await writeFile(broken.path, "not a picture");
});
afterAll(() => rm(folder, { recursive: true }));

async function withPool<T>(options: Partial<CropPoolOptions>, use: (pool: CropPool) => Promise<T>): Promise<T> {
  await using pool = openCropPool({ ...OPTIONS, ...options });
  return await use(pool);
}

test("CropPool.crop() gives the crops that drawView() and renderView() give, crop-major", async () => {
  const batch = await withPool({}, (pool) => pool.crop(refs, { epoch: 2 }));
  expect([...batch.sampleIds]).toEqual([0, 1, 2, 3, 4]);
  expect([batch.globals.length, batch.locals.length]).toEqual([2 * 5 * 432, 3 * 5 * 108]);
  for (let n = 0; n < 5; n++)
    for (let view = 0; view < 5; view++) {
      const image = picture(n);
      const size = view < 2 ? 432 : 108;
      const plan = drawView(new Rng(7, viewPath(2, n, view)), {
        width: image.width,
        height: image.height,
        view,
        crops: CROPS,
        augment: DINO_AUGMENT,
      });
      const wanted = new Float32Array(size);
      renderView(image, plan, wanted);
      const row = (view < 2 ? view : view - 2) * 5 + n;
      expect((view < 2 ? batch.globals : batch.locals).slice(row * size, row * size + size)).toEqual(wanted);
    }
});

test("a Gram teacher's crops show the same parts as the globals, larger and with their own colours", async () => {
  const plain = await withPool({}, (pool) => pool.crop(refs, { epoch: 2 }));
  const batch = await withPool({ crops: { ...CROPS, gramSizePx: 24 } }, (pool) => pool.crop(refs, { epoch: 2 }));
  expect(batch.globals).toEqual(plain.globals);
  expect(plain.gramCrops).toBeUndefined();
  const { gramCrops = new Float32Array() } = batch;
  expect(gramCrops.length).toBe(2 * 5 * 3 * 24 * 24);
  for (const view of [0, 1]) {
    const rng = new Rng(OPTIONS.seed, viewPath(2, 1, view));
    const plan = drawView(rng, { width: 21, height: 16, view, crops: CROPS, augment: DINO_AUGMENT });
    const expected = new Float32Array(3 * 24 * 24);
    renderView(picture(1), { ...plan, sizePx: 24, jitter: [], grayscale: false, blurSigma: 0, solarizeThreshold: 256 }, expected, 0);
    const row = (view * 5 + 1) * expected.length;
    expect(gramCrops.subarray(row, row + expected.length)).toEqual(expected);
  }
});

test("a variant's crops have its sizes; asking for one that is not there is refused", async () => {
  const larger = { ...CROPS, globalSizePx: 20, localCount: 1 };
  const alone = await withPool({ crops: larger }, (pool) => pool.crop(refs, { epoch: 2 }));
  await using pool = openCropPool({ ...OPTIONS, variants: [CROPS, larger] });
  const [own, other] = [await pool.crop(refs, { epoch: 2 }), await pool.crop(refs, { epoch: 2, variant: 1 })];
  expect([own.variant, own.globals.length, other.variant]).toEqual([undefined, 2 * 5 * 432, 1]);
  expect([other.globals, other.locals]).toEqual([alone.globals, alone.locals]);
  await expect(pool.crop(refs, { epoch: 2, variant: 2 })).rejects.toThrow(/variant 2: the pool has 2/);
});

test("CropPool.crop() gives the same bits for any thread count, batch mates, cache and recycling", async () => {
  const one = await withPool({}, (pool) => pool.crop(refs, { epoch: 0 }));
  const three = await withPool({ threads: 3, cacheBytes: 0 }, async (pool) => {
    const [other, batch] = await Promise.all([pool.crop(refs.slice(2), { epoch: 1 }), pool.crop(refs, { epoch: 0 })]);
    pool.recycle(other);
    return batch;
  });
  expect(three).toEqual(one);
  const again = await withPool({ threads: 2 }, async (pool) => {
    pool.recycle(await pool.crop(refs, { epoch: 5 }));
    const alone = await pool.crop(refs.slice(4), { epoch: 0 });
    expect(alone.globals.slice(0, 432)).toEqual(one.globals.slice(4 * 432, 5 * 432));
    return await pool.crop(refs, { epoch: 0 });
  });
  expect(again).toEqual(one);
  const later = await withPool({}, (pool) => pool.crop(refs, { epoch: 1 }));
  expect(later.globals).not.toEqual(one.globals);
});

test("CropPool.crop() replaces broken pictures, as often as needed, and reports them", async () => {
  const gone = { sampleId: 8, path: join(folder, "gone.png") };
  const asked: number[] = [];
  const replace = (failed: ImageRef): ImageRef | undefined => {
    asked.push(failed.sampleId);
    return failed === gone || failed.sampleId === 8 ? refs[1] : gone;
  };
  const [batch, plain] = await withPool({ threads: 2 }, async (pool) => [
    await pool.crop([refs[0]!, broken, refs[2]!], { epoch: 0 }, replace),
    await pool.crop(refs.slice(0, 3), { epoch: 0 }),
  ]);
  expect(asked).toEqual([9, 8]);
  expect(batch.failed.map((f) => f.path)).toEqual([broken.path, gone.path]);
  expect(batch.failed[0]?.reason).toMatch(/Cannot decode image .*broken\.jpg": its content is no JPEG/);
  expect(batch.failed[1]?.reason).toMatch(/Cannot read image .*gone\.png": ENOENT/);
  expect({ ...batch, failed: [] }).toEqual(plain);
});

test("CropPool.crop() without a replacement throws the picture's error, and the pool goes on", async () => {
  await withPool({}, async (pool) => {
    await expect(pool.crop([broken], { epoch: 0 })).rejects.toThrow(FormatError);
    await expect(pool.crop([broken], { epoch: 0 }, (f) => f)).rejects.toThrow(/broken\.jpg/);
    expect((await pool.crop([refs[0]!], { epoch: 0 })).failed).toEqual([]);
    expect((await pool.crop([], { epoch: 0 })).globals.length).toBe(0);
  });
});

test("openCropPool() refuses bad sizes; a closed pool says so", async () => {
  expect(() => openCropPool({ ...OPTIONS, threads: 0 })).toThrow(ConfigError);
  expect(() => openCropPool({ ...OPTIONS, crops: { ...CROPS, localSizePx: 1.5 } })).toThrow(/localSizePx is 1.5/);
  const pool = openCropPool(OPTIONS);
  const underWay = expect(pool.crop(refs, { epoch: 0 })).rejects.toThrow(/the pool is closed/);
  await pool[Symbol.asyncDispose]();
  await underWay;
  await expect(pool.crop(refs, { epoch: 0 })).rejects.toThrow(/the pool is closed/);
});

test("EvalPool.load() keeps the order, equals evalCrop(), and lists broken pictures with zeros in their rows", async () => {
  const crop = { imageSizePx: 8, resize: "short-side", cropRatio: 0.8 } as const;
  await using pool = openEvalPool({ ...crop, threads: 2, decode: "python", alpha: "drop" });
  const { images, failed } = await pool.load([refs[4]!, refs[0]!, broken, refs[3]!]);
  for (const [row, n] of [
    [0, 4],
    [1, 0],
    [3, 3],
  ] as const)
    expect(images.slice(row * 192, row * 192 + 192)).toEqual(
      normalise(evalCrop(picture(n), crop), { mean: IMAGENET_MEAN, std: IMAGENET_STD }),
    );
  expect(new Set(images.slice(384, 576))).toEqual(new Set([0]));
  expect(failed.map(({ index, path }) => ({ index, path }))).toEqual([{ index: 2, path: broken.path }]);
  expect(() => openEvalPool({ ...crop, cropRatio: 2, threads: 1, decode: "python", alpha: "drop" })).toThrow(/cropRatio is 2/);
});
