/**
 * @file DINO's multi-crop augmentation from JPEG files, images/s: the twin of `multicrop.py`, 2x224 + 8x96 crops, one JSON line.
 *
 *   node bench/multicrop.ts --photos DIR [--images 100] [--reps 5] [--workers 2]
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { DINO_AUGMENT, DINO_CROPS } from "../src/images/index.ts";
import { openCropPool, type ImageRef } from "../src/images/node/index.ts";

const BATCH = 20; // as the peer's DataLoader

const { values } = parseArgs({
  options: {
    photos: { type: "string" },
    images: { type: "string", default: "100" },
    reps: { type: "string", default: "5" },
    workers: { type: "string", default: "2" },
  },
});
if (values.photos === undefined) throw new Error("Cannot run multicrop: --photos is missing; give a folder of .jpg files");
const folder = values.photos;
const workers = Number(values.workers);
const refs: ImageRef[] = readdirSync(folder)
  .filter((f) => f.endsWith(".jpg"))
  .toSorted()
  .slice(0, Number(values.images))
  .map((f, sampleId) => ({ sampleId, path: join(folder, f) }));

await using pool = openCropPool({
  threads: workers,
  seed: 0,
  crops: DINO_CROPS,
  augment: DINO_AUGMENT,
  decode: "python",
  alpha: "drop",
  cacheBytes: 0,
});

/** Every picture once, two batches ahead, each given back when it is read. */
async function once(epoch: number): Promise<void> {
  const ahead: ReturnType<typeof pool.crop>[] = [];
  for (let i = 0; i < refs.length; i += BATCH) {
    ahead.push(pool.crop(refs.slice(i, i + BATCH), { epoch }));
    if (ahead.length > 2) pool.recycle(await ahead.shift()!); // length was just checked
  }
  for (const batch of ahead) pool.recycle(await batch);
}

await once(0);
const times: number[] = [];
for (let rep = 1; rep <= Number(values.reps); rep++) {
  const start = performance.now();
  await once(rep);
  times.push(performance.now() - start);
}
const median = times.toSorted((a, b) => a - b)[times.length >> 1] ?? Number.NaN;
const imagesPerS = { tricera: Math.round((refs.length / median) * 1e4) / 10 };
console.log(JSON.stringify({ script: "multicrop", images: refs.length, workers, images_per_s: imagesPerS }));
