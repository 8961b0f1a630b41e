/** @file Weights of ConvNeXt and ResNet, opened as a user opens them, meet the outputs of the libraries they come from; tables of them. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ConfigError, type HostTensor } from "../core/index.ts";
import { expectClose, goldenPart, goldenTensor, goldenTolerance, type GoldenCase, hasGolden, loadGolden } from "../core/testing/golden.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { IMAGENET_MEAN, IMAGENET_STD } from "../images/index.ts";
import { CONVNEXT_PRESETS, resnetPreset } from "../nn/index.ts";
import { convnextToHuggingFaceConfig, writeModelFolder, writeSafetensors } from "../weights/index.ts";
import { randomBackbone, TINY_CONVNEXT, TINY_RESNET } from "../weights/testing/random-weights.ts";
import { embed } from "./embed.ts";
import type { Pooling } from "./trace-encoder.ts";
import { openModel } from "./model.ts";
import { familyPreprocessing } from "./processor.ts";
import { readFeatureTable } from "./table.ts";
import { writePicture } from "./testing/tiny-model.ts";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera convnets "));
  for (const i of [0, 1, 2]) await writePicture(join(root, "pictures", `${i}.png`), { colour: [40 * i, 90, 200 - 50 * i], seed: i });
});
afterAll(() => rm(root, { recursive: true }));

/** Features of a golden's input by a file or folder. */
async function featuresOf(path: string, golden: GoldenCase, pool: Pooling): Promise<Float32Array> {
  using device = openCpu({ threads: 1 });
  const { encoder } = await openModel(path, device);
  using closing = encoder;
  const x = goldenTensor(golden, "x");
  return (await closing.encode(x.data as Float32Array, { pool, sizePx: x.shape[3] ?? 0 })).features.slice(); // goldens are float32
}

/** `[b, d, y, x]` -> `[b, y · x, d]` */
function asRows({ shape: [b = 1, d = 1, y = 1, x = 1], data }: HostTensor): Float32Array {
  const p = y * x;
  return Float32Array.from({ length: b * p * d }, (_, i) =>
    Number(data[(Math.floor(i / (p * d)) * d + (i % d)) * p + (Math.floor(i / d) % p)]),
  );
}

async function writeWeights(name: string, golden: GoldenCase): Promise<string> {
  const file = join(root, `${name}.safetensors`);
  await writeSafetensors(file, goldenPart(golden, "w."));
  return file;
}

describe("openModel() gives what the reference gives:", () => {
  test.skipIf(!hasGolden("models", "hf_dinov3_convnext"))("a folder of DINOv3ConvNextModel", async () => {
    const golden = loadGolden("models", "hf_dinov3_convnext");
    const { hidden_sizes: widths, depths } = golden.json["config"] as Record<"hidden_sizes" | "depths", [number, number, number, number]>; // ours
    const dir = join(root, "hf");
    await writeModelFolder(dir, { config: TINY_CONVNEXT, tensors: randomBackbone(TINY_CONVNEXT) });
    await writeSafetensors(join(dir, "model.safetensors"), goldenPart(golden, "w."));
    await writeFile(join(dir, "config.json"), JSON.stringify(convnextToHuggingFaceConfig({ family: "convnext", widths, depths })));
    const y = goldenTensor(golden, "y.last_hidden_state");
    expectClose({ ...y, data: await featuresOf(dir, golden, "all") }, y, goldenTolerance(golden));
  });

  test.skipIf(!hasGolden("models", "timm_dinov3_convnext"))("timm's ConvNeXt", async () => {
    const golden = loadGolden("models", "timm_dinov3_convnext");
    const file = await writeWeights("timm", golden);
    const y = goldenTensor(golden, "y.forward");
    expectClose({ ...y, data: await featuresOf(file, golden, "cls") }, y, goldenTolerance(golden));
  });

  test.skipIf(!hasGolden("models", "meta_dinov3_convnext"))("Meta's ConvNeXt", async () => {
    const golden = loadGolden("models", "meta_dinov3_convnext");
    const file = await writeWeights("meta", golden);
    const y = goldenTensor(golden, "y.x_norm_clstoken");
    expectClose({ ...y, data: await featuresOf(file, golden, "cls") }, y, goldenTolerance(golden));
  });

  test.for(["tv_resnet18", "tv_resnet_bottleneck"])("torchvision's %s, with its classifier in the file", async (name, { skip }) => {
    skip(!hasGolden("models", name));
    const golden = loadGolden("models", name);
    const file = await writeWeights(name, golden);
    expect([...goldenPart(golden, "w.").keys()]).toContain("fc.weight");
    const y = goldenTensor(golden, "y.pooled");
    expectClose({ ...y, data: await featuresOf(file, golden, "cls") }, y, goldenTolerance(golden));
    expectClose(await featuresOf(file, golden, "patch"), asRows(goldenTensor(golden, "y.layer4")), goldenTolerance(golden));
  });
});

