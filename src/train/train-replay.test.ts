import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readSafetensors } from "../weights/index.ts";
import type { UserConfig } from "./config/index.ts";
import { distill } from "./distill.ts";
import { readConfig } from "./loop/prepare.ts";
import { checkpointDir } from "./run/index.ts";
import { checkpointFiles, tinyRun, trainUntil, writeNoise } from "./testing/tiny-run.ts";
import { train } from "./train.ts";

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-replay-"));
  await writeNoise(dir);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** A rate at which the second step cannot be finite. */
const BURST: UserConfig = { optim: { lr: 1e30, clipKind: "none" } };
const LATER: UserConfig = {
  train: { steps: 6, threads: 2 },
  checkpoint: { everySteps: 100 },
  log: { imagesEverySteps: 0 },
  schedule: { lrWarmupEpochs: 0 },
};

/** The one dump of a run that broke, and what it says. */
async function dumpOf(out: string): Promise<{ readonly at: string; readonly files: readonly string[]; readonly json: string }> {
  const [name = ""] = await readdir(join(out, "dumps"));
  const at = join(out, "dumps", name);
  return { at, files: (await readdir(at)).sort(), json: await readFile(join(at, "dump.json"), "utf8") };
}

describe("a dump holds what --replay needs", () => {
  test.each(["dinov2", "dinov3", "simclr"] as const)("of %s, in several micro-batches", async (method) => {
    const out = join(dir, `nan-${method}`);
    const more = { ...BURST, train: { batchSize: 4, accumulate: 2, steps: 6, threads: 2 }, schedule: { lrWarmupEpochs: 0 } };
    await expect(train({ config: tinyRun(dir, method, 6, more), out })).rejects.toThrow(/Cannot go on training: step 2 has a loss of/);
    const { at, json } = await dumpOf(out);
    expect((JSON.parse(json) as { offending: unknown[] }).offending.length).toBeGreaterThan(0); // our own file
    const again = await train({ replay: at });
    expect(again.reproduced).toBe(true);
    expect(again.text).toMatch(/grads\.backbone\./);
  });

  test("of the Gram and high-resolution stages: their Gram teacher, at the sizes of the step", async () => {
    const [first, gram, high] = [join(dir, "v3"), join(dir, "v3-gram"), join(dir, "v3-high")];
    await train({ config: tinyRun(dir, "dinov3", 2), out: first });
    const stage = (name: "gram" | "highres", from: string): UserConfig => ({ ...LATER, method: "dinov3", stage: name, init: { from } });
    const once = { firstUpdateStep: 0, updateEverySteps: 0, maxUpdates: 0 };
    await expect(train({ config: { ...stage("gram", first), ...BURST, gram: once }, out: gram })).rejects.toThrow(/Cannot go on training/);
    await expect(train({ config: { ...stage("highres", first), ...BURST }, out: high })).rejects.toThrow(/Cannot go on training/);
    for (const out of [gram, high]) {
      const { at, files } = await dumpOf(out);
      expect(files).toContain("gram.safetensors");
      const given = join((await readConfig(out)).config.gram.teacher ?? "", "teacher.safetensors");
      const [kept, was] = await Promise.all([join(at, "gram.safetensors"), given].map((file) => readSafetensors(file)));
      for (const [name, { data }] of kept?.tensors ?? []) expect(data).toEqual(was?.tensors.get(name)?.data);
      const again = await train({ replay: at });
      expect(again.reproduced).toBe(true);
      expect(again.text).not.toMatch(/Gram crops/); // they were finite
    }
  });

  test("of a distillation: its frozen teacher, whatever became of the run that it came from; both students are looked at", async () => {
    const [teacher, out] = [join(dir, "gone"), join(dir, "nan-small")];
    await train({ config: tinyRun(dir, "dinov2", 1), out: teacher });
    const data = { data: { path: join(dir, "images"), workers: 1 }, train: { batchSize: 4, steps: 6, threads: 2 } };
    const options = { teacher, models: ["vit_pico_patch8", "vit_nano_patch4"], config: { ...LATER, ...data, ...BURST }, out };
    await expect(distill(options)).rejects.toThrow(/Cannot go on training: step 2/);
    const { at, files } = await dumpOf(out);
    expect(files).toContain("frozen-teacher.safetensors");
    const [was, kept] = [join(checkpointDir(teacher, 1), "teacher.safetensors"), join(at, "frozen-teacher.safetensors")];
    const [a, b] = await Promise.all([was, kept].map((file) => readSafetensors(file)));
    for (const [name, { data: numbers }] of b?.tensors ?? []) expect(numbers).toEqual(a?.tensors.get(name)?.data);
    await rm(teacher, { recursive: true });
    const again = await train({ replay: at });
    expect(again.reproduced).toBe(true);
    expect(again.text).not.toMatch(/teacher features/); // the teacher is finite
    expect(again.text).toMatch(/loss\.vit_pico_patch8\.globals +NaN[\s\S]*loss\.vit_nano_patch4\.globals +NaN/);
  });
});

