import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RESNET_PRESETS } from "../nn/index.ts";
import { readBackbone, readSafetensors } from "../weights/index.ts";
import type { UserConfig } from "./config/index.ts";
import { distill } from "./distill.ts";
import { checkpointDir, readMetrics } from "./run/index.ts";
import { shortRun, smallRun, useExport, writeColours } from "./testing/convnet-run.ts";
import { train } from "./train.ts";

let dir = "";
const at = (...parts: string[]): string => join(dir, ...parts);
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-convnets-"));
  await writeColours(dir);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

test("a ResNet trained by DINO is watched, exported with the teacher's running statistics, and used; a run begins with it", async () => {
  const out = at("resnet");
  await train({ config: smallRun(dir, "dino", { arch: "resnet18" }), out });
  expect((await readMetrics(out)).every(({ loss }) => loss === undefined || Number.isFinite(loss))).toBe(true);
  const { config: network, tensors, source } = await readBackbone(out);
  expect([network, source]).toEqual([RESNET_PRESETS.get("resnet18"), "tricera"]);
  const kept = await readSafetensors(join(checkpointDir(out, 2), "method.safetensors"));
  const [ofTeacher, ofStudent] = ["teacher", "student"].map((who) => kept.tensors.get(`${who}.backbone.bn1.running_var`)?.data);
  expect(tensors.get("bn1.running_var")?.data).toEqual(ofTeacher);
  expect(ofTeacher).not.toEqual(ofStudent);
  expect(JSON.parse(await readFile(join(out, "exported", "last", "config.json"), "utf8"))).toMatchObject({
    architecture: "resnet18",
    num_features: 512,
    pretrained_cfg: { input_size: [3, 32, 32], crop_mode: "squash" },
  });
  const card = await readFile(join(out, "exported", "last", "README.md"), "utf8");
  expect(card).toMatch(/library_name: timm[\s\S]*A ResNet \(resnet18\)/);
  const report = await readFile(join(out, "report.html"), "utf8");
  expect(report).toContain("Features appear");
  expect(report).not.toContain("Where the class token looks");
  await useExport(dir, out, 512);

  const notes: string[] = [];
  const { model: _, ...rest } = smallRun(dir, "dino", {}, 1);
  const begun: UserConfig = { ...rest, init: { from: join(out, "exported", "last"), headWarmupSteps: 0 } };
  await train({ config: begun, out: at("begun"), onNotice: (line) => void notes.push(line) });
  expect((await readBackbone(at("begun"))).config).toEqual(RESNET_PRESETS.get("resnet18"));
  expect(notes.join("\n")).toMatch(/Began with 60 of 68 tensors.*new: 8 of dino_head; 40 running statistics/);
});

test("a ResNet taught by a ViT is exported with its own running statistics, and used", async () => {
  const [teacher, out] = [at("teacher"), at("student")];
  await train({ config: smallRun(dir, "dino", { arch: "vit", depth: 1, width: 16, heads: 2, patchSizePx: 16 }, 1), out: teacher });
  await distill({ teacher, models: ["resnet18"], config: shortRun(dir, 1), out });
  const { tensors } = await readBackbone(out);
  const kept = await readSafetensors(join(checkpointDir(out, 1), "method.safetensors"));
  const own = kept.tensors.get("resnet18.backbone.bn1.running_mean")?.data as Float32Array; // our checkpoints are float32
  expect(own.some((x) => x !== 0)).toBe(true);
  expect(tensors.get("bn1.running_mean")?.data).toEqual(own);
  await useExport(dir, out, 512);
});
