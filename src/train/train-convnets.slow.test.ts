import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CONVNEXT_PRESETS, RESNET_PRESETS } from "../nn/index.ts";
import { readBackbone, readSafetensors } from "../weights/index.ts";
import { distill } from "./distill.ts";
import { readConfig } from "./loop/prepare.ts";
import { checkpointDir, readMetrics } from "./run/index.ts";
import { shortRun, smallRun, useExport, writeColours } from "./testing/convnet-run.ts";
import { train } from "./train.ts";

const PATCHES_OF_14 = { crops: { globalSizePx: 28, localSizePx: 28, localCount: 1 } };
let dir = "";
const at = (...parts: string[]): string => join(dir, ...parts);
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-convnets-"));
  await writeColours(dir);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

test("a ConvNeXt and a ResNet taught by a ViT are watched, exported and used", async () => {
  const [teacher, out] = [at("teacher"), at("students")];
  await train({ config: smallRun(dir, "dinov2", { arch: "vit", depth: 1, width: 16, heads: 2, patchSizePx: 16 }, 1), out: teacher });
  const models = ["dinov3_convnext_tiny", "resnet18"];
  await distill({ teacher, models, config: shortRun(dir, 1), out });
  const losses = (await readMetrics(out)).flatMap((line) => models.flatMap((name) => line[`loss.${name}.ibot`] ?? []));
  expect(losses.length).toBeGreaterThanOrEqual(2);
  for (const loss of losses) expect(loss).toBeGreaterThan(0);
  expect((await readBackbone(out)).config).toEqual(CONVNEXT_PRESETS.get("dinov3_convnext_tiny"));
  const resnet = join(out, "exported", "resnet18", "last");
  const { config, tensors } = await readBackbone(resnet);
  expect(config).toEqual(RESNET_PRESETS.get("resnet18"));
  const kept = await readSafetensors(join(checkpointDir(out, 1), "method.safetensors"));
  expect(tensors.get("bn1.running_mean")?.data).toEqual(kept.tensors.get("resnet18.backbone.bn1.running_mean")?.data);
  await useExport(dir, out, 768);
  await useExport(dir, resnet, 512);
}, 240_000);

test("a ConvNeXt taught by a ViT's features sees crops that are whole patches for both, and is exported", async () => {
  const [teacher, out] = [at("features-teacher"), at("features")];
  await train({
    config: {
      ...smallRun(dir, "dino", { arch: "vit", depth: 1, width: 16, heads: 2, patchSizePx: 14, imageSizePx: 28 }, 1),
      ...PATCHES_OF_14,
    },
    out: teacher,
  });
  const from = join(teacher, "exported", "last");
  await distill({ teacher: from, models: ["dinov3_convnext_tiny"], config: { ...shortRun(dir, 1), crops: { localCount: 1 } }, out });
  const { config, reasons } = await readConfig(out);
  expect([config.crops.globalSizePx, config.crops.localSizePx]).toEqual([224, 96]);
  expect(reasons["crops.globalSizePx"]).toMatch(/patches of 14, 32 px are all whole at multiples of 224 px/);
  const [line] = (await readMetrics(out)).filter(({ loss }) => loss !== undefined);
  for (const term of ["cls", "locals", "patches"]) expect(line?.[`loss.dinov3_convnext_tiny.${term}`]).toBeGreaterThan(0);
  expect((await readBackbone(out)).config).toEqual(CONVNEXT_PRESETS.get("dinov3_convnext_tiny"));
}, 240_000);

test("a ResNet trained by SimCLR, whose teacher sees no images, is exported with the student's running statistics", async () => {
  const out = at("simclr");
  await train({ config: smallRun(dir, "simclr", { arch: "resnet18" }), out });
  const kept = await readSafetensors(join(checkpointDir(out, 2), "method.safetensors"));
  const ofStudent = kept.tensors.get("student.backbone.bn1.running_var")?.data as Float32Array; // our checkpoints are float32
  expect(ofStudent.some((x) => x !== 1)).toBe(true);
  expect((await readBackbone(out)).tensors.get("bn1.running_var")?.data).toEqual(ofStudent);
  await useExport(dir, out, 512);
}, 120_000);
