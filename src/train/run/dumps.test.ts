import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { resolveConfig } from "../config/index.ts";
import { findNotFinite, readDump, writeDump } from "./dumps.ts";

let run = "";
beforeEach(async () => {
  run = await mkdtemp(join(tmpdir(), "tricera-dump-"));
});
afterEach(() => rm(run, { recursive: true, force: true }));

const { config } = resolveConfig({ train: { steps: 9 } }, { images: 500, medianSidePx: 32, cores: 2, memoryBytes: 2 ** 34 });
const dump = {
  step: 7,
  epoch: 1,
  seed: 3,
  reason: "The loss is NaN",
  offending: [{ name: "loss", count: 1, firstIndex: 0 }],
  images: [
    { sampleId: 4, path: "a b.png" },
    { sampleId: 2, path: "ü.tar", offset: 512, bytes: 99 },
  ],
  loss: null,
  scalars: {
    lr: 1e-3,
    weightDecay: 0.04,
    emaMomentum: 0.99,
    teacherTemp: 0.05,
    clip: { kind: "per-parameter" as const, norm: 3 },
    freezeLastLayer: false,
  },
  config,
};

test("findNotFinite() names the tensors, counts the values and finds the first", () => {
  expect(
    findNotFinite([
      ["a", [1, 2]],
      ["b", Float32Array.of(0, NaN, Infinity)],
    ]),
  ).toEqual([{ name: "b", count: 2, firstIndex: 1 }]);
});

test("writeDump() is read again by readDump()", async () => {
  const dir = await writeDump(run, dump, (to) => writeFile(join(to, "student.safetensors"), "x"));
  expect(dir).toBe(join(run, "dumps", "step-00000007"));
  expect(await readDump(dir)).toEqual({ formatVersion: 1, ...dump });
});

test("readDump() says what is wrong with a folder", async () => {
  const dir = await writeDump(run, dump, () => Promise.resolve());
  await expect(readDump(run)).rejects.toThrow(/this is a run folder; give one of its dumps: step-00000007/);
  await expect(readDump(join(run, "none"))).rejects.toThrow(/no dump\.json/);
  await writeFile(join(dir, "dump.json"), "{");
  await expect(readDump(dir)).rejects.toThrow(/not JSON/);
  await writeFile(join(dir, "dump.json"), JSON.stringify({ ...dump, formatVersion: 9 }));
  await expect(readDump(dir)).rejects.toThrow(/format 9 is newer/);
  await writeFile(join(dir, "dump.json"), JSON.stringify({ ...dump, formatVersion: 1, step: "7" }));
  await expect(readDump(dir)).rejects.toThrow(/wrong step/);
});
