/**
 * @file Process start to the first finished training step on JPEG files, as a user starts it: ViT-Ti/16, 2×224 + 8×96 crops.
 *
 *   npm run -s bench -- startup [--data DIR] [--batch 8] [--reps 3] [--peer VENV/bin/python]
 *
 * Spawns `node bin/tricera.js train --steps 1 ...` and stops the clock when the first step is reported; interpreter, imports, listing of
 * the files, compilation and making of the crops are inside. `bin/tricera.js` runs `dist/`, so build first. Every run is a new process
 * with a new run folder; file caches are warm after the first. Without --data it draws 64 JPEG files of 640×480 into a temporary folder.
 *
 * The peer is `python bench/peers/startup.py --data DIR --batch 8` (torch, timm, lightly): import to the end of the first DINO step with
 * the same sizes. With --peer both run in turn, timed by the same clock.
 */
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Rng } from "../src/core/index.ts";
import { encodeJpeg } from "../src/images/node/index.ts";
import { timeUntil } from "./lib/time-until.ts";
import { median } from "./lib/timing.ts";

const { values } = parseArgs({
  options: {
    data: { type: "string" },
    batch: { type: "string", default: "8" },
    reps: { type: "string", default: "3" },
    peer: { type: "string" },
  },
});
const root = fileURLToPath(new URL("..", import.meta.url));
if (!existsSync(join(root, "dist", "cli", "main.js")))
  throw new Error("Cannot time the start: dist/ is missing; run `npm run build` first");

/** Blobs of colour: sizes and decoding times are near those of photographs, which noise would not be. */
async function drawPhotos(folder: string): Promise<void> {
  const [width, height] = [640, 480];
  const rng = new Rng(0);
  for (let i = 0; i < 64; i++) {
    const waves = Array.from({ length: 9 }, () => [rng.normal() / 40, rng.normal() / 40, 6 * rng.normal()] as const);
    const data = new Uint8Array(width * height * 3);
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        for (let c = 0; c < 3; c++) {
          let v = 128 + 8 * rng.normal();
          for (let w = c; w < 9; w += 3) v += 30 * Math.sin((waves[w]?.[0] ?? 0) * x + (waves[w]?.[1] ?? 0) * y + (waves[w]?.[2] ?? 0));
          data[(y * width + x) * 3 + c] = Math.max(0, Math.min(255, v));
        }
    await writeFile(join(folder, `${i}.jpg`), await encodeJpeg({ width, height, data }));
  }
}

const temp = await mkdtemp(join(tmpdir(), "tricera-startup-"));
try {
  if (values.data === undefined) await drawPhotos(temp);
  const data = values.data ?? temp;
  const sizes = ["crops.globalSizePx=224", "crops.localSizePx=96", "crops.localCount=8", "head.prototypes=65536"];
  const sets = sizes.flatMap((size) => ["--set", size]);
  const [ours, theirs]: [number[], number[]] = [[], []];
  for (let i = 0; i < Number(values.reps); i++) {
    const out = await mkdtemp(join(tmpdir(), "tricera-startup-run-"));
    const options = [
      "--data",
      data,
      "--out",
      join(out, "run"),
      "--steps",
      "1",
      "--model",
      "vit_tiny_patch16",
      "--batch-size",
      values.batch,
    ];
    try {
      const args = [join(root, "bin/tricera.js"), "train", ...options, ...sets];
      ours.push((await timeUntil(/training .*\b1\/1 steps/, process.execPath, args, { cwd: root })).ms);
    } finally {
      await rm(out, { recursive: true, force: true });
    }
    const peerOptions = [join(root, "bench/peers/startup.py"), "--data", data, "--batch", values.batch];
    if (values.peer !== undefined) theirs.push((await timeUntil(/^step 1 /m, values.peer, peerOptions, { cwd: root })).ms);
  }
  const peer =
    theirs.length === 0
      ? {}
      : {
          peer_first_step_ms: Math.round(median(theirs)),
          peer_runs_ms: theirs.map(Math.round),
          ratio: Math.round((1000 * median(ours)) / median(theirs)) / 1000,
        };
  const result = { script: "startup", model: "vit_tiny_patch16", batch: Number(values.batch), first_step_ms: Math.round(median(ours)) };
  console.log(JSON.stringify({ ...result, runs_ms: ours.map(Math.round), ...peer }));
} finally {
  await rm(temp, { recursive: true, force: true });
}
