import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TINY, writeTinyModel } from "../features/testing/tiny-model.ts";
import type { UserConfig } from "./config/index.ts";
import { distill } from "./distill.ts";
import { checkpointDir, readCheckpointState } from "./run/index.ts";
import { tinyRun, trainUntil, writeNoise } from "./testing/tiny-run.ts";
import { train, type TrainOptions } from "./train.ts";

let dir = "";
const at = (...parts: string[]): string => join(dir, ...parts);
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-dry-"));
  await writeNoise(dir);
  await writeTinyModel(at("weights"), { config: TINY });
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** What a run says before its first step. */
async function notesOf(run: (more: Pick<TrainOptions, "onNotice">) => Promise<unknown>): Promise<readonly string[]> {
  const notes: string[] = [];
  await run({ onNotice: (line) => void notes.push(line) });
  return notes.filter((line) => /^(Warning|Goes on|Gram teacher|Distillation|Student|KoLeo)/.test(line));
}

test("a dry run of a later stage tells its mixed sizes, and what the run says: whence it goes on and its Gram teacher", async () => {
  await train({ config: tinyRun(dir, "dinov3", 4), out: at("v3") });
  const later: UserConfig = {
    method: "dinov3",
    stage: "highres",
    init: { from: at("v3") },
    train: { steps: 1, batchSize: 2, accumulate: 2 },
    log: { imagesEverySteps: 0 },
  };
  const { text = "" } = await train({ config: later, out: at("dry"), dryRun: true });
  const said = await notesOf((more) => train({ config: later, out: at("hr"), ...more }));
  expect(said.join("\n")).toMatch(
    /Warning: stage highres[\s\S]*Goes on from step 4 of ".*v3"\nGram teacher: ".*milestone-20".*\nKoLeo looks/,
  );
  for (const line of said) expect(text.split("\n")).toContain(line);
  expect(text).toMatch(/^crops +2 of 32 px and 2 of 8 px(, \d+ px for the Gram teacher)?, 30 % of the steps$/m);
  expect(text).toMatch(/^ +2 of 48 px and 2 of 24 px(, \d+ px for the Gram teacher)?, 5 % of the steps$/m);
});

test("a dry run of a distillation tells teacher and students, and the result names each student's folder", async () => {
  const config: UserConfig = {
    data: { path: at("images"), workers: 1 },
    crops: { globalSizePx: 16, localSizePx: 8, localCount: 1 },
    train: { batchSize: 4, steps: 1, threads: 2 },
    log: { imagesEverySteps: 0 },
  };
  const options = { teacher: at("weights"), models: ["vit_pico_patch8", "vit_nano_patch4"], config };
  const { text = "" } = await distill({ ...options, dryRun: true, out: at("dry-students") });
  expect(text).toMatch(
    /^teacher +vit, width 12, 2 blocks, patch 4 px\nstudents +vit_pico_patch8, width 64, 3 blocks.*\n +vit_nano_patch4, width 96/m,
  );
  let students: Readonly<Record<string, string>> = {};
  const said = await notesOf(async (more) => ({ students = {} } = await distill({ ...options, out: at("students"), ...more })));
  expect(said).toHaveLength(3);
  for (const line of said) expect(text.split("\n")).toContain(line);
  expect(students).toEqual(Object.fromEntries(options.models.map((name) => [name, at("students", "exported", name, "last")])));
  for (const folder of Object.values(students)) expect(await readdir(folder)).toContain("model.safetensors");
  const one = await distill({ ...options, models: ["vit_pico_patch8"], out: at("one") });
  expect([one.exported, one.students]).toEqual([at("one", "exported", "last"), undefined]);
});

test("the minutes of a run that was stopped count both parts", async () => {
  const [out, config] = [at("parts"), tinyRun(dir, "dino", 4)];
  await trainUntil(2, { config, out });
  const { minutes: first = 0 } = await readCheckpointState(checkpointDir(out, 2));
  expect(first).toBeGreaterThan(0);
  const started = performance.now();
  const { minutes = 0 } = await train({ out, resume: true });
  const second = (performance.now() - started) / 60_000;
  expect(minutes).toBeGreaterThan(first);
  expect(minutes).toBeLessThanOrEqual(first + second);
  const { minutes: last = 0 } = await readCheckpointState(checkpointDir(out, 4));
  expect(last).toBeGreaterThan(first);
});