test("familyPreprocessing() of a ConvNeXt is DINOv3's, of a ResNet DINO's", () => {
  const numbers = { imageSizePx: 224, mean: IMAGENET_MEAN, std: IMAGENET_STD };
  const convnext = CONVNEXT_PRESETS.get("dinov3_convnext_tiny") ?? TINY_CONVNEXT;
  expect(familyPreprocessing(convnext)).toEqual({ ...numbers, resize: "square", kernel: "bilinear", arithmetic: "float" });
  expect(familyPreprocessing(resnetPreset("resnet50"))).toEqual({ ...numbers, resize: "short-side", cropRatio: 0.875, kernel: "bicubic" });
});

describe.each([
  ["ConvNeXt", TINY_CONVNEXT, 10],
  ["ResNet", TINY_RESNET, 16],
] as const)("embed() of a %s", (name, config, width) => {
  const model = (): string => join(root, `${name}.safetensors`);
  const table = async (pool: Pooling): Promise<{ readonly shape: readonly number[]; readonly features: Float32Array }> => {
    const out = join(root, `${name} ${pool}.safetensors`);
    await embed({ model: model(), data: join(root, "pictures"), out, pool, imageSizePx: 64, threads: 1, overwrite: true, batchSize: 2 });
    return await readFeatureTable(out);
  };

  test("pools are parts of the tokens: cls, mean, cls+mean, patch, all", async () => {
    await writeSafetensors(model(), randomBackbone(config));
    const [all, cls, mean, both, patch] = [
      await table("all"),
      await table("cls"),
      await table("mean"),
      await table("cls+mean"),
      await table("patch"),
    ];
    expect([all.shape, cls.shape, mean.shape, both.shape, patch.shape]).toEqual([
      [3, 5, width],
      [3, width],
      [3, width],
      [3, 2 * width],
      [3, 4, width],
    ]);
    for (const i of [0, 1, 2]) {
      const tokens = all.features.subarray(i * 5 * width, (i + 1) * 5 * width);
      const own = tokens.subarray(width);
      const average = Float32Array.from({ length: width }, (_, j) =>
        [0, 1, 2, 3].reduce((sum, p) => sum + (own[p * width + j] ?? 0) / 4, 0),
      );
      const row = ({ features }: { readonly features: Float32Array }, n: number): Float32Array => features.subarray(i * n, (i + 1) * n);
      const near = { atol: 1e-5, rtol: 1e-5 };
      expectClose(row(cls, width), tokens.subarray(0, width), near);
      expectClose(row(patch, 4 * width), own, near);
      expectClose(row(mean, width), average, near);
      expectClose(row(both, 2 * width), [...tokens.subarray(0, width), ...average], near);
    }
    expect(new Set(cls.features).size).toBeGreaterThan(width);
  });

  test("attention, and sizes off its grid, are refused", async () => {
    await writeSafetensors(model(), randomBackbone(config));
    using device = openCpu({ threads: 1 });
    const { encoder } = await openModel(model(), device);
    using closing = encoder;
    const images = new Float32Array(3 * 64 * 64);
    const encode = closing.encode(images, { pool: "cls", sizePx: 64, attention: true });
    await expect(encode).rejects.toThrow(ConfigError);
    await expect(encode).rejects.toThrow(`Cannot show attention: a ${name} has none`);
    const out = join(root, "off.safetensors");
    const off = embed({ model: model(), data: join(root, "pictures"), out, imageSizePx: 70, threads: 1 });
    await expect(off).rejects.toThrow(/Cannot embed at 70 px: .*32 px; use 64 or 96/);
  });
});
