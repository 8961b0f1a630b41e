import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Rng } from "../../core/index.ts";
import { type DataList, listData, listDenseSides } from "../../data/index.ts";
import { openCpu } from "../../engine/runtime/index.ts";
import { Encoder } from "../../features/index.ts";
import { randomWeights, TINY } from "../../features/testing/tiny-model.ts";
import { IMAGENET_MEAN, IMAGENET_STD } from "../../images/index.ts";
import { encodePng, openEvalPool } from "../../images/node/index.ts";
import { maskPng } from "../../images/testing/mask-png.ts";
import { renderReport } from "../../views/index.ts";
import { type MetricsLine, MetricsLog } from "../run/index.ts";
import { type DenseSets, openPatchProbe, type PatchProbe, type PatchProbeOptions } from "./patch-probe.ts";
import { denseSection } from "./patch-section.ts";
import { readFirstSight, sharedTokens, storeFirstSight, takeSight } from "./patch-sight.ts";

const SIDE = 16;
let root = "";
const at = (...parts: readonly string[]): string => join(root, ...parts);

async function write(file: string, content: Uint8Array): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content);
}

/** A picture whose left and right halves differ in colour, and its mask. */
async function writePair(folder: string, i: number): Promise<void> {
  const rng = new Rng(i, folder);
  const right = (pixel: number): boolean => pixel % SIDE >= SIDE / 2 !== (i % 2 === 1);
  const data = Uint8Array.from(
    { length: SIDE * SIDE * 3 },
    (_, j) => (right(Math.floor(j / 3)) === (j % 3 === 0) ? 200 : 20) + rng.int(40),
  );
  await write(at(folder, `${i}.png`), await encodePng({ width: SIDE, height: SIDE, data }));
  const samples = Array.from({ length: SIDE * SIDE }, (_, j) => (right(j) ? 1 : 0));
  await write(at(`${folder}annot`, `${i}.png`), maskPng({ width: SIDE, height: SIDE, samples }));
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera dense probe "));
  for (let i = 0; i < 6; i++) await writePair("street/train", i);
  for (let i = 0; i < 3; i++) await writePair("street/val", i);
});
afterAll(() => rm(root, { recursive: true }));

const NONE: DenseSets = { train: null, test: null, k: 5, imageSizePx: SIDE };

interface Watched {
  readonly probe: PatchProbe;
  readonly params: ReadonlyMap<string, Float32Array>;
  readonly options: PatchProbeOptions;
}

/** A network that a probe watches; `use` may change its parameters. */
async function watch(runDir: string, use: (watched: Watched) => Promise<void>, more: Partial<PatchProbeOptions> = {}): Promise<void> {
  const list = await listData(at("street/train"));
  using device = openCpu({ threads: 1 });
  const params = new Map([...randomWeights(TINY, 5)].map(([name, { data }]) => [name, Float32Array.from(data as Float32Array)])); // as: they are f32
  using encoder = new Encoder({ config: TINY, params, device });
  const [mean, std] = [IMAGENET_MEAN, IMAGENET_STD];
  await using pool = openEvalPool({ imageSizePx: SIDE, resize: "square", threads: 1, decode: "managed", alpha: "drop", mean, std });
  const options = { runDir, list, encoder, pool, imageSizePx: SIDE, dense: NONE, mean, std, threads: 1, quietSteps: 0, ...more };
  await use({ probe: openPatchProbe(options), params, options });
}

function turn(params: Watched["params"], name: string, by: (x: number) => number): void {
  const values = params.get(name);
  values?.set(values.map(by));
}

test("PatchProbe measures no drift while the network stays, drift once it changes, and goes on after a resume", async () => {
  const run = at("run");
  await watch(run, async ({ probe, params }) => {
    const first = await probe.look(0);
    expect(Object.keys(first.facts).sort()).toEqual(["dense.clsPatch", "dense.drift", "dense.similarity"]);
    expect(first.facts["dense.drift"]).toBe(0);
    expect((await probe.look(5)).facts["dense.drift"]).toBe(0);
    turn(params, "patch_embed.proj.weight", (x) => -3 * x);
    expect((await probe.look(10)).facts["dense.drift"]).toBeGreaterThan(1e-4);
    expect(probe.canScore).toBe(false);
  });
  await watch(run, async ({ probe, options }) => {
    expect((await readFirstSight(run))?.step).toBe(0);
    expect((await probe.look(12)).facts["dense.drift"]).toBe(0); // the first network again
    const sight = await takeSight([0, 1], { ...options, step: 3 });
    if (sight !== undefined) await storeFirstSight(run, sight);
    await probe.look(2); // the run went back behind the stored look: a new one is taken
    expect(await readFirstSight(run)).toMatchObject({ step: 2, images: [0, 1, 2, 3, 4, 5] });
  });
});

test("PatchProbe measures drift since the first look at a later step, where asked to", async () => {
  await watch(
    at("later"),
    async ({ probe }) => {
      expect((await probe.look(0)).facts["dense.drift"]).toBeUndefined();
      expect((await probe.look(20)).facts["dense.drift"]).toBe(0);
    },
    { driftFromStep: 10 },
  );
  expect((await readFirstSight(at("later")))?.step).toBe(20);
});