describe("a run that goes on", () => {
  test("keeps the frozen teacher that it began with, though the teacher's run went on", async () => {
    const [teacher, whole, parted] = [join(dir, "moves"), join(dir, "kept"), join(dir, "kept-parted")];
    await trainUntil(1, { config: tinyRun(dir, "dinov2", 4), out: teacher });
    const data = { data: { path: join(dir, "images"), workers: 1 }, train: { batchSize: 4, steps: 4, threads: 2 } };
    const options = { teacher, models: ["vit_pico_patch8"], config: { ...LATER, ...data } };
    const notes: string[] = [];
    await distill({ ...options, out: whole, onNotice: (line) => notes.push(line) });
    expect(notes.join("\n")).toMatch(
      /Student vit_pico_patch8: features of \d+, wider than its teacher's 16; heads of its own project them.*from a grid of 2 to the teacher's 4/,
    );
    const stop = new AbortController();
    await distill({ ...options, out: parted, signal: stop.signal, onProgress: ({ done }) => (done >= 2 ? stop.abort() : undefined) });
    await train({ out: teacher, resume: true });
    await train({ out: parted, resume: true });
    const names = ["student", "teacher", "optimizer", "method"];
    const [a, b] = [await checkpointFiles(whole, 4, names), await checkpointFiles(parted, 4, names)];
    names.forEach((name, i) => expect(a[i]?.equals(b[i] ?? Buffer.alloc(0)), name).toBe(true));
  });

  test("in a later stage counts on with the optimizer's updates", async () => {
    const [first, gram] = [join(dir, "counts"), join(dir, "counts-gram")];
    await train({ config: tinyRun(dir, "dinov3", 5), out: first });
    await train({ config: { ...LATER, train: { steps: 2 }, method: "dinov3", stage: "gram", init: { from: first } }, out: gram });
    const counts = async (out: string, step: number): Promise<readonly number[]> => {
      const { tensors } = await readSafetensors(join(checkpointDir(out, step), "optimizer.safetensors"));
      return Array.from(tensors.get("step_counts")?.data as Int32Array); // our checkpoints hold int32
    };
    const [before, after] = [await counts(first, 5), await counts(gram, 2)];
    expect(Math.max(...before)).toBe(5);
    expect(after).toEqual(before.map((n) => n + 2));
  });

  test("with a Gram teacher copied along the way is anchored from then on, and a stop changes no bit", async () => {
    const [whole, parted] = [join(dir, "copied"), join(dir, "copied-parted")];
    const gram = { teacher: null, sizePx: 0, firstUpdateStep: 2, updateEverySteps: 2, maxUpdates: 1 };
    const config = tinyRun(dir, "dinov3", 4, { objective: { gramWeight: 2, gramWeightWarmupSteps: 0 }, gram });
    await train({ config, out: whole });
    await trainUntil(2, { config, out: parted });
    await train({ out: parted, resume: true });
    const names = ["student", "gram", "optimizer"];
    const [a, b] = [await checkpointFiles(whole, 4, names), await checkpointFiles(parted, 4, names)];
    names.forEach((name, i) => expect(a[i]?.equals(b[i] ?? Buffer.alloc(0)), name).toBe(true));
  });

  test("is not emptied for a run that begins with it", async () => {
    const out = join(dir, "source");
    await train({ config: tinyRun(dir, "dino", 1), out });
    const over = (config: UserConfig): Promise<unknown> => train({ config, out, overwrite: true });
    await expect(over(tinyRun(dir, "dino", 1, { init: { from: out } }))).rejects.toThrow(
      /Cannot overwrite ".*source": the new run wants ".*source" of it \(init\.from\); choose another --out/,
    );
    await expect(over(tinyRun(dir, "dino", 1, { data: { path: join(out, "images") } }))).rejects.toThrow(/\(data\.path\)/);
    expect(await readdir(join(out, "checkpoints"))).toContain("step-00000001");
  });
});
