import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FormatError, Rng, ShapeError } from "../core/index.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { evalCropBands, writeBandPlanes } from "../images/index.ts";
import { encodePng, loadBands } from "../images/node/index.ts";
import { encodeTiff } from "../images/testing/tiff.ts";
import { embed } from "./embed.ts";
import { loadModel } from "./load-model.ts";
import { openModel } from "./model.ts";
import type { Picture } from "./picture.ts";
import { readFeatureTable } from "./table.ts";
import { TINY, writeTinyModel } from "./testing/tiny-model.ts";

const NUMBERS = { image_mean: [0.1, 0.2, 0.3, 0.4, 0.5], image_std: [0.2, 0.25, 0.3, 0.35, 0.4] };
const [WIDTH, HEIGHT] = [30, 12] as const;
const values = Uint16Array.from(
  { length: WIDTH * HEIGHT * 5 },
  (
    (rng) => () =>
      rng.int(65_536)
  )(new Rng(7)),
);
let root = "";
let model = "";
let grey = "";
let picture = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera bands "));
  [model, grey, picture] = [join(root, "five"), join(root, "grey"), join(root, "data", "a.tif")];
  const sizes = { size: { height: 16, width: 16 }, resample: 3 };
  await writeTinyModel(model, { config: { ...TINY, channels: 5 }, processor: { ...sizes, ...NUMBERS } });
  await writeTinyModel(grey, { config: { ...TINY, channels: 1 }, processor: { ...sizes, image_mean: [0.5], image_std: [0.25] } });
  await mkdir(join(root, "data"));
  await writeFile(picture, encodeTiff([...values], { width: WIDTH, height: HEIGHT, channels: 5, bits: 16 }));
});
afterAll(() => rm(root, { recursive: true }));

function expectNear(mine: ArrayLike<number>, wanted: ArrayLike<number>): void {
  expect(mine.length).toBe(wanted.length);
  Array.from(wanted).forEach((w, i) => expect(mine[i]).toBeCloseTo(w, 5));
}

test("loadModel() embeds a picture of five bands as its network sees them: by path, bytes, 16 bits or floats", async () => {
  using device = openCpu({ threads: 1 });
  const { encoder, preprocessing } = await openModel(model, device);
  using closing = encoder;
  const planes = new Float32Array(5 * 16 * 16);
  const numbers = { mean: NUMBERS.image_mean, std: NUMBERS.image_std };
  writeBandPlanes(evalCropBands(await loadBands({ path: picture }, { channels: 5 }), preprocessing), planes, numbers);
  const { features } = await closing.encode(planes, { pool: "cls", sizePx: 16 });

  await using own = await loadModel(model, { threads: 1 });
  const size = { width: WIDTH, height: HEIGHT };
  const floats = Float32Array.from(values, (x) => x / 65_535);
  const same: Picture[] = [picture, await readFile(picture), { data: values, ...size }, { data: floats, ...size, channels: 5 }];
  for (const found of await own.embed(same)) expectNear(found.cls, features);
  const bytes = Uint8Array.from(values, (x) => x >> 8);
  const asBytes = await own.embed({ data: bytes, ...size });
  const asFloats = await own.embed({ data: Float32Array.from(bytes, (x) => x / 255), ...size });
  expectNear(asBytes.cls, asFloats.cls);
});

test("bands are padded and kept in proportion like colours, by loadModel() and by embed() alike", async () => {
  for (const [resize, grid] of [
    ["stretch", { rows: 4, columns: 4 }],
    ["crop", { rows: 4, columns: 4 }],
    ["pad", { rows: 4, columns: 4 }],
    ["multiple", { rows: 4, columns: 10 }],
  ] as const) {
    await using own = await loadModel(model, { threads: 1, resize });
    const found = await own.embed(picture);
    expect(found.grid, resize).toEqual(grid);
    const out = join(root, `${resize}.safetensors`);
    await embed({ model, data: join(root, "data"), out, resize, threads: 1 });
    expectNear((await readFeatureTable(out)).features, found.cls);
  }
});

test("a network of one channel takes grey pixels and grey files; what has other bands is refused", async () => {
  await using own = await loadModel(grey, { threads: 1 });
  const data = Uint8Array.from({ length: 20 * 20 }, (_, i) => i % 251);
  const file = join(root, "grey.tiff");
  await writeFile(file, encodeTiff([...data], { width: 20, height: 20, channels: 1, bits: 8 }));
  expectNear((await own.embed({ data, width: 20, height: 20 })).cls, (await own.embed(file)).cls);
  await expect(own.embed(await encodePng({ width: 20, height: 20, data: new Uint8Array(1200) }))).rejects.toThrow(FormatError);
  await expect(own.embed(picture)).rejects.toThrow(/it has 5 bands, the network takes 1/);
  await expect(own.embed({ data: new Uint8Array(1200), width: 20, height: 20 })).rejects.toThrow(/3 channels; the network takes 1/);
  await expect(own.embed({ data: new Float32Array(400).fill(3), width: 20, height: 20 })).rejects.toThrow(
    /value 0 is 3; give floats of 0 to 1/,
  );
  await expect(own.embed({ data: new Float32Array(400).fill(NaN), width: 20, height: 20 })).rejects.toThrow(ShapeError);
  // @ts-expect-error: JavaScript callers may pass anything
  await expect(own.embed({ data: Array.from({ length: 400 }, () => 0), width: 20, height: 20 })).rejects.toThrow(ShapeError);
});