test("PatchProbe classifies the patches of labelled sets, at their own size, and only when asked to", async () => {
  const dense = { train: at("street"), test: null, k: 5, imageSizePx: 32 };
  await watch(
    at("scored"),
    async ({ probe }) => {
      const { facts } = await probe.look(0);
      expect(facts["dense.patchTop1"]).toBeGreaterThan(0.9); // chance is one half
      expect(facts["dense.miou"]).toBeGreaterThan(0.8);
      expect((await probe.look(1, { score: false })).facts).not.toHaveProperty("dense.patchTop1");
    },
    { dense },
  );
  const wrong = { ...dense, train: at("street/train"), test: at("nowhere") };
  await watch(at("wrong"), ({ probe }) => expect(probe.look(0)).rejects.toThrow(/Cannot find the masks of ".*nowhere"/), { dense: wrong });
});

test("listDenseSides() takes the set's own splits, or holds every fifth image out", async () => {
  const count = async (train: string, other: string | null): Promise<readonly number[]> => {
    const sides = await listDenseSides(train, other);
    return [sides.train.masks.length, sides.test.masks.length];
  };
  expect(await count(at("street"), null)).toEqual([6, 3]);
  expect(await count(at("street/train"), null)).toEqual([5, 1]);
  expect(await count(at("street/train"), at("street/val"))).toEqual([6, 3]);
  await write(at("street/tricera-data.yaml"), Buffer.from("layout: camvid\nsplits: { train: {}, val: {} }\n"));
  expect(await count(at("street"), null)).toEqual([6, 3]);
  await rm(at("street/tricera-data.yaml"));
});

test("PatchProbe sounds for patches that are all alike, and remembers the looks of the metrics", async () => {
  const run = at("alarms");
  await mkdir(run);
  {
    using log = MetricsLog.open(run, { step: 0 });
    log.append({ step: 1, loss: 3 });
    log.append({ step: 3, "dense.similarity": 0.99, "dense.clsPatch": -0.5 });
    log.append({ step: 9, "dense.similarity": 0.1 }); // after the resumed step: not yet seen
  }
  await watch(run, async ({ probe, params }) => {
    for (const name of ["patch_embed.proj.weight", "pos_embed"]) turn(params, name, () => 0);
    const { facts, alarms } = await probe.look(6);
    expect(facts["dense.similarity"]).toBeCloseTo(1, 4);
    expect(alarms.map(({ name }) => name)).toContain("dense-collapse"); // the second look in a row
  });
});

test("takeSight() leaves broken images out, and sharedTokens() compares what both looks have", async () => {
  await watch(at("broken"), async ({ options }) => {
    const empty = at("empty.png");
    await write(empty, new Uint8Array(0));
    const list: DataList = { ...options.list, entries: options.list.entries.with(2, { path: empty, bytes: 0, mtimeMs: 0 }) };
    const all = await takeSight([0, 2, 4], { ...options, step: 1 });
    const some = await takeSight([0, 2, 4], { ...options, list, step: 2 });
    expect([all?.images, some?.images]).toEqual([
      [0, 2, 4],
      [0, 4],
    ]);
    expect(await takeSight([2], { ...options, list, step: 2 })).toBeUndefined();
    if (all === undefined || some === undefined) throw new Error("no look was taken");
    const shared = sharedTokens(some, all);
    expect(shared?.now).toEqual(shared?.before);
    expect([shared?.now.images, shared?.now.patches, shared?.now.width]).toEqual([2, 16, 12]);
    expect(sharedTokens({ ...some, images: [7, 8] }, all)).toBeUndefined();
  });
});

const page = (lines: readonly MetricsLine[]): string => {
  const section = denseSection(lines, { distill: { teacher: null, objective: "prototypes", students: [] } });
  const sections = section === undefined ? [] : [section];
  return renderReport({ title: "t", verdict: "v", facts: [], alarms: [], sections, config: [], next: [] });
};

test("denseSection() draws class token and patches on one chart, and says how to read it", () => {
  const html = page([
    { step: 0, knnTop1: 0.1 },
    { step: 0, "dense.patchTop1": 0.3, "dense.miou": 0.2, "dense.drift": 0, "dense.similarity": 0.5, "dense.clsPatch": 0.2 },
    { step: 10, knnTop1: 0.4 },
    { step: 10, "dense.patchTop1": 0.25, "dense.miou": 0.1, "dense.drift": 0.04, "dense.similarity": 0.6, "dense.clsPatch": 0.4 },
  ]);
  for (const part of [
    "Dense features",
    "Global and dense k-NN: images (class token) from 10.0 % to 40.0 %, patches from 30.0 % to 25.0 %",
    "Patches that fall while images still rise",
    "Mean IoU of patches",
    "with class token",
    "Drift of patches",
  ])
    expect(html).toContain(part);
});

test("denseSection() shows the drift beside k-NN where no patches are labelled, and nothing where nobody looked", () => {
  const html = page([
    { step: 1, knnTop1: 0.1, "dense.drift": 0.01, "dense.similarity": 0.5 },
    { step: 2, knnTop1: 0.2, "dense.drift": 0.03, "dense.similarity": 0.5 },
  ]);
  expect(html).toContain("Global k-NN and dense drift: images (class token) from 0.1 to 0.2, dense drift from 0.01 to 0.03");
  expect(html).not.toContain("Mean IoU");
  expect(
    denseSection([{ step: 1, loss: 3, knnTop1: 0.5 }], { distill: { teacher: null, objective: "prototypes", students: [] } }),
  ).toBeUndefined();
});
