import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FormatError, type HostTensor } from "../core/index.ts";
import { expectClose, goldenPart, goldenTensor, goldenTolerance, hasGolden, loadGolden } from "../core/testing/golden.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { IMAGENET_MEAN, IMAGENET_STD } from "../images/index.ts";
import { vitPreset } from "../nn/index.ts";
import { toHuggingFace, toHuggingFaceConfig, writeSafetensors } from "../weights/index.ts";
import { asViT } from "../weights/testing/as-vit.ts";
import { openModel } from "./model.ts";
import { familyPreprocessing, type Preprocessing } from "./processor.ts";
import { randomWeights, TINY, writeTinyModel } from "./testing/tiny-model.ts";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera model "));
});
afterAll(() => rm(root, { recursive: true }));

test.skipIf(!hasGolden("models", "hf_dino_v1"))(
  "openModel() of a Hugging Face folder gives what transformers' ViTModel gives",
  async () => {
    const golden = loadGolden("models", "hf_dino_v1");
    const c = golden.json["config"] as Record<string, number>; // our own reference file
    const config = {
      imageSizePx: c["image_size"] ?? 0,
      patchSizePx: c["patch_size"] ?? 0,
      width: c["hidden_size"] ?? 0,
      depth: c["num_hidden_layers"] ?? 0,
      heads: c["num_attention_heads"] ?? 0,
      mlpRatio: (c["intermediate_size"] ?? 0) / (c["hidden_size"] ?? 1),
      layerNormEps: c["layer_norm_eps"] ?? 0,
      posInterpolation: "size",
    } as const;
    const dir = join(root, "golden");
    await mkdir(dir);
    await writeSafetensors(join(dir, "model.safetensors"), goldenPart(golden, "w."));
    await writeFile(join(dir, "config.json"), JSON.stringify(toHuggingFaceConfig(config)));
    await writeFile(join(dir, "preprocessor_config.json"), "{}");
    using device = openCpu({ threads: 1 });
    const { encoder, imageSizePx } = await openModel(dir, device);
    using closing = encoder;
    expect(imageSizePx).toBe(32);
    for (const at of ["", "@48x48"]) {
      const x = goldenTensor(golden, `x${at}`);
      const { features } = await closing.encode(x.data as Float32Array, { pool: "all", sizePx: x.shape[3] ?? 0 }); // float32 in the file
      const y = goldenTensor(golden, `y${at}.last_hidden_state`);
      expectClose({ dtype: "f32", shape: y.shape, data: features }, y, { ...goldenTolerance(golden), what: `x${at}` });
    }
  },
);

/** The feature of a plain picture. */
async function featureOf(path: string, options: { readonly arch?: string; readonly sizePx?: number } = {}): Promise<Float32Array> {
  using device = openCpu({ threads: 1 });
  const { encoder } = await openModel(path, device, options);
  using closing = encoder;
  const { sizePx = 16 } = options;
  const images = Float32Array.from({ length: 3 * sizePx ** 2 }, (_, i) => Math.sin(i));
  return (await closing.encode(images, { pool: "cls", sizePx })).features.slice();
}

test("openModel() takes the same weights by Meta's names, with prefixes, with a leading vit., and rounded to bfloat16", async () => {
  const plain = join(root, "plain");
  const weights = await writeTinyModel(plain);
  const wanted = await featureOf(plain);
  const variant = async (name: string, tensors: ReadonlyMap<string, HostTensor>): Promise<Float32Array> => {
    const dir = join(root, name);
    await writeTinyModel(dir);
    await writeSafetensors(join(dir, "model.safetensors"), tensors);
    return featureOf(dir);
  };
  const prefix = (with_: string, tensors: ReadonlyMap<string, HostTensor>): Map<string, HostTensor> =>
    new Map([...tensors].map(([k, t]) => [with_ + k, t]));
  expect(await variant("meta", weights)).toEqual(wanted);
  expect(await variant("checkpoint", prefix("module.backbone.", weights))).toEqual(wanted);
  expect(await variant("classifier", prefix("vit.", toHuggingFace(weights, TINY)))).toEqual(wanted);
  const half = new Map(
    [...weights].map(([k, { shape, data }]) => {
      const bits = new Uint32Array(Float32Array.from(data as Float32Array).buffer); // float32 above
      return [k, { dtype: "bf16", shape, data: Uint16Array.from(bits, (b) => b >>> 16) } as const] as const;
    }),
  );
  const rounded = await variant("half", half);
  expect(rounded).not.toEqual(wanted);
  for (const [i, v] of rounded.entries()) expect(Math.abs(v - Number(wanted[i]))).toBeLessThan(0.1);
});

