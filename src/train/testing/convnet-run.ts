/** @file For tests of runs of convolutional networks: pictures of two colours, configurations, and a look at what a run exports. */
import { join } from "node:path";
import { expect } from "vitest";
import { Rng } from "../../core/index.ts";
import { evalKnn } from "../../evals/index.ts";
import { embed, readFeatureTable } from "../../features/index.ts";
import { encodePng } from "../../images/node/index.ts";
import { writeFileAtomic } from "../../weights/index.ts";
import type { UserConfig } from "../config/index.ts";

/** Twelve noisy pictures, red and blue, into `DIR/images`. */
export async function writeColours(dir: string): Promise<void> {
  const rng = new Rng(1);
  for (let i = 0; i < 12; i++) {
    const base = i % 2 === 0 ? [180, 20, 20] : [20, 20, 180];
    const data = Uint8Array.from({ length: 40 * 40 * 3 }, (_, j) => (base[j % 3] ?? 0) + rng.int(60));
    const name = join(dir, "images", i % 2 === 0 ? "red" : "blue", `${i}.png`);
    await writeFileAtomic(name, await encodePng({ width: 40, height: 40, data }));
  }
}

/** What all runs of `DIR/images` share. */
export const shortRun = (dir: string, steps: number): UserConfig => ({
  data: { path: join(dir, "images"), workers: 1 },
  train: { batchSize: 4, steps, threads: 2 },
  checkpoint: { everySteps: 100 },
});

/** A run at 32 px: a convolutional network's map is one pixel. */
export const smallRun = (
  dir: string,
  method: "dino" | "dinov2" | "simclr",
  model: NonNullable<UserConfig["model"]>,
  steps = 2,
): UserConfig => ({
  ...shortRun(dir, steps),
  method,
  model: { imageSizePx: 32, ...model },
  crops: { globalSizePx: 32, localSizePx: 32, localCount: 1 },
  head: { prototypes: 32, hidden: 32, bottleneck: 16 },
});

/** Embeds the images by a run's export, class token and all tokens, and classifies them. */
export async function useExport(dir: string, run: string, width: number): Promise<void> {
  const out = join(dir, "features.safetensors");
  const data = join(dir, "images");
  const all = await embed({ model: run, data, out, pool: "all", threads: 1, overwrite: true });
  expect(all.shape).toEqual([12, 2, width]);
  expect((await readFeatureTable(out)).features.every(Number.isFinite)).toBe(true);
  const knn = await evalKnn({ model: run, train: data, split: 0.34, k: [1], threads: 1 });
  expect(knn).toMatchObject({ classes: 2, dim: width });
}
