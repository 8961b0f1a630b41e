import { copyFile, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Rng } from "../core/index.ts";
import { encodePng, loadImage } from "../images/node/index.ts";
import { readSafetensors, writeFileAtomic, writeSafetensors } from "../weights/index.ts";
import { readConfig } from "./loop/prepare.ts";
import { checkpointDir, readCheckpointState, readMetrics, writeCheckpoint } from "./run/index.ts";
import { train, type TrainOptions } from "./train.ts";

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-train-"));
  const rng = new Rng(1);
  for (let i = 0; i < 24; i++) {
    const data = Uint8Array.from({ length: 24 * 24 * 3 }, (_, j) => (j % 7) * 20 + rng.int(100) + (i % 3) * 10);
    await writeFileAtomic(join(dir, "images", `${String(i).padStart(2, "0")}.png`), await encodePng({ width: 24, height: 24, data }));
  }
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const config = (steps: number, more: object = {}): NonNullable<TrainOptions["config"]> => ({
  data: { path: join(dir, "images"), workers: 1 },
  model: { arch: "vit", depth: 2, width: 16, heads: 2, patchSizePx: 4, imageSizePx: 16, dropPath: 0.1 },
  crops: { globalSizePx: 16, localSizePx: 8, localCount: 2 },
  head: { prototypes: 32, hidden: 32, bottleneck: 16 },
  train: { batchSize: 8, steps, threads: 2, ...more },
  checkpoint: { everySteps: 100 },
});

const FILES = ["student", "teacher", "optimizer", "method"];
const filesOf = (out: string, step: number): Promise<Buffer[]> =>
  Promise.all(FILES.map((name) => readFile(join(checkpointDir(out, step), `${name}.safetensors`))));

/** Trains until `step` and stops there as Ctrl-C does. */
async function trainUntil(step: number, options: TrainOptions): Promise<void> {
  const stop = new AbortController();
  await train({ ...options, signal: stop.signal, onProgress: ({ done }) => (done >= step ? stop.abort() : undefined) });
}

