import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { resolveConfig, type RunFacts } from "../config/index.ts";
import { chooseGramTeacher } from "./gram-teacher.ts";
import type { Parent } from "./parent.ts";

const FACTS: RunFacts = { images: 2_000_000, medianSidePx: 600, cores: 64, memoryBytes: 2 ** 42 };

let dir = "";

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-gram-"));
});

afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
});

/** A run of `total` steps that kept its teachers after 10, 20 and 50 %, as far as the choice of a teacher looks. */
async function runOf(total: number, metrics: readonly object[] = []): Promise<Parent> {
  const run = await mkdtemp(join(dir, "run-"));
  const state = (step: number): Parent["last"]["state"] => ({
    formatVersion: 1,
    step,
    epoch: 1,
    sampleCursor: 0,
    seed: 0,
    threads: 1,
    runtime: "cpu linux-x64 node-24",
    dataDigest: "a".repeat(64),
    files: {},
  });
  for (const [name, step] of [10, 20, 50].map((part): [string, number] => [`milestone-${part}`, Math.round((part * total) / 100)])) {
    await mkdir(join(run, "checkpoints", name), { recursive: true });
    await writeFile(join(run, "checkpoints", name, "state.json"), JSON.stringify(state(step)));
  }
  await writeFile(join(run, "metrics.jsonl"), metrics.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return { dir: run, config: resolveConfig({ method: "dinov3" }, FACTS).config, last: { dir: join(run, "last"), state: state(total) } };
}

test("chooseGramTeacher() takes the teacher nearest to a fifth of a run that measured no patches", async () => {
  const choice = await chooseGramTeacher(await runOf(1_000_000));
  expect(basename(choice.path)).toBe("milestone-20");
  expect(choice.reason).toMatch(/after step 200000 of 1000000: patches are still clean after a fifth/);
});

test("chooseGramTeacher() takes the teacher nearest to the best measured patches", async () => {
  const metrics = [100, 200, 500, 1000].map((step) => ({ step, "dense.patchTop1": step === 500 ? 0.7 : 0.6 }));
  const choice = await chooseGramTeacher(await runOf(1000, metrics));
  expect(basename(choice.path)).toBe("milestone-50");
  expect(choice.reason).toContain("best patch k-NN (70.0 % after step 500)");
});

test("chooseGramTeacher() takes the last teacher where patches were best at the end", async () => {
  const metrics = [100, 1000].map((step) => ({ step, "dense.patchTop1": step / 2000 }));
  expect(basename((await chooseGramTeacher(await runOf(1000, metrics))).path)).toBe("last");
});

test("chooseGramTeacher() passes over a kept teacher that is damaged", async () => {
  const parent = await runOf(1_000_000);
  await writeFile(join(parent.dir, "checkpoints", "milestone-20", "state.json"), "{");
  expect(basename((await chooseGramTeacher(parent)).path)).toBe("milestone-10");
});
