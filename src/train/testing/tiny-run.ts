/** @file For tests of whole runs: sixteen noisy pictures, a network that trains in seconds, and a stop as Ctrl-C makes it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Rng } from "../../core/index.ts";
import { encodePng } from "../../images/node/index.ts";
import { writeFileAtomic } from "../../weights/index.ts";
import type { UserConfig } from "../config/index.ts";
import { checkpointDir } from "../run/index.ts";
import { train, type TrainOptions } from "../train.ts";

/** Pictures of 48 px into `DIR/images`. */
export async function writeNoise(dir: string): Promise<void> {
  const rng = new Rng(1);
  for (let i = 0; i < 16; i++) {
    const data = Uint8Array.from({ length: 48 * 48 * 3 }, (_, j) => (j % 7) * 20 + rng.int(100) + (i % 3) * 10);
    await writeFileAtomic(join(dir, "images", `${String(i).padStart(2, "0")}.png`), await encodePng({ width: 48, height: 48, data }));
  }
}

/** A run of `DIR/images`; sections of `more` take the place of its own. */
export function tinyRun(dir: string, method: "dino" | "dinov2" | "dinov3" | "simclr", steps = 4, more: UserConfig = {}): UserConfig {
  return {
    method,
    data: { path: join(dir, "images"), workers: 1 },
    model: { arch: "vit", depth: 2, width: 16, heads: 2, patchSizePx: 4, imageSizePx: 16 },
    crops: { globalSizePx: 16, localSizePx: 8, localCount: 2 },
    head: { prototypes: 32, hidden: 32, bottleneck: 16 },
    train: { batchSize: 4, steps, threads: 2 },
    checkpoint: { everySteps: 100 },
    log: { imagesEverySteps: 0 },
    ...more,
  };
}

/** Trains until `step` and stops there as Ctrl-C does. */
export async function trainUntil(step: number, options: TrainOptions): Promise<void> {
  const stop = new AbortController();
  await train({ ...options, signal: stop.signal, onProgress: ({ done }) => (done >= step ? stop.abort() : undefined) });
}

/** The bytes of a checkpoint's files. */
export function checkpointFiles(out: string, step: number, names: readonly string[]): Promise<Buffer[]> {
  return Promise.all(names.map((name) => readFile(join(checkpointDir(out, step), `${name}.safetensors`))));
}