test("openModel() of a bare file needs its architecture and positions of Meta's kind", async () => {
  const file = join(root, "bare.safetensors");
  const config = vitPreset("vit_tiny_patch16");
  await writeSafetensors(file, randomWeights(config, 2));
  using device = openCpu({ threads: 1 });
  const { encoder, preprocessing, rules } = await openModel(file, device, { arch: "vit_tiny_patch16" });
  using closing = encoder;
  expect(asViT(closing.config).posInterpolation).toBe("meta-offset");
  expect(preprocessing).toMatchObject({ imageSizePx: 224, resize: "short-side", cropRatio: 0.875, kernel: "bicubic", mean: IMAGENET_MEAN });
  expect(rules).toEqual({ decode: "python", alpha: "drop" });
  expect(await featureOf(file, { arch: "vit_tiny_patch16", sizePx: 32 })).toHaveLength(192);
  await expect(openModel(file, device, { arch: "vit_small_patch16" })).rejects.toThrow(
    /150 wrongly shaped \(cls_token \[1,1,192\] instead of \[1,1,384\],.*they look like "dino_vitt16"/,
  );
});

test("openModel() takes a run's exported folder, the best first, with the run's rules of decoding", async () => {
  const run = join(root, "run");
  await writeTinyModel(join(run, "exported", "last"));
  using device = openCpu({ threads: 1 });
  const open = async (): Promise<unknown> => {
    const { encoder, dir, rules } = await openModel(run, device);
    using closing = encoder;
    return { dir, rules, width: asViT(closing.config).width };
  };
  expect(await open()).toEqual({ dir: join(run, "exported", "last"), rules: { decode: "python", alpha: "drop" }, width: 12 });
  await writeFile(join(run, "config.json"), JSON.stringify({ formatVersion: 1, config: { data: { decode: "managed", alpha: "white" } } }));
  await writeTinyModel(join(run, "exported", "best"));
  expect(await open()).toEqual({ dir: join(run, "exported", "best"), rules: { decode: "managed", alpha: "white" }, width: 12 });
});

test.each([
  [
    { size: 24, resample: 2 },
    { imageSizePx: 24, resize: "square", kernel: "bilinear", mean: IMAGENET_MEAN, std: IMAGENET_STD },
  ],
  [
    { size: { shortest_edge: 32 }, do_center_crop: true, crop_size: { height: 28, width: 28 }, resample: 3, image_mean: [0.5, 0.5, 0.5] },
    { imageSizePx: 28, resize: "short-side", cropRatio: 0.875, cropOffset: "floor", kernel: "bicubic", mean: [0.5, 0.5, 0.5] },
  ],
  [{ do_normalize: false }, { imageSizePx: 16, resize: "square", mean: [0, 0, 0], std: [1, 1, 1] }],
])("openModel() does what the processor %j says", async (processor, wanted) => {
  const dir = join(root, "processor");
  await writeTinyModel(dir, { processor });
  using device = openCpu({ threads: 1 });
  const { encoder, preprocessing } = await openModel(dir, device);
  encoder[Symbol.dispose]();
  expect(preprocessing).toMatchObject(wanted);
});

test("openModel() resizes floats for DINOv3's processor, which rescales first, and bytes for the others", async () => {
  using device = openCpu({ threads: 1 });
  const opened = async (name: string, processor: object): Promise<Preprocessing> => {
    await writeTinyModel(join(root, name), { processor });
    const { encoder, preprocessing } = await openModel(join(root, name), device);
    encoder[Symbol.dispose]();
    return preprocessing;
  };
  const size = { height: 32, width: 32 };
  for (const type of ["DINOv3ViTImageProcessor", "DINOv3ViTImageProcessorFast"])
    expect(await opened("v3", { image_processor_type: type, size, resample: 2 })).toMatchObject({
      resize: "square",
      kernel: "bilinear",
      arithmetic: "float",
    });
  expect(await opened("v1", { image_processor_type: "ViTImageProcessor", size })).not.toHaveProperty("arithmetic");
});

test.each([
  ["dino_vits16", { imageSizePx: 224, resize: "short-side", cropRatio: 0.875, kernel: "bicubic" }],
  ["dinov2_vits14", { imageSizePx: 224, resize: "short-side", cropRatio: 0.875, kernel: "bicubic" }],
  ["dinov3_vits16", { imageSizePx: 224, resize: "square", kernel: "bilinear", arithmetic: "float" }],
])("familyPreprocessing() of %s is its evaluation transform", (arch, wanted) => {
  expect(familyPreprocessing(vitPreset(arch))).toEqual({ ...wanted, mean: IMAGENET_MEAN, std: IMAGENET_STD });
});

test("openModel() opens a network of four channels with four means, and refuses it with three", async () => {
  await writeTinyModel(join(root, "channels"), { config: { ...TINY, channels: 4 } });
  using device = openCpu({ threads: 1 });
  await expect(openModel(join(root, "channels"), device)).rejects.toThrow(
    /it takes 4 channels and there are 3 means and 3 deviations; give/,
  );
});

test("openModel() names the file and the key that are wrong", async () => {
  const dir = join(root, "wrong");
  const weights = await writeTinyModel(dir);
  using device = openCpu({ threads: 1 });
  const refusal = async (file: string, content: string | undefined, message: RegExp): Promise<void> => {
    await writeTinyModel(dir, { weights });
    if (content === undefined) await rm(join(dir, file));
    else await writeFile(join(dir, file), content);
    await expect(openModel(dir, device)).rejects.toThrow(message);
    await expect(openModel(dir, device)).rejects.toThrow(FormatError);
  };
  await refusal("config.json", undefined, /config\.json" is missing/);
  await refusal("config.json", "{", /config\.json" is not JSON/);
  await refusal("config.json", '{"model_type":"bert"}', /has a wrong model_type .*known are ViTModel, Dinov2Model/);
  await refusal("preprocessor_config.json", '{"size":{"height":3,"width":4}}', /wants 3x4 px; only squares are known/);
  await refusal("preprocessor_config.json", '{"resample":9}', /has a wrong resample/);
  await refusal("model.safetensors", "short", /is cut off/);
});
