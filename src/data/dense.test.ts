import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ConfigError, FormatError } from "../core/index.ts";
import { encodeJpeg, encodePng } from "../images/node/index.ts";
import { maskPng } from "../images/testing/mask-png.ts";
import { holdOutDense, listDense, loadDenseMask } from "./dense.ts";
import { DATA_SHEET, readDataSheet } from "./dense-sheet.ts";

let root = "";
const at = (...parts: readonly string[]): string => join(root, ...parts);
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera dense "));
});
afterAll(() => rm(root, { recursive: true }));

async function write(file: string, content: Uint8Array | string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content);
}

async function writeImage(file: string, width = 6): Promise<void> {
  const image = { width, height: 4, data: new Uint8Array(width * 12).fill(80) };
  await write(file, file.endsWith(".jpg") ? await encodeJpeg(image) : await encodePng(image));
}

const writeMask = (file: string, id = 1): Promise<void> =>
  write(file, maskPng({ width: 6, height: 4, samples: Array.from({ length: 24 }, (_, i) => (i === 0 ? id : 0)) }));

/** A set of images and masks of these names. */
async function writeSet(images: string, masks: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    await writeImage(at(images, `${name}.jpg`));
    await writeMask(at(masks, `${name}.png`));
  }
}

test("listDense() pairs CamVid's folders, whose 11 is void, in the fixed order of images", async () => {
  await writeSet("camvid/train", "camvid/trainannot", ["b", "a", "z/c"]);
  const list = await listDense(at("camvid/train"));
  expect(list.images.entries.map(({ path }) => path)).toEqual(["a.jpg", "b.jpg", "z/c.jpg"].map((n) => at("camvid/train", n)));
  expect(list.masks).toEqual(["a.png", "b.png", "z/c.png"].map((n) => at("camvid/trainannot", n)));
  expect(list.ignore).toEqual([11]);
  expect(list.classes).toHaveLength(12);
  expect(list.images.classes).toEqual([]);
  expect((await listDense(at("camvid/train"), { ignore: [0] })).ignore).toEqual([0]);
  const mask = await loadDenseMask(list, 1);
  expect([mask.width, mask.height, mask.ids[0]]).toEqual([6, 4, 1]);
  await expect(loadDenseMask(list, 3)).rejects.toThrow(RangeError);
});

test("listDense() finds masks beside images, in the set or above it, and tells of masks without an image", async () => {
  await writeSet("pairs/images", "pairs/masks", ["x", "y"]);
  await writeMask(at("pairs/masks/more.png"));
  const notices: string[] = [];
  const list = await listDense(at("pairs"), { onNotice: (line) => notices.push(line) });
  expect(list.masks.map((m) => m.slice(root.length))).toEqual(["/pairs/masks/x.png", "/pairs/masks/y.png"]);
  expect([list.ignore, list.classes]).toEqual([[255], undefined]);
  expect(notices.join()).toMatch(/Leaving out 1 masks .* they have no image/);
  expect((await listDense(at("pairs/images"))).masks).toEqual(list.masks);
  await writeSet("ade/images/training", "ade/annotations/training", ["x"]);
  expect((await listDense(at("ade/images/training"))).masks).toEqual([at("ade/annotations/training/x.png")]);
});

test("listDense() follows tricera-data.yaml: splits, folders, ids to ignore, names", async () => {
  await writeSet("sheet/frames", "sheet/ids", ["a"]);
  await writeSet("sheet/val", "sheet/val-masks", ["b"]);
  const sheet = "ignoreIds: [7]\nclasses: [ground, thing]\nsplits:\n  train: { images: frames, masks: ids }\n  val: { masks: val-masks }\n";
  await write(at("sheet", DATA_SHEET), sheet);
  const train = await listDense(at("sheet/train"));
  expect(train).toMatchObject({ masks: [at("sheet/ids/a.png")], ignore: [7], classes: ["ground", "thing"] });
  expect((await listDense(at("sheet/frames"))).masks).toEqual(train.masks);
  expect((await listDense(at("sheet/val"))).masks).toEqual([at("sheet/val-masks/b.png")]);
  await expect(listDense(at("sheet"))).rejects.toThrow(/they are train, val; give one, such as /);
  await expect(listDense(at("sheet/vall"))).rejects.toThrow(/Cannot find "vall" among the splits .* did you mean "val"\?/);
  await writeSet("whole/pictures", "whole/ids", ["a"]);
  await write(at("whole", DATA_SHEET), "images: pictures\nmasks: ids\n");
  expect((await listDense(at("whole"))).masks).toEqual([at("whole/ids/a.png")]);
  expect((await listDense(at("whole/pictures"))).masks).toEqual([at("whole/ids/a.png")]);
  await writeSet("street/train", "street/trainannot", ["a"]);
  await write(at("street", DATA_SHEET), "layout: camvid\nsplits: { train: {} }\ndepthUnit: mm\n");
  expect(await listDense(at("street/train"))).toMatchObject({ masks: [at("street/trainannot/a.png")], ignore: [11] });
});

