import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Rng } from "../../core/index.ts";
import { listData } from "../../data/index.ts";
import { openCpu } from "../../engine/runtime/index.ts";
import { decodeImage, encodePng } from "../../images/node/index.ts";
import { renderReport } from "../../views/index.ts";
import { writeFileAtomic } from "../../weights/index.ts";
import { type ResolvedConfig, resolveConfig } from "../config/index.ts";
import { drawContactSheet } from "../loop/contact-sheet.ts";
import { methodOf } from "../loop/method-config.ts";
import { optimizerOf } from "../loop/scalars.ts";
import { writeConfig } from "../loop/prepare.ts";
import { Probe } from "../loop/probe.ts";
import { type MetricsLine, MetricsLog } from "../run/index.ts";
import { Stepper } from "../stepper.ts";
import { denseSection } from "./patch-section.ts";
import { factsWith, nextOf, titleOf, verdictOf } from "./report-words.ts";
import { curveSection } from "./curves.ts";
import { readSample, readSight, sampleSize } from "./neighbour-sample.ts";
import { nearestOthers } from "./neighbour-section.ts";
import { readReport } from "./run-report.ts";
import { chooseMoments, spreadOver } from "./snapshots.ts";

const IMAGES = 24;
let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-probe-"));
  const rng = new Rng(1);
  for (let i = 0; i < IMAGES; i++) {
    const data = Uint8Array.from({ length: 24 * 18 * 3 }, (_, j) => ((i % 3) * 70 + (j % 3) * 20 + rng.int(40)) & 255);
    const file = join(dir, "images", `class-<${i % 3}>&`, `${String(i).padStart(2, "0")}.png`);
    await writeFileAtomic(file, await encodePng({ width: 24, height: 18, data }));
  }
});
afterAll(() => rm(dir, { recursive: true, force: true }));

function resolve(more: object = {}): ResolvedConfig {
  return resolveConfig(
    {
      data: { path: join(dir, "images"), workers: 1 },
      model: { arch: "vit", depth: 2, width: 16, heads: 2, patchSizePx: 4, imageSizePx: 16 },
      crops: { globalSizePx: 16, localSizePx: 8, localCount: 3 },
      head: { prototypes: 32, hidden: 32, bottleneck: 16 },
      train: { batchSize: 8, steps: 6, threads: 2 },
      ...more,
    },
    { images: IMAGES, medianSidePx: 18, cores: 2, memoryBytes: 8e9 },
  );
}

/** A network at its start that a probe watches; `use` may change it. */
async function watch(runDir: string, use: (probe: Probe, stepper: Stepper) => Promise<void>, more: object = {}): Promise<void> {
  const resolved = resolve(more);
  const list = await listData(join(dir, "images"));
  using device = openCpu({ threads: 2 });
  await using stepper = new Stepper({ method: methodOf(resolved.config), device, optimizer: optimizerOf(resolved.config), threads: 2 });
  stepper.init(new Rng(0).split("init"));
  await using probe = new Probe({ dir: runDir, list, resolved, stepper, device, totalSteps: 6 });
  await writeConfig(runDir, resolved);
  await writeFileAtomic(join(runDir, "data.jsonl"), list.entries.map((e) => `${JSON.stringify(e)}\n`).join(""));
  await use(probe, stepper);
}

function log(runDir: string, step: number): void {
  using metrics = MetricsLog.open(runDir, { step });
  metrics.append({ step, loss: 4 / step, knnTop1: step / 10, effectiveRank: 3 });
}

const FACTS = [["Model", "vit <tiny>"]] as const;

test("a report shows neighbours before and after, pictures of the moments, alarms, and what was stored before a resume", async () => {
  const run = join(dir, "run");
  await watch(run, async (probe) => {
    log(run, 1);
    await probe.snapshot(0);
    probe.alarm("Step 2: features fill 2 of 16 dimensions; they collapse; lower optim.lr");
    probe.alarm("Step 2: features fill 2 of 16 dimensions; they collapse; lower optim.lr");
  });
  const before = await readSight(run, "first");
  await watch(run, async (probe, stepper) => {
    const pos = stepper.flats.teacher.view("backbone.patch_embed.proj.weight");
    pos.set(pos.map((x) => -2 * x)); // the network has learned something else
    log(run, 6);
    await probe.snapshot(6);
    await probe.report(FACTS);
  });
  expect(await readSight(run, "first")).toEqual(before);
  expect(before?.step).toBe(0);
  const last = await readSight(run, "last");
  expect(last?.step).toBe(6);
  expect(last?.features).not.toEqual(before?.features);
  const html = await readFile(join(run, "report.html"), "utf8");
  for (const part of [
    "Neighbours",
    "before training",
    "after step 6",
    "Features appear",
    "Attention",
    "head 2",
    "k-NN accuracy went",
    "vit &#60;tiny&#62;",
    "class-&#60;0&#62;&#38;",
    "✓",
  ])
    expect(html).toContain(part);
  expect(html.match(/role="alert"/g)).toHaveLength(1);
  expect(html).not.toContain("class-<");
  expect(renderReport(await readReport(run))).toBe(html); // all of it comes from the run folder
});

