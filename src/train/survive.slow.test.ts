import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync, readdirSync, writeSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Rng } from "../core/index.ts";
import { encodePng } from "../images/node/index.ts";
import { writeFileAtomic } from "../weights/index.ts";
import { checkpointDir, readMetrics } from "./run/index.ts";
import { train, type TrainOptions } from "./train.ts";

const STEPS = 40;
let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-survive-"));
  const rng = new Rng(1);
  for (let i = 0; i < 16; i++) {
    const data = Uint8Array.from({ length: 16 * 16 * 3 }, () => rng.int(256));
    await writeFileAtomic(join(dir, "images", `${i}.png`), await encodePng({ width: 16, height: 16, data }));
  }
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const config = (): NonNullable<TrainOptions["config"]> => ({
  data: { path: join(dir, "images"), workers: 1 },
  model: { arch: "vit", depth: 2, width: 64, heads: 2, patchSizePx: 4, imageSizePx: 16 },
  crops: { globalSizePx: 16, localSizePx: 8, localCount: 1 },
  head: { prototypes: 256, hidden: 128, bottleneck: 64 },
  train: { batchSize: 8, steps: STEPS, threads: 1 },
  checkpoint: { everySteps: 1, keepLast: 2 },
  log: { imagesEverySteps: 0 },
});

const CHILD = fileURLToPath(new URL("testing/train-child.ts", import.meta.url));

/** A training process that says each step it finishes on stdout. */
function startTraining(out: string, resume: boolean): ChildProcess {
  const options: TrainOptions = resume ? { out, resume } : { out, config: config() };
  return spawn(process.execPath, [CHILD, JSON.stringify(options)], { stdio: ["ignore", "pipe", "inherit"] });
}

/** Kills a training as a power cut does when `isTime` says so, looked at every millisecond. Returns false when it ended before. */
async function killWhen(out: string, resume: boolean, isTime: () => boolean): Promise<boolean> {
  const child = startTraining(out, resume);
  const ended = new Promise<boolean>((resolve) => child.on("exit", (code) => resolve(code === null)));
  const watch = setInterval(() => {
    if (isTime()) child.kill("SIGKILL");
  }, 1);
  const wasKilled = await ended;
  clearInterval(watch);
  return wasKilled;
}

const names = (folder: string): readonly string[] => (existsSync(folder) ? readdirSync(folder) : []);

describe("train survives", () => {
  test("kill -9 at any moment, also inside a checkpoint, and goes on bit for bit", { timeout: 300_000 }, async () => {
    const [whole, killed] = [join(dir, "whole"), join(dir, "killed")];
    await train({ config: config(), out: whole });
    const folder = join(killed, "checkpoints");
    const partial = (): boolean => names(folder).some((name) => name.includes(".partial-"));
    const kills = [partial, partial, () => names(folder).includes("step-00000012"), partial, () => names(folder).includes("step-00000023")];
    let inside = 0;
    for (const [i, isTime] of kills.entries()) {
      // leftovers of the kill before do not count: a resumed run clears them first
      let cleared = i === 0;
      const wasKilled = await killWhen(killed, i > 0, () => (cleared ||= !partial()) && isTime());
      expect(wasKilled, `kill ${i}`).toBe(true);
      if (partial()) inside++;
    }
    expect(inside, "kills inside a checkpoint").toBeGreaterThan(0);
    const result = await train({ out: killed, resume: true });
    expect(result.steps).toBe(STEPS);
    for (const name of ["student", "teacher", "optimizer", "method"]) {
      const [a, b] = await Promise.all([whole, killed].map((out) => readFile(join(checkpointDir(out, STEPS), `${name}.safetensors`))));
      expect(a?.equals(b ?? Buffer.alloc(0)), name).toBe(true);
    }
    expect((await readMetrics(killed)).map((l) => l["loss"])).toEqual((await readMetrics(whole)).map((l) => l["loss"]));
    expect(names(folder).filter((name) => name.includes("partial"))).toEqual([]);
  });

  test("a disk that fills up during a checkpoint", { timeout: 120_000 }, async ({ skip }) => {
    const disk = join(dir, "disk");
    await mkdir(disk);
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=24m", "tmpfs", disk]);
    if (mounted.status !== 0) skip("a small file system cannot be mounted here (needs Linux and root)");
    try {
      const out = join(disk, "run");
      const filler = join(disk, "filler");
      const onProgress = ({ done }: { readonly done: number }): void => {
        if (done === 5) fill(filler);
      };
      await expect(train({ config: config(), out, onProgress })).rejects.toThrow(
        /disk is full \(\d+ bytes needed, 0 bytes free\); free some space/,
      );
      expect(names(join(out, "checkpoints")).filter((name) => name.startsWith("step-"))).toContain("step-00000004");
      await rm(filler);
      expect((await train({ out, resume: true })).steps).toBe(STEPS);
    } finally {
      spawnSync("umount", [disk]);
    }
  });
});

/** Writes until there is no room left. */
function fill(path: string): void {
  const file = openSync(path, "w");
  const block = new Uint8Array(1 << 16);
  try {
    for (;;) writeSync(file, block);
  } catch {
    // the disk is full now
  } finally {
    closeSync(file);
  }
}
