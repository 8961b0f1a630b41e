/** @file For tests of runs on pictures of bands: a dozen pictures of five bands, of one and of colours, in two classes; and configurations. */
import { join } from "node:path";
import { Rng } from "../../core/index.ts";
import { encodePng } from "../../images/node/index.ts";
import { encodeTiff } from "../../images/testing/tiff.ts";
import { writeFileAtomic } from "../../weights/index.ts";
import type { UserConfig } from "../config/index.ts";
import { tinyRun } from "./tiny-run.ts";

/** Side of the pictures, and how many there are of each kind. */
export const SIDE = 24;
export const COUNT = 12;

/** Noise around a level of each band, which tells class 0 from class 1. */
export function field(seed: number, channels: number, most: number): number[] {
  const rng = new Rng(seed);
  return Array.from({ length: SIDE * SIDE * channels }, (_, i) =>
    Math.round(most * (0.1 + 0.1 * (i % channels) + (seed % 2) * 0.1 + 0.3 * rng.uniform())),
  );
}

/** `DIR/five/class-C/NN.tif` of five bands of 16 bits, `DIR/grey/NN.tiff`, `DIR/images/NN.png`. */
export async function writeBands(dir: string): Promise<void> {
  for (let i = 0; i < COUNT; i++) {
    const name = `${String(i).padStart(2, "0")}`;
    const five = encodeTiff(field(i, 5, 65_535), { width: SIDE, height: SIDE, channels: 5, bits: 16 });
    await writeFileAtomic(join(dir, "five", `class-${i % 2}`, `${name}.tif`), five);
    const grey = encodeTiff(field(i, 1, 255), { width: SIDE, height: SIDE, channels: 1, bits: 8 });
    await writeFileAtomic(join(dir, "grey", `${name}.tiff`), grey);
    const data = Uint8Array.from(field(i, 3, 255));
    await writeFileAtomic(join(dir, "images", `${name}.png`), await encodePng({ width: SIDE, height: SIDE, data }));
  }
}

/** A tiny run of DINOv2 on one of the folders. */
export function bandRun(folder: string, channels: number, more: UserConfig = {}): UserConfig {
  const base = tinyRun("", "dinov2", 3);
  return { ...base, ...more, data: { path: folder, workers: 1 }, model: { ...base.model, channels, ...more.model } };
}
