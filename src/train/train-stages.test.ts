import { mkdtemp, readdir, rm } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readSafetensors } from "../weights/index.ts";
import type { UserConfig } from "./config/index.ts";
import { distill } from "./distill.ts";
import { readConfig } from "./loop/prepare.ts";
import { checkpointDir, readMetrics } from "./run/index.ts";
import { checkpointFiles as files, tinyRun, trainUntil, writeNoise } from "./testing/tiny-run.ts";
import { train } from "./train.ts";

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-stages-"));
  await writeNoise(dir);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const config = (method: Parameters<typeof tinyRun>[1], steps = 4, more: UserConfig = {}): UserConfig => tinyRun(dir, method, steps, more);

describe("methods as runs", () => {
  test.each(["dinov2", "dinov3", "simclr"] as const)("%s: a run that was stopped goes on bit for bit", async (method) => {
    const [whole, parted] = [join(dir, `${method}-whole`), join(dir, `${method}-parted`)];
    await train({ config: config(method), out: whole });
    await trainUntil(2, { config: config(method), out: parted });
    await train({ out: parted, resume: true });
    const names = ["student", "teacher", "optimizer", "method"];
    const [a, b] = [await files(whole, 4, names), await files(parted, 4, names)];
    names.forEach((name, i) => expect(a[i]?.equals(b[i] ?? Buffer.alloc(0)), name).toBe(true));
    for (const line of await readMetrics(whole)) if (line["loss"] !== undefined) expect(Number.isFinite(line["loss"])).toBe(true);
  });

  test("the three stages of DINOv3 hand over by themselves, and every choice is written down", async () => {
    const [first, gram, high] = [join(dir, "v3"), join(dir, "v3-gram"), join(dir, "v3-hr")];
    await train({ config: config("dinov3", 10), out: first });
    const notes: string[] = [];
    const onNotice = (line: string): void => void notes.push(line);
    const later = { train: { steps: 4 }, checkpoint: { everySteps: 100 }, log: { imagesEverySteps: 0 } };
    await train({ config: { ...later, method: "dinov3", stage: "gram", init: { from: first } }, out: gram, onNotice });
    const settled = await readConfig(gram);
    expect(settled.config.model).toEqual((await readConfig(first)).config.model);
    expect(settled.config.gram.teacher).toBe(join(first, "checkpoints", "milestone-20"));
    expect(settled.reasons["gram.teacher"]).toMatch(/the teacher after step 2 of 10/);
    expect(notes.join("\n")).toMatch(/Goes on from step 10[\s\S]*Gram teacher: .*milestone-20/);
    expect((await readMetrics(gram)).at(-1)?.["loss.gram"]).toBeGreaterThan(0);

    await train({ config: { ...later, method: "dinov3", stage: "highres", init: { from: gram } }, out: high });
    const { config: highres } = await readConfig(high);
    expect(highres.crops.sizes.length).toBeGreaterThan(0);
    expect(highres.gram.teacher).toContain("gram.safetensors");
    expect((await readMetrics(high)).at(-1)?.["loss.gram"]).toBeGreaterThan(0);
  });

  test("the Gram teacher is renewed when it is due, at most as often as said, and a resumed run has the renewed one", async () => {
    const [first, out, again] = [join(dir, "renew-v3"), join(dir, "renew"), join(dir, "renew-parted")];
    await train({ config: config("dinov3", 5), out: first });
    const gram = { firstUpdateStep: 2, updateEverySteps: 2, maxUpdates: 1 };
    const staged: UserConfig = {
      method: "dinov3",
      stage: "gram",
      init: { from: first },
      gram,
      train: { steps: 5 },
      checkpoint: { everySteps: 1, keepLast: 5 },
      log: { imagesEverySteps: 0 },
      schedule: { momentumTeacher: 0.5 },
    };
    await train({ config: staged, out });
    const at = async (step: number, file: string): Promise<Float32Array> => {
      const { tensors } = await readSafetensors(join(checkpointDir(out, step), `${file}.safetensors`));
      return tensors.get("backbone.patch_embed.proj.weight")?.data as Float32Array; // our checkpoints are float32
    };
    expect(await at(2, "gram")).toEqual(await at(2, "teacher"));
    expect(await at(1, "gram")).not.toEqual(await at(2, "gram"));
    expect(await at(5, "gram")).toEqual(await at(2, "gram")); // once
    await trainUntil(3, { config: staged, out: again });
    await train({ out: again, resume: true });
    const [a, b] = [await files(out, 5, ["gram", "student"]), await files(again, 5, ["gram", "student"])];
    expect(a[0]?.equals(b[0] ?? Buffer.alloc(0)) === true && a[1]?.equals(b[1] ?? Buffer.alloc(0)) === true).toBe(true);
  });

  test("a later stage without a run, or with one of another method, is refused", async () => {
    const out = join(dir, "refused");
    const staged = (from: string | null): UserConfig => ({ method: "dinov3", stage: "gram", init: { from }, train: { steps: 1 } });
    await expect(train({ config: staged(null), out })).rejects.toThrow(/Cannot start stage .*there is no run to go on from/);
    await expect(train({ config: staged(join(dir, "images")), out })).rejects.toThrow(/is no run folder/);
    await train({ config: config("dino", 1), out: join(dir, "plain") });
    await expect(train({ config: staged(join(dir, "plain")), out })).rejects.toThrow(/is a run of dino/);
  });

  test("a Gram teacher of another network is refused with what differs", async () => {
    const [first, other] = [join(dir, "gram-a"), join(dir, "gram-b")];
    await train({ config: config("dinov3", 1), out: first });
    const wide = { arch: "vit", depth: 2, width: 24, heads: 2, patchSizePx: 8, imageSizePx: 16, registers: 1 };
    await train({ config: config("dinov3", 1, { model: wide }), out: other });
    const staged: UserConfig = { method: "dinov3", stage: "gram", init: { from: first }, gram: { teacher: other }, train: { steps: 1 } };
    await expect(train({ config: staged, out: join(dir, "gram-c") })).rejects.toThrow(
      /Cannot anchor to the Gram teacher.*of another shape.*width, patch size, blocks and registers/,
    );
    const absent: UserConfig = { ...staged, gram: { teacher: join(dir, "nowhere") } };
    await expect(train({ config: absent, out: join(dir, "gram-d") })).rejects.toThrow(
      /Cannot anchor to the Gram teacher ".*nowhere": there is no ".*teacher\.safetensors"; give a run folder/,
    );
  });

  test("a backbone of another method begins a run: partly only when allowed, and every tensor is accounted for", async () => {
    const from = join(dir, "init-dino");
    await train({ config: config("dino", 1), out: from });
    const begun = (init: object): UserConfig => config("dinov2", 1, { init: { from, ...init } });
    await expect(train({ config: begun({}), out: join(dir, "init-a") })).rejects.toThrow(/missing \(backbone\.mask_token.*--allow-partial/);
    const notes: string[] = [];
    const onNotice = (line: string): void => void notes.push(line);
    await train({ config: begun({ allowPartial: true }), out: join(dir, "init-b"), onNotice });
    expect(notes.join("\n")).toMatch(/Began with \d+ of \d+ tensors.*new: \d+ of backbone/);
  });

  test("one teacher teaches two students of other widths and patches; each is kept, and a stopped run goes on bit for bit", async () => {
    const [teacher, whole, parted] = [join(dir, "teacher"), join(dir, "small"), join(dir, "small-parted")];
    await train({ config: config("dinov2", 2), out: teacher });
    const models = ["vit_pico_patch8", "vit_nano_patch4"];
    const more: UserConfig = { data: { path: join(dir, "images"), workers: 1 }, train: { batchSize: 4, steps: 4, threads: 2 } };
    const options = { teacher, models, config: { ...more, checkpoint: { everySteps: 100 }, log: { imagesEverySteps: 0 } } };
    await distill({ ...options, out: whole });
    const stop = new AbortController();
    await distill({ ...options, out: parted, signal: stop.signal, onProgress: ({ done }) => (done >= 2 ? stop.abort() : undefined) });
    await train({ out: parted, resume: true });
    const names = ["student", "teacher", "optimizer", "student-vit_nano_patch4", "teacher-vit_nano_patch4", "method"];
    const [a, b] = [await files(whole, 4, names), await files(parted, 4, names)];
    names.forEach((name, i) => expect(a[i]?.equals(b[i] ?? Buffer.alloc(0)), name).toBe(true));
    for (const name of models) expect(await readdir(join(whole, "exported", name, "last"))).toContain("model.safetensors");
    const losses = (await readMetrics(whole)).flatMap((line) => line["loss.vit_nano_patch4.ibot"] ?? []);
    for (const loss of losses) expect(loss).toBeGreaterThan(0);
    expect((await readMetrics(whole)).every(({ kl }) => kl === undefined || Number(kl) > -1e-3)).toBe(true);
  });

  test("distillation refuses what cannot teach, and no students", async () => {
    const data = { data: { path: join(dir, "images") } };
    const of = (teacher: string, models: readonly string[], more: UserConfig = {}) =>
      distill({ teacher, models, config: { ...data, ...more }, out: join(dir, "no") });
    await expect(of(join(dir, "images"), ["vit_pico_patch8"])).rejects.toThrow(/Cannot open model .* no model\.safetensors/);
    await train({ config: config("simclr", 1), out: join(dir, "control") });
    const byPrototypes: UserConfig = { distill: { objective: "prototypes" } };
    await expect(of(join(dir, "control"), ["vit_pico_patch8"], byPrototypes)).rejects.toThrow(
      /Cannot distill from .*SimCLR has no prototypes; give the --out of a run with heads, or leave distill\.objective out/,
    );
    await train({ config: config("dino", 1), out: join(dir, "teaches") });
    await expect(of(join(dir, "teaches"), [])).rejects.toThrow(/there are no students/);
    await expect(of(join(dir, "teaches"), ["vit_pica_patch8"])).rejects.toThrow(/no such preset.*vit_pico_patch8/s);
  });

  test("with LoRA only adapters and heads move, and the exported backbone has them merged in", async () => {
    const [from, out] = [join(dir, "lora-from"), join(dir, "lora")];
    await train({ config: config("dinov2", 2), out: from });
    const lora = { loraRank: 2, headWarmupSteps: 0 };
    await train({ config: config("dinov2", 3, { init: { from, ...lora }, optim: { lr: 0.01 } }), out });
    const [before, after] = [
      (await readSafetensors(join(checkpointDir(from, 2), "teacher.safetensors"))).tensors,
      (await readSafetensors(join(checkpointDir(out, 3), "student.safetensors"))).tensors,
    ];
    const moved = [...before].filter(([name, { data }]) => !isDeepStrictEqual(after.get(name)?.data, data));
    expect(moved.map(([name]) => name.split(".", 1)[0])).not.toContain("backbone");
    const up = after.get("backbone.blocks.0.attn.qkv.lora_B")?.data as Float32Array; // an adapter that started at 0
    expect(up.some((x) => x !== 0)).toBe(true);
    const exported = (await readSafetensors(join(out, "exported", "last", "model.safetensors"))).tensors;
    expect([...exported.keys()].some((name) => name.includes("lora"))).toBe(false);
  });
});