test("an aborted report does not look at the neighbours again, and a run without pictures has a report", async () => {
  const run = join(dir, "aborted");
  const stop = AbortSignal.abort();
  await watch(run, async (probe) => {
    log(run, 3);
    await probe.report(FACTS, stop);
    expect(await readFile(join(run, "report.html"), "utf8")).not.toContain("Neighbours");
    await probe.snapshot(3);
    await probe.report(FACTS, stop);
  });
  expect(await readSight(run, "last")).toBeUndefined();
  const html = await readFile(join(run, "report.html"), "utf8");
  expect(html).toContain("after step 3");
  expect(html).not.toContain("before training");
});

test("the sample is taken from the labelled images where there are any, and leaves broken ones out", async () => {
  const run = join(dir, "labelled");
  const broken = join(dir, "broken.png");
  await writeFileAtomic(broken, new Uint8Array(3));
  const rows = Array.from({ length: 9 }, (_, i) => `images/class-<${i % 3}>&/${String(i).padStart(2, "0")}.png,label ${i % 3}`);
  const csv = join(dir, "labels.csv");
  await writeFileAtomic(csv, [...rows, "broken.png,label 0"].join("\n"));
  await watch(run, (probe) => probe.snapshot(0), { knn: { train: csv } });
  const sample = await readSample(run);
  expect(sample?.entries.map((e) => e.label).toSorted()).toEqual(["0", "0", "0", "1", "1", "1", "2", "2", "2"].map((n) => `label ${n}`));
  expect((await readdir(join(run, "pictures"))).toSorted()).toEqual(["neighbours", "step-00000000.safetensors"]);
});

test("nearestOthers() leaves the image itself out and orders by similarity", async () => {
  const features = Float32Array.of(1, 0, 0.8, 0.6, 0, 1);
  const { k, indices, scores } = await nearestOthers({ step: 0, dim: 2, features }, 1);
  expect(k).toBe(2);
  expect([...indices]).toEqual([1, 2, 0, 2, 1, 0]);
  expect(scores[0]).toBeCloseTo(0.8, 5);
  const twins = await nearestOthers({ step: 0, dim: 1, features: Float32Array.of(1, 1, 1, 1) }, 1);
  for (let i = 0; i < 4; i++) expect([...twins.indices.subarray(i * twins.k, (i + 1) * twins.k)]).not.toContain(i);
});

test("sampleSize() is smaller for larger networks, within its bounds", () => {
  expect(sampleSize(resolve().config)).toBe(2000);
  const large = resolve({ model: { arch: "vit_base_patch16" }, crops: { globalSizePx: 224, localSizePx: 96 } });
  expect(sampleSize(large.config)).toBe(256);
});

test("chooseMoments() and spreadOver() keep ends and order", () => {
  expect(chooseMoments([0, 1, 2, 3, 4, 5, 6, 7, 8], 3)).toEqual([0, 4, 8]);
  expect(chooseMoments([0], 6)).toEqual([0]);
  expect(chooseMoments([], 6)).toEqual([]);
  expect(spreadOver(10, 2)).toEqual([2, 7]);
  expect(spreadOver(2, 5)).toEqual([0, 1]);
});

test("curveSection() draws what was measured, and a gap where a value was none", () => {
  const lines = [
    { step: 1, loss: 3 },
    { step: 2, loss: "NaN" },
    { step: 3, loss: 2 },
  ]; // JSON has no NaN
  const section = curveSection(lines, resolve().config);
  const [charts] = section.blocks;
  const loss = charts?.kind === "charts" ? charts.charts.find((c) => c.title === "Loss") : undefined;
  expect(loss?.series[0]?.points).toEqual([
    [1, 3],
    [2, NaN],
    [3, 2],
  ]);
  expect(loss?.levels?.[0]?.y).toBeCloseTo(Math.log(32), 10);
});

