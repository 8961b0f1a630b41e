import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Rng } from "../core/index.ts";
import { evalKnn } from "../evals/index.ts";
import { embed, readFeatureTable } from "../features/index.ts";
import { encodePng } from "../images/node/index.ts";
import { CONVNEXT_PRESETS, RESNET_PRESETS } from "../nn/index.ts";
import { readBackbone, readSafetensors, writeFileAtomic } from "../weights/index.ts";
import type { UserConfig } from "./config/index.ts";
import { distill } from "./distill.ts";
import { checkpointDir, readMetrics } from "./run/index.ts";
import { train } from "./train.ts";

let dir = "";
const at = (...parts: string[]): string => join(dir, ...parts);
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-convnets-"));
  const rng = new Rng(1);
  for (let i = 0; i < 12; i++) {
    const base = i % 2 === 0 ? [180, 20, 20] : [20, 20, 180];
    const data = Uint8Array.from({ length: 40 * 40 * 3 }, (_, j) => (base[j % 3] ?? 0) + rng.int(60));
    await writeFileAtomic(at("images", i % 2 === 0 ? "red" : "blue", `${i}.png`), await encodePng({ width: 40, height: 40, data }));
  }
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const common = (steps: number): UserConfig => ({
  data: { path: at("images"), workers: 1 },
  train: { batchSize: 4, steps, threads: 2 },
  checkpoint: { everySteps: 100 },
});
const config = (method: "dino" | "simclr", arch: string, steps = 2): UserConfig => ({
  ...common(steps),
  method,
  model: { arch, imageSizePx: 32 },
  crops: { globalSizePx: 32, localSizePx: 32, localCount: 1 },
  head: { prototypes: 32, hidden: 32, bottleneck: 16 },
});

/** Embeds the images by a run's export, cls and patches, and classifies them. */
async function useExport(run: string, width: number): Promise<void> {
  const out = at("features.safetensors");
  const table = await embed({ model: run, data: at("images"), out, threads: 1, overwrite: true });
  expect(table).toMatchObject({ images: 12, dim: width });
  const { features } = await readFeatureTable(out);
  expect(features.every(Number.isFinite)).toBe(true);
  const all = await embed({ model: run, data: at("images"), out, pool: "all", threads: 1, overwrite: true });
  expect(all.shape).toEqual([12, 2, width]);
  const knn = await evalKnn({ model: run, train: at("images"), split: 0.34, k: [1], threads: 1 });
  expect(knn).toMatchObject({ classes: 2, dim: width });
}

test.each(["dino", "simclr"] as const)("a ResNet trained by %s is watched, exported with its running statistics, and used", async (method) => {
  const out = at(`resnet-${method}`);
  await train({ config: config(method, "resnet18"), out });
  expect((await readMetrics(out)).every(({ loss }) => loss === undefined || Number.isFinite(loss))).toBe(true);
  const { config: network, tensors, source } = await readBackbone(out);
  expect([network, source]).toEqual([RESNET_PRESETS.get("resnet18"), "tricera"]);
  const kept = await readSafetensors(join(checkpointDir(out, 2), "method.safetensors"));
  const who = method === "dino" ? "teacher" : "student"; // SimCLR has no teacher that sees images
  const moved = kept.tensors.get(`${who}.backbone.bn1.running_var`)?.data as Float32Array; // our checkpoints are float32
  expect(moved.some((x) => x !== 1)).toBe(true);
  expect(tensors.get("bn1.running_var")?.data).toEqual(moved);
  expect(JSON.parse(await readFile(join(out, "exported", "last", "config.json"), "utf8"))).toMatchObject({
    architecture: "resnet18",
    num_features: 512,
    pretrained_cfg: { input_size: [3, 32, 32], crop_mode: "squash" },
  });
  const card = await readFile(join(out, "exported", "last", "README.md"), "utf8");
  expect(card).toMatch(/library_name: timm[\s\S]*A ResNet \(resnet18\)/);
  expect(await readFile(join(out, "report.html"), "utf8")).toContain("</html>");
  await useExport(out, 512);
});
