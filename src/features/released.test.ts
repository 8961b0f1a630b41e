import { mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { openCpu } from "../engine/runtime/index.ts";
import { loadImage } from "../images/node/index.ts";
import { backboneWidth, isViT, prefixTokens } from "../nn/index.ts";
import { fitPicture } from "./fit.ts";
import { openModel } from "./model.ts";
import { type DecodeRules, familyPreprocessing, type Preprocessing } from "./processor.ts";
import { DINOV3_ANCHORS, distance, findReleased, PICTURE, TOKEN_ANCHORS } from "./testing/released.ts";
import { TINY, writePicture, writeTinyModel } from "./testing/tiny-model.ts";

const FOLDER = process.env["TRICERA_WEIGHTS"] ?? "";
const HOW = `set TRICERA_WEIGHTS to a folder of released weights (such as the cache of \`models pull\`) with COCO's ${PICTURE} in it`;
const PYTHON: DecodeRules = { decode: "python", alpha: "drop" };

interface Tokens {
  readonly cls: Float32Array;
  readonly firstPatch: Float32Array;
  /** Class token, registers, patches. */
  readonly all: Float32Array;
  readonly width: number;
}

/** Tokens of the picture; preprocessed by the model's own processor or as the published table was. */
async function tokensOf(path: string, picture: string, how: "own" | "table"): Promise<Tokens> {
  using device = openCpu({});
  const { encoder, preprocessing: own } = await openModel(path, device);
  using closing = encoder;
  const { config } = closing;
  const table: Preprocessing = { ...familyPreprocessing(config), imageSizePx: how === "table" ? 224 : own.imageSizePx };
  const image = await loadImage({ path: picture }, PYTHON);
  const { planes, sizePx } = fitPicture(image, { preprocessing: how === "own" ? own : table, patchSizePx: closing.patchSizePx });
  const { features } = await closing.encode(planes, { pool: "all", sizePx });
  const [all, width] = [features.slice(), backboneWidth(config)];
  const prefix = isViT(config) ? prefixTokens(config) : 1;
  return { all, width, cls: all.slice(0, width), firstPatch: all.slice(prefix * width, (prefix + 1) * width) };
}

/** Skips with what to do where weights or picture are absent. */
async function findOrSkip(id: string, skip: (note: string) => never): Promise<{ readonly path: string; readonly picture: string }> {
  if (FOLDER === "") return skip(HOW);
  const picture = join(FOLDER, PICTURE);
  if ((await stat(picture).catch(() => undefined)) === undefined) return skip(`"${picture}" is absent: ${HOW}`);
  const path = await findReleased(FOLDER, id);
  return path === undefined ? skip(`"${FOLDER}" has no weights of ${id}: run \`tricera models pull ${id}\``) : { path, picture };
}

describe("features of released weights are those that were published", () => {
  test.for(DINOV3_ANCHORS)("%s", { timeout: 600_000 }, async ([id, cls, patch], { skip }) => {
    const { path, picture } = await findOrSkip(id, skip);
    const found = await tokensOf(path, picture, "table");
    expect(distance(found.cls, cls)).toBeLessThan(1e-3);
    expect(distance(found.firstPatch, patch)).toBeLessThan(1e-3);
  });

  test.for(TOKEN_ANCHORS)("%s, by its own processor", { timeout: 600_000 }, async ([id, tokens, count], { skip }) => {
    const { path, picture } = await findOrSkip(id, skip);
    const { all, width } = await tokensOf(path, picture, "own");
    expect(all.length / width).toBe(count);
    for (const [i, token] of tokens.entries()) expect(distance(all.subarray(i * width), token)).toBeLessThan(1.5e-4); // 1e-4, and the rounding of what was published
  });
});

describe("findReleased()", () => {
  const inFolder = async (names: readonly string[], id: string): Promise<string | undefined> => {
    const folder = await mkdtemp(join(tmpdir(), "tricera released "));
    try {
      for (const name of names) {
        await mkdir(dirname(join(folder, name)), { recursive: true });
        await writeFile(join(folder, name), "");
      }
      return (await findReleased(folder, id))?.slice(folder.length + 1);
    } finally {
      await rm(folder, { recursive: true });
    }
  };
  test.each([
    ["dinov3_vits16", "facebook/dinov3-vits16-pretrain-lvd1689m"],
    ["dinov3_vits16", "models/facebook--dinov3-vits16-pretrain-lvd1689m"],
    ["dinov3_vits16", "dinov3_vits16_pretrain_lvd1689m-08c60483.pth"],
    ["dinov3_vits16", "models/dinov3_vits16/dinov3_vits16_pretrain_lvd1689m-08c60483.pth"],
    ["dinov3_vitl16_sat", "dinov3_vitl16_pretrain_sat493m-eadcf0ff.pth"],
    ["dinov3_vit7b16_sat", "facebook--dinov3-vit7b16-pretrain-sat493m"],
    ["dinov3_convnext_tiny", "facebook--dinov3-convnext-tiny-pretrain-lvd1689m"],
    ["facebook/dinov2-base", "models/facebook--dinov2-base"],
  ])("finds %s as %s", async (id, name) => {
    expect(await inFolder([name], id)).toBe(name);
  });
  test.each([
    ["dinov3_vitl16", "dinov3_vitl16_pretrain_sat493m-eadcf0ff.pth"],
    ["dinov3_vitl16_sat", "facebook--dinov3-vitl16-pretrain-lvd1689m"],
    ["dinov3_vit7b16", "facebook--dinov3-vit7b16-pretrain-sat493m"],
    ["facebook/dinov2-base", "dinov2_vitb14"],
    ["dinov3_vits16", "facebook--dinov3-vits16plus-pretrain-lvd1689m"],
  ])("does not take for %s what is %s", async (id, name) => {
    expect(await inFolder([name], id)).toBeUndefined();
  });
  test("knows every network that numbers were published of", async () => {
    for (const [id] of [...DINOV3_ANCHORS, ...TOKEN_ANCHORS]) expect(await inFolder(["x"], id)).toBeUndefined();
    expect(DINOV3_ANCHORS.length).toBe(12);
  });
});

test("tokensOf() compares the tokens it says: other numbers are far", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tricera tokens "));
  try {
    await writeTinyModel(folder);
    await writePicture(join(folder, "p.png"), { colour: [90, 120, 40], seed: 1 });
    const { all, cls, firstPatch, width } = await tokensOf(folder, join(folder, "p.png"), "own");
    expect([width, all.length]).toEqual([TINY.width, 17 * TINY.width]);
    expect([cls, firstPatch]).toEqual([all.slice(0, 12), all.slice(12, 24)]);
    expect(distance(cls, cls.subarray(0, 5))).toBe(0);
    expect(distance(cls, [Number(cls[0]) + 0.01])).toBeGreaterThan(0.009);
    expect(distance([Number.NaN], [1])).toBe(Infinity);
    const other = await tokensOf(folder, join(folder, "p.png"), "table");
    expect(other.all.length).toBe((1 + 56 ** 2) * 12);
  } finally {
    await rm(folder, { recursive: true });
  }
});