test("readDataSheet() refuses what is no YAML, unknown keys and wrong values", async () => {
  expect(await readDataSheet(at("nowhere"))).toBeUndefined();
  const bad: readonly (readonly [string, RegExp])[] = [
    ["a: [", /it is no YAML/],
    ["ignoreId: [1]", /the key "ignoreId" is not known; did you mean "ignoreIds"\?/],
    ["splits: { a: { mask: b } }", /the key "mask" is not known; did you mean "masks"\?/],
    ["ignoreIds: [-1]", /ignoreIds\.0 is wrong/],
    ["classes: [a, a]", /classes is wrong \(each name once\)/],
    ["3", /its content is wrong/],
  ];
  for (const [content, text] of bad) {
    await write(at("bad", DATA_SHEET), content);
    await expect(readDataSheet(at("bad"))).rejects.toThrow(text);
    await expect(readDataSheet(at("bad"))).rejects.toThrow(FormatError);
  }
});

test("listDense() refuses missing masks, names that do not agree, other sizes, twins, and folders without masks", async () => {
  await writeSet("holes/train", "holes/trainannot", ["a", "b", "c"]);
  await rm(at("holes/trainannot/b.png"));
  await expect(listDense(at("holes/train"))).rejects.toThrow(/1 of 3 images have none \("b"\); add them/);
  await writeSet("names/train", "names/trainannot", ["a"]);
  await rm(at("names/trainannot/a.png"));
  await writeMask(at("names/trainannot/a_label.png"));
  await expect(listDense(at("names/train"))).rejects.toThrow(/no names agree \(images "a", masks "a_label"\); give a mask the name/);
  await writeSet("sizes/train", "sizes/trainannot", ["a", "b"]);
  await writeImage(at("sizes/train/b.jpg"), 5);
  await expect(listDense(at("sizes/train"))).rejects.toThrow(
    /1 of 2 have another size than their image \(".*b\.png" is 6x4, its image 5x4\)/,
  );
  await writeSet("twins/train", "twins/trainannot", ["a"]);
  await writeImage(at("twins/train/a.png"));
  await expect(listDense(at("twins/train"))).rejects.toThrow(/differ in their suffix only/);
  await writeImage(at("plain/a.jpg"));
  await expect(listDense(at("plain"))).rejects.toThrow(
    /Cannot find the masks of .*: there is no folder of masks; put them into plainannot/,
  );
  await expect(listDense(at("nothing"))).rejects.toThrow(/it is no folder; give a folder/);
  await expect(listDense(at("names"))).rejects.toThrow(/it holds several splits; give one, such as .*names.train/);
});

test("loadDenseMask() refuses an id that is no class", async () => {
  await writeSet("range/train", "range/trainannot", ["a"]);
  await writeMask(at("range/trainannot/a.png"), 12);
  const list = await listDense(at("range/train"));
  await expect(loadDenseMask(list, 0)).rejects.toThrow(/it has the id 12, classes are 0 to 11; correct the mask/);
  expect((await loadDenseMask({ ...list, ignore: [12] }, 0)).ids[0]).toBe(12);
  expect((await loadDenseMask({ ...list, classes: undefined }, 0)).ids[0]).toBe(12);
});

test("holdOutDense() keeps every mask with its image", async () => {
  await writeSet("many/train", "many/trainannot", ["a", "b", "c", "d", "e"]);
  const list = await listDense(at("many/train"));
  const { train, test: held } = holdOutDense(list);
  expect([train.masks.length, held.masks]).toEqual([4, [at("many/trainannot/e.png")]]);
  expect(train.images.entries.map(({ path }) => path.at(-5))).toEqual(train.masks.map((m) => m.at(-5)));
  expect(() => holdOutDense(list, 1)).toThrow(ConfigError);
});