describe("train", () => {
  test("six steps equal three, a stop, --resume and three, bit for bit", async () => {
    const [whole, parted] = [join(dir, "whole"), join(dir, "parted")];
    await train({ config: config(6), out: whole });
    await trainUntil(3, { config: config(6), out: parted });
    expect(await readFile(join(checkpointDir(parted, 3), "state.json"), "utf8")).toContain('"step": 3');
    await train({ out: parted, resume: true });
    const [a, b] = [await filesOf(whole, 6), await filesOf(parted, 6)];
    FILES.forEach((name, i) => expect(a[i]?.equals(b[i] ?? Buffer.alloc(0)), name).toBe(true));
    // Ctrl-C waits for no look at the features: lines of steps are what must be the same
    const losses = async (out: string): Promise<unknown[]> => (await readMetrics(out)).flatMap((l) => l["loss"] ?? []);
    expect(await losses(parted)).toEqual(await losses(whole));
    expect(await losses(whole)).toHaveLength(6);
  });

  test("writes a report with the pictures of several moments, and k-NN on labelled images", async () => {
    const out = join(dir, "report");
    const knn = { train: join(dir, "classes.csv"), everyEpochs: 1, k: 3 };
    const rows = Array.from({ length: 24 }, (_, i) => `images/${String(i).padStart(2, "0")}.png,class-${i % 3}`);
    await writeFileAtomic(knn.train, rows.join("\n"));
    await train({ config: { ...config(6), knn, log: { everySteps: 1, imagesEverySteps: 3 } }, out });
    const html = await readFile(join(out, "report.html"), "utf8");
    for (const part of ["Features appear", "step 0", "step 6", "k-NN top-1", "optim.lr"]) expect(html).toContain(part);
    const scores = (await readMetrics(out)).flatMap((l) => l["knnTop1"] ?? []);
    expect(scores.length).toBeGreaterThanOrEqual(2);
    for (const score of scores) expect(score).toBeGreaterThanOrEqual(0);
  });

  test("refuses a folder that holds a run, and a changed config at --resume", async () => {
    const out = join(dir, "again");
    await train({ config: config(1), out });
    await expect(train({ config: config(1), out })).rejects.toThrow(/there is one already; use --resume, --overwrite/);
    await expect(train({ config: { optim: { lr: 1 } }, out, resume: true })).rejects.toThrow(/optim\.lr/);
    await train({ config: config(1), out, overwrite: true });
  });

  test("refuses to resume when images were added, unless told to go on", async () => {
    const out = join(dir, "changed");
    await trainUntil(1, { config: config(2), out });
    const extra = join(dir, "images", "zz.png");
    await writeFileAtomic(extra, await encodePng({ width: 8, height: 8, data: new Uint8Array(192) }));
    await expect(train({ out, resume: true })).rejects.toThrow(/1 added .*zz\.png/);
    const result = await train({ out, resume: true, acceptDataChange: true });
    expect(result.steps).toBe(2);
    await rm(extra);
  });

  test("passes over a truncated checkpoint to the one before", async () => {
    const out = join(dir, "truncated");
    await train({ config: { ...config(4), checkpoint: { everySteps: 2 } }, out });
    await writeFileAtomic(join(checkpointDir(out, 4), "student.safetensors"), new Uint8Array(10));
    const notes: string[] = [];
    const result = await train({ out, resume: true, onNotice: (line) => notes.push(line) });
    expect(notes.join("\n")).toMatch(/Passing over a damaged checkpoint.*student\.safetensors has 10 of/);
    expect(result.steps).toBe(4);
  });

  test("leaves broken images out and says so", async () => {
    const broken = join(dir, "images", "05-broken.jpg");
    await writeFileAtomic(broken, new Uint8Array(0));
    const notes: string[] = [];
    const result = await train({ config: config(3), out: join(dir, "broken"), onNotice: (line) => notes.push(line) });
    expect(result.failedImages).toBe(1);
    expect(notes.join("\n")).toMatch(/05-broken\.jpg/);
    await rm(broken);
  });

  test("a batch larger than the data is refused with the numbers", async () => {
    const options = { ...config(1), train: { batchSize: 100, steps: 1 } };
    await expect(train({ config: options, out: join(dir, "large") })).rejects.toThrow(/100.*24|24.*100/);
  });

  test("a step with numbers that are not finite stops the run, and --replay finds them again", async () => {
    const out = join(dir, "nan");
    const run = train({ config: { ...config(9), optim: { lr: 1e30, clipKind: "none" }, schedule: { lrWarmupEpochs: 0 } }, out });
    await expect(run).rejects.toThrow(/Cannot go on training: step \d has a loss of .*--replay ".*dumps.*lower optim\.lr/);
    const [dump] = await readdir(join(out, "dumps"));
    const again = await train({ replay: join(out, "dumps", dump ?? "") });
    expect(again.reproduced).toBe(true);
    expect(again.text).toMatch(/Not finite, in the order of the step:\n {2}teacher features: 256 values, the first at 0\n/);
    await expect(train({ replay: out })).rejects.toThrow(/this is a run folder; give one of its dumps: step-/);
  });

  test("keeps the teacher of the best k-NN beside the last one", async () => {
    const out = join(dir, "best");
    const labels = join(dir, "two.csv");
    const rows = Array.from({ length: 24 }, (_, i) => `images/${String(i).padStart(2, "0")}.png,class-${i % 3}`);
    await writeFileAtomic(labels, rows.join("\n"));
    await train({ config: { ...config(6), knn: { train: labels, everyEpochs: 0.5, k: 3 } }, out });
    const best = Math.max(...(await readMetrics(out)).flatMap((l) => (typeof l["knnTop1"] === "number" ? [l["knnTop1"]] : [])));
    expect(await readFile(join(out, "exported", "best", "README.md"), "utf8")).toContain(`${(100 * best).toFixed(1)} %`);
    expect((await readdir(join(out, "exported", "best"))).sort()).toEqual(["README.md", "config.json", "model.safetensors", "preprocessor_config.json"]); // prettier-ignore
  });

  test("a run in minutes measures its speed, fixes its steps and derives the schedules for that length", async () => {
    const out = join(dir, "minutes");
    const { steps, ...length } = { ...config(1).train, minutes: 0.02 };
    void steps;
    await train({ config: { ...config(1), train: length }, out });
    const { config: settled, reasons } = await readConfig(out);
    expect(settled.train.steps).toBeGreaterThanOrEqual(4);
    expect(reasons["train.steps"]).toMatch(/0\.02 minutes came to at the speed measured/);
    expect(reasons["schedule.momentumTeacher"]).toContain(`a tenth of ${(settled.train.steps ?? 0).toLocaleString("en-US")} steps`);
    expect(reasons["optim.lr"]).not.toBe("set by you");
    expect((await readMetrics(out)).at(-1)?.step).toBe(settled.train.steps);
    expect((await train({ out, resume: true })).steps).toBe(settled.train.steps);
  });

  test("--dry-run measures, estimates and draws the crops, and leaves no run behind", async () => {
    const out = join(dir, "dry");
    await mkdir(out);
    const { text, steps, contactSheet } = await train({ config: config(7), out, dryRun: true });
    expect(steps).toBe(7);
    expect(text).toMatch(/images +24; 24 looked at, 0 of them broken/);
    expect(text).toMatch(/shorter side +24 to 24 px, median 24 px/);
    const { width, height } = await loadImage({ path: contactSheet ?? "" });
    expect(Math.min(width, height)).toBeGreaterThan(32);
    expect(await readdir(out)).toEqual(["dry-run.png"]);
    await train({ config: config(1), out });
  });

  test("--print-config shows every value with its reason", async () => {
    const { text = "" } = await train({ config: config(7), printConfig: true });
    expect(text).toMatch(/^train\.steps = 7 +# set by you$/m);
    expect(text).toMatch(/^objective\.centering = "sinkhorn" +# 24 images are few/m);
  });

  test("begins with the weights of a run, and lists every tensor that does not fit", async () => {
    const [from, to] = [join(dir, "init-from"), join(dir, "init-to")];
    await train({ config: config(2), out: from });
    const notes: string[] = [];
    await train({ config: { ...config(1), init: { from } }, out: to, onNotice: (line) => notes.push(line) });
    expect(notes.join("\n")).toMatch(/Began with (\d+) of \1 tensors/);
    const other = { ...config(1), head: { prototypes: 16, hidden: 32, bottleneck: 16 } };
    const partly = { config: { ...other, init: { from } }, out: join(dir, "init-part") };
    await expect(train(partly)).rejects.toThrow(/last_layer\.weight_v is \[32, 16\] and should be \[16, 16\].*--allow-partial/);
    await train({ ...partly, config: { ...other, init: { from, allowPartial: true } }, overwrite: true });
  });

  test("a second run on the same folder is refused while the first one lasts", async () => {
    const out = join(dir, "locked");
    let second: Promise<unknown> | undefined;
    const onProgress = (): void => {
      second ??= train({ out, resume: true }).catch((error: unknown) => error);
    };
    await train({ config: config(3), out, onProgress });
    expect(String(await second)).toMatch(/another process|is running|lock/);
  });

  test("refuses a checkpoint whose tensors are missing, extra or of another shape, each by name", async () => {
    const out = join(dir, "misfit");
    await trainUntil(2, { config: config(4), out });
    const at = checkpointDir(out, 2);
    const { tensors } = await readSafetensors(join(at, "student.safetensors"));
    const changed = new Map(tensors);
    changed.delete("backbone.norm.bias");
    changed.set("backbone.norm.extra", { dtype: "f32", shape: [1], data: new Float32Array(1) });
    changed.set("backbone.cls_token", { dtype: "f32", shape: [16], data: new Float32Array(16) });
    await writeCheckpoint(out, { ...(await readCheckpointState(at)), step: 2 }, async (into) => {
      await writeSafetensors(join(into, "student.safetensors"), changed);
      for (const name of ["teacher", "optimizer", "method"])
        await copyFile(join(at, `${name}.safetensors`), join(into, `${name}.safetensors`));
    });
    const refusal =
      /1 missing \(backbone\.norm\.bias\); 1 extra \(backbone\.norm\.extra; .*\); 1 of another shape \(backbone\.cls_token is \[16\] and should be \[1, 1, 16\]\)/;
    await expect(train({ out, resume: true })).rejects.toThrow(refusal);
  });

  test("says what accumulation cannot make the same as one batch", async () => {
    const notes: string[] = [];
    const accumulated = { ...config(1, { batchSize: 4, accumulate: 2 }), head: { ...config(1).head, batchNorm: true } };
    await train({ config: accumulated, out: join(dir, "accumulated"), onNotice: (line) => notes.push(line) });
    expect(notes.join("\n")).toMatch(/KoLeo looks for neighbours inside each micro-batch of 4 images, not over the 8 of a step/);
    expect(notes.join("\n")).toMatch(/batch norm takes its statistics inside each micro-batch/);
  });

  test("refuses to resume with another list than the checkpoint's", async () => {
    const out = join(dir, "list-cut");
    await trainUntil(1, { config: config(3), out });
    const file = join(out, "data.jsonl");
    const lines = (await readFile(file, "utf8")).trimEnd().split("\n");
    await writeFileAtomic(file, `${lines.slice(0, -1).join("\n")}\n`);
    await expect(train({ out, resume: true, acceptDataChange: true })).rejects.toThrow(/data\.jsonl has \d+ images and is not the list/);
  });
});