test("drawContactSheet() draws the first images of the first step with all their crops, always the same", async () => {
  const list = await listData(join(dir, "images"));
  const { config } = resolve();
  const outFile = join(dir, "sheet.png");
  const drawn = await drawContactSheet({ list, config, outFile });
  const bytes = await readFile(outFile);
  const sheet = await decodeImage(bytes);
  expect([sheet.width, sheet.height]).toEqual([drawn.widthPx, drawn.heightPx]);
  expect(drawn.sampleIds).toHaveLength(6);
  // cells of 128, locals of 64 one below the other would need a gap more: one a column
  expect(drawn.widthPx).toBe(3 + 3 * 131 + 3 * 67);
  await drawContactSheet({ list, config, outFile });
  expect((await readFile(outFile)).equals(bytes)).toBe(true);
  await drawContactSheet({ list, config: { ...config, seed: 7 }, outFile });
  expect((await readFile(outFile)).equals(bytes)).toBe(false);
});

test("drawContactSheet() shades masked patches and shows a Gram teacher's crops and every size of a stage", async () => {
  const list = await listData(join(dir, "images"));
  const outFile = join(dir, "masked.png");
  const draw = async (more: object): Promise<{ readonly ids: readonly number[]; readonly dark: number; readonly widthPx: number }> => {
    const { config } = resolve({ method: "dinov3", ...more });
    const { sampleIds, widthPx } = await drawContactSheet({ list, config, outFile });
    const { data } = await decodeImage(await readFile(outFile));
    return { ids: sampleIds, dark: data.reduce((n, v, i) => n + (i % 3 === 2 && v >= 74 && v < 126 ? 1 : 0), 0), widthPx };
  };
  const [masked, bare] = [await draw({}), await draw({ mask: { probability: 0 }, objective: { ibotWeight: 0 } })];
  expect(masked.dark).toBeGreaterThan(bare.dark + 6 * 128 * 12); // of 12 crops of 128 px half are masked, by 10 to 50 %
  expect(masked.widthPx).toBe(bare.widthPx);
  const gram = { stage: "gram", init: { from: dir }, gram: { teacher: dir, sizePx: 32 } };
  expect((await draw(gram)).widthPx).toBe(masked.widthPx + 2 * 131);
  const sizes = [16, 24].map((globalSizePx) => ({ globalSizePx, localSizePx: 8, gramSizePx: 0, ratio: 0.5 }));
  const mixed = await draw({ crops: { globalSizePx: 16, localSizePx: 8, localCount: 3, sizes } });
  expect(mixed.ids).toHaveLength(6);
  expect(mixed.ids.slice(0, 3)).toEqual(mixed.ids.slice(3));
});

test("a report's words follow method, stage and students", () => {
  const { config } = resolve({ method: "dinov3" });
  const student = { name: "vit_tiny_patch16", model: config.model };
  const distilled = { ...config, distill: { ...config.distill, students: [student, { ...student, name: "resnet18" }] } };
  expect(titleOf({ ...config, stage: "gram" }, 1234)).toBe("DINOv3, Gram stage, on 1,234 images");
  expect(titleOf(distilled, 60)).toBe("DINOv3, distilled into 2 students on 60 images");
  expect(factsWith(distilled, [["Model", "vit"]])).toEqual([
    ["Teacher", config.model.arch],
    ["Students", "vit_tiny_patch16, resnet18"],
  ]);
  const commands = (of: typeof config): string =>
    nextOf("runs/my v3", of)
      .map(({ command }) => command)
      .join("\n");
  expect(commands(config)).toContain("npx tricera train --method dinov3 --stage gram --init 'runs/my v3' --out NEXT");
  expect(commands({ ...config, stage: "gram" })).toContain("--stage highres");
  expect(commands({ ...config, stage: "highres" })).not.toContain("--stage");
  expect(commands(distilled)).toContain("npx tricera embed --model 'runs/my v3/exported/resnet18/last'");
});

test("a report's verdict tells of images and patches, and the dense section leaves out a chart that would say nothing", () => {
  const { config } = resolve({ method: "dinov3" });
  const both = [
    { step: 0, knnTop1: 0.3, "dense.patchTop1": 0.5, "dense.drift": 0 },
    { step: 1200, knnTop1: 0.4, "dense.patchTop1": 0.45, "dense.drift": 0.01 },
  ];
  expect(verdictOf(both, config)).toBe(
    "k-NN accuracy went from 30.0 % before training to 40.0 % after 1,200 steps. Patch k-NN went from 50.0 % before training to 45.0 % after 1,200 steps.",
  );
  const titles = (lines: readonly MetricsLine[]): readonly string[] =>
    (denseSection(lines, config)?.blocks ?? []).flatMap((b) => (b.kind === "charts" ? b.charts.map(({ title }) => title) : []));
  expect(titles(both)[0]).toBe("Global and dense k-NN");
  expect(titles([{ step: 0, knnTop1: 0.3, "dense.drift": 0 }])[0]).toBe("Global k-NN and dense drift");
  expect(titles([{ step: 0, "dense.drift": 0 }])).not.toContain("Global k-NN and dense drift");
});
