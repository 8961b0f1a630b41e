import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { UserConfig } from "./config/index.ts";
import { tinyRun, writeNoise } from "./testing/tiny-run.ts";
import { train } from "./train.ts";

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-bad-"));
  await writeNoise(dir);
  await train({ config: tinyRun(dir, "dinov3", 1), out: join(dir, "v3") });
  await train({ config: tinyRun(dir, "dino", 1), out: join(dir, "plain") });
});
afterAll(() => rm(dir, { recursive: true, force: true }));

type Case = readonly [what: string, config: () => UserConfig, message: RegExp];

const vit = { arch: "vit", depth: 2, width: 16, heads: 2, patchSizePx: 4, imageSizePx: 16 } as const;
const v2 = (more: UserConfig): UserConfig => tinyRun(dir, "dinov2", 1, more);
const mask = (share: object): UserConfig => v2({ mask: share });
const stage = (more: UserConfig, name: "gram" | "highres" = "gram"): UserConfig => ({
  method: "dinov3",
  stage: name,
  train: { steps: 1 },
  ...more,
  init: { from: join(dir, "v3"), ...more.init },
});
const sizes = (globalSizePx: number, localSizePx: number): UserConfig =>
  stage({ crops: { sizes: [{ globalSizePx, localSizePx, gramSizePx: 0, ratio: 1 }] } }, "highres");

const CASES: readonly Case[] = [
  [
    "KoLeo on a batch of one",
    () => v2({ train: { batchSize: 1, steps: 1 }, objective: { koleoWeight: 0.1 } }),
    /KoLeo compares the images of a group and there is one image; set train\.batchSize=2 or more, or objective\.koleoWeight=0/,
  ],
  [
    "a mask ratio that selects no patch",
    () => mask({ ratioMin: 0.01 }),
    /mask\.ratioMin 0\.01 of a 4 × 4 grid.*selects no patch; raise it/,
  ],
  ["a mask ratio that selects every patch", () => mask({ ratioMax: 1 }), /mask\.ratioMax 1 of a 4 × 4 grid.*selects all of them; lower it/],
  ["masks on no crop", () => mask({ probability: 0.1 }), /mask\.probability 0\.1: it masks none of the 8 global crops/],
  ["mask ratios the wrong way round", () => mask({ ratioMin: 0.6, ratioMax: 0.3 }), /mask\.ratioMin 0\.6 is above mask\.ratioMax 0\.3/],
  [
    "batch norm over padded lists of patches",
    () => v2({ head: { prototypes: 32, hidden: 32, bottleneck: 16, batchNorm: true } }),
    /Cannot use head\.batchNorm with iBOT: .* set head\.batchNorm=false or objective\.ibotWeight=0/,
  ],
  ["a Gram stage without a run", () => stage({ init: { from: null } }), /Cannot start stage gram: there is no run to go on from/],
  [
    "a Gram loss without a Gram teacher",
    () => tinyRun(dir, "dinov3", 1, { objective: { gramWeight: 1 }, gram: { updateEverySteps: 0 } }),
    /there is no Gram teacher; set gram\.teacher to weights, gram\.useEma=true, or objective\.gramWeight=0/,
  ],
  [
    "a Gram stage of another patch size",
    () => stage({ model: { patchSizePx: 8 } }),
    /model\.patchSizePx 8 in stage "gram": the run .* has 4/,
  ],
  ["a Gram stage of another width", () => stage({ model: { width: 32 } }), /model\.width 32 in stage "gram": the run .* has 16/],
  ["a Gram stage with other registers", () => stage({ model: { registers: 1 } }), /model\.registers 1 in stage "gram": the run .* has/],
  [
    "a picture off the patch grid",
    () => v2({ model: { ...vit, imageSizePx: 18 } }),
    /model\.imageSizePx 18: it is not a multiple of the patch size 4; use 16 or 20/,
  ],
  ["high resolutions off the patch grid", () => sizes(30, 8), /crops\.sizes 30: it is not a multiple of the patch size 4/],
  [
    "high resolutions that do not fit the memory",
    () => sizes(65_536, 8),
    /need about [\d.]+ [GT]B of memory and this machine has .*; set crops\.sizes to smaller crops/,
  ],
  ["locals larger than globals", () => sizes(32, 36), /local crops of 36 px: they are larger than the global crops of 32 px/],
  [
    "locals larger than globals from the start",
    () => v2({ crops: { globalSizePx: 16, localSizePx: 20, localCount: 2 } }),
    /crops\.localSizePx with local crops of 20 px: they are larger than the global crops of 16 px/,
  ],
  [
    "weights of another method",
    () => v2({ init: { from: join(dir, "plain") } }),
    /Cannot begin with .*missing \(backbone\..*take what fits by --allow-partial/,
  ],
];

describe("bad input is refused before the first step", () => {
  test.each(CASES)("%s", async (what, config, message) => {
    const out = join(dir, what.replaceAll(" ", "-"));
    await expect(train({ config: config(), out })).rejects.toThrow(message);
    await expect(train({ config: config(), out, resume: true })).rejects.toThrow(); // it left nothing to go on with
  });
});

test("weights of another method say which tensors are used, new and ignored where a part is allowed", async () => {
  const notes: string[] = [];
  const onNotice = (line: string): void => void notes.push(line);
  const init = { from: join(dir, "v3"), allowPartial: true };
  await train({ config: tinyRun(dir, "dino", 1, { init }), out: join(dir, "partly"), onNotice });
  expect(notes.join("\n")).toMatch(/Began with \d+ of \d+ tensors of .*; new: \d+ of .*; ignored: .*\d+ of ibot_head/);
});

test("more prototypes than a step can feed are warned of with the numbers", async () => {
  const notes: string[] = [];
  const config = v2({ head: { prototypes: 4096, hidden: 32, bottleneck: 16 } });
  await train({ config, out: join(dir, "many"), onNotice: (line) => notes.push(line) });
  expect(notes.join("\n")).toMatch(/Warning: head\.prototypes 4,096: a step of 4 images can feed about \d+; lower it/);
});
