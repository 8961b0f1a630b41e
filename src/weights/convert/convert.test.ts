import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FormatError, type HostTensor, type Shape, UsageError } from "../../core/index.ts";
import { hasGolden, loadGolden } from "../../core/testing/golden.ts";
import { type BackboneConfig, backboneSpecs, convnextPreset, type ViTConfig, vitPreset } from "../../nn/index.ts";
import { readBackbone } from "../folder/read-backbone.ts";
import { readSafetensors, writeSafetensors } from "../safetensors.ts";
import { randomBackbone, TINY_CONVNEXT, TINY_RESNET } from "../testing/random-weights.ts";
import { checkModel, checkTensors } from "./check.ts";
import { convertModel, type ConvertTarget } from "./convert.ts";
import { presetNameOf } from "./preset-name.ts";
import { storedAs } from "./stored.ts";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera convert "));
});
afterAll(() => rm(root, { recursive: true }));
const at = (...parts: string[]): string => join(root, ...parts);

const SIZES = { imageSizePx: 28, patchSizePx: 14, width: 8, depth: 2, heads: 2, mlpRatio: 2 } as const;
const DINO: ViTConfig = { ...SIZES, layerNormEps: 1e-6, posInterpolation: "size" };
const REGISTERS: ViTConfig = {
  ...DINO,
  layerScale: 1,
  maskToken: true,
  tokenInitStd: 1e-6,
  registers: 2,
  posInterpolation: "size-antialias",
};
const ROPE: ViTConfig = {
  ...REGISTERS,
  imageSizePx: 224,
  layerNormEps: 1e-5,
  positions: "rope",
  keyBiasMask: true,
  registerName: "storage_tokens",
  rope: { base: 100, normalize: "separate" },
  posInterpolation: "size",
};
const FAMILIES: Readonly<Record<string, BackboneConfig>> = {
  dino: DINO,
  dinov2: REGISTERS,
  dinov3: ROPE,
  convnext: TINY_CONVNEXT,
  resnet: TINY_RESNET,
};

/** Random weights; biases of keys are zero where the network counts them as zero. */
function weightsOf(config: BackboneConfig): Map<string, HostTensor> {
  const tensors = randomBackbone(config);
  for (const [name, { data }] of tensors)
    if (name.endsWith(".qkv.bias") && config === ROPE) (data as Float32Array).fill(0, ROPE.width, 2 * ROPE.width); // float32 above
  return tensors;
}

/** A file of our (Meta's) names. */
async function sourceOf(family: string): Promise<{ readonly file: string; readonly tensors: Map<string, HostTensor> }> {
  const tensors = weightsOf(FAMILIES[family] ?? DINO);
  const file = at(`${family}.safetensors`);
  await writeSafetensors(file, tensors);
  return { file, tensors };
}

const placeOf = (family: string, to: ConvertTarget): string => at(`${family}-${to}${to === "hf" ? "" : ".safetensors"}`);

describe.each(Object.keys(FAMILIES))("convertModel() of a %s", (family) => {
  const config = FAMILIES[family] ?? DINO;

  const toHuggingFace = async (): Promise<void> => {
    const { file, tensors } = await sourceOf(family);
    const out = placeOf(family, "hf");
    const result = await convertModel(file, { to: "hf", out, arch: config });
    expect(result).toMatchObject({ to: "hf", out, file, source: "meta", checked: tensors.size, leftOut: [], architecture: null });
    expect((await readdir(out)).toSorted()).toEqual(["config.json", "model.safetensors", "preprocessor_config.json"]);
    const again = await readBackbone(out);
    expect(again.tensors).toEqual(tensors);
    expect(again.source).toBe("huggingface");
  };
  if (family !== "resnet") test("to Hugging Face: a folder that opens as the same network", toHuggingFace);

  test("to Meta's names and back to the same bytes", async () => {
    const { file, tensors } = await sourceOf(family);
    const out = placeOf(family, "meta");
    await convertModel(file, { to: "meta", out, arch: config });
    expect((await readBackbone(out, { arch: config })).tensors).toEqual(tensors);
    const twice = at(`${family}-twice.safetensors`);
    await convertModel(out, { to: "meta", out: twice, arch: config });
    expect(await readFile(twice)).toEqual(await readFile(out));
  });

  test("to timm's names: what timm stores is the same", async () => {
    const { file, tensors } = await sourceOf(family);
    const out = placeOf(family, "timm");
    const { leftOut } = await convertModel(file, { to: "timm", out, arch: config });
    expect(leftOut).toEqual(config === REGISTERS || config === ROPE ? ["mask_token"] : []);
    const again = (await readBackbone(out, { arch: config })).tensors;
    for (const [name, tensor] of tensors) {
      if (name === "mask_token" || (config === REGISTERS && /^(?:cls_token|pos_embed)$/.test(name))) continue;
      expect([name, again.get(name)]).toEqual([name, tensor]);
    }
  });

  test("to safetensors: the tensors as they are", async () => {
    const { tensors } = await sourceOf(family);
    const file = at("teacher.safetensors");
    await writeSafetensors(file, new Map([...tensors].map(([name, tensor]) => [`teacher.backbone.${name}`, tensor])));
    const out = placeOf(family, "safetensors");
    await convertModel(file, { to: "safetensors", out, arch: config });
    expect((await readSafetensors(out)).tensors).toEqual(tensors);
  });
});

test("timm's class token holds its position where there are registers", async () => {
  const { file, tensors } = await sourceOf("dinov2");
  const out = at("merged.safetensors");
  await convertModel(file, { to: "timm", out, arch: REGISTERS });
  const { tensors: stored } = await readSafetensors(out);
  const [cls, place] = [tensors.get("cls_token"), tensors.get("pos_embed")];
  const sum = Float32Array.from({ length: 8 }, (_, i) => Number(cls?.data[i]) + Number(place?.data[i]));
  expect(stored.get("cls_token")?.data).toEqual(sum);
  expect(stored.get("pos_embed")).toEqual({ dtype: "f32", shape: [1, 4, 8], data: place?.data.slice(8) });
});

test("biases of keys that the network counts as zero are written as zero; Meta's file says so by its mask", async () => {
  const tensors = randomBackbone(ROPE); // keys' biases are not zero
  const file = at("keys.safetensors");
  await writeSafetensors(file, tensors);
  await convertModel(file, { to: "meta", out: at("keys-meta.safetensors"), arch: ROPE });
  const { tensors: stored } = await readSafetensors(at("keys-meta.safetensors"));
  const bias = Float32Array.from(tensors.get("blocks.0.attn.qkv.bias")?.data ?? [], Number).fill(0, 8, 16);
  expect(stored.get("blocks.0.attn.qkv.bias")?.data).toEqual(bias);
  expect(stored.get("blocks.1.attn.qkv.bias_mask")?.data).toEqual(new Float32Array(24).fill(1).fill(0, 8, 16));
  expect(stored.get("rope_embed.periods")?.data).toEqual(Float32Array.of(1));
});

test("types are kept by safetensors, float16 as float32; all else is float32", async () => {
  const golden = fileURLToPath(new URL("../../../golden/keys/torch_zip.pth", import.meta.url));
  const arch: ViTConfig = { ...DINO, imageSizePx: 4, patchSizePx: 2, width: 4, depth: 1, heads: 1 };
  const [plain, meta] = [at("types.safetensors"), at("types-meta.safetensors")];
  await convertModel(golden, { to: "safetensors", out: plain, arch });
  await convertModel(golden, { to: "meta", out: meta, arch });
  const types = async (path: string): Promise<unknown> => [
    ...new Set([...(await readSafetensors(path)).tensors.values()].map(({ dtype }) => dtype)),
  ];
  expect(await types(meta)).toEqual(["f32"]);
  expect((await types(plain)) as string[]).toContain("f32");
  expect((await readBackbone(plain, { arch })).tensors).toEqual((await readBackbone(golden, { arch })).tensors);
});

describe("folders for timm", () => {
  const write = async (config: BackboneConfig, out: string): Promise<Record<string, unknown>> => {
    const tensors = new Map(
      backboneSpecs(config).map(
        ({ name, shape }) => [name, { dtype: "f32", shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) }] as const,
      ),
    );
    await writeSafetensors(at("big.safetensors"), tensors);
    await convertModel(at("big.safetensors"), { to: "timm", out, arch: config });
    return JSON.parse(await readFile(join(out, "config.json"), "utf8")) as Record<string, unknown>; // just written
  };

  test("name the architecture, the size of its positions and how pictures are cropped", async () => {
    expect(await write({ ...vitPreset("dino_vitt16"), imageSizePx: 96 }, at("tiny-timm"))).toMatchObject({
      architecture: "vit_tiny_patch16_224",
      num_features: 192,
      pretrained_cfg: { input_size: [3, 96, 96], fixed_input_size: true, interpolation: "bicubic" },
    });
    const again = await readBackbone(at("tiny-timm"));
    expect([again.source, again.config]).toMatchObject(["timm", { imageSizePx: 96, width: 192 }]);
  });

  test("of a ConvNeXt of other depths say them", async () => {
    expect(await write(TINY_CONVNEXT, at("convnext-timm"))).toMatchObject({
      architecture: "convnext_tiny",
      model_args: { depths: [1, 2, 1, 1], dims: [4, 6, 8, 10] },
    });
    expect((await readBackbone(at("convnext-timm"))).config).toEqual(TINY_CONVNEXT);
  });

  test("are refused for a ViT that timm has no name for, with what to do", async () => {
    await expect(write(DINO, at("none"))).rejects.toThrow(/no name for a ViT of width 8, depth 2 and patches of 14 px.*FILE\.safetensors/);
    expect(await readdir(root)).not.toContain("none");
  });
});

/** Key lists of released checkpoints that are whole: buffers among them. */
const RELEASED = [
  ["meta_dinov3_vits16", "meta", "dinov3_vits16"],
  ["meta_dinov3_vits16plus", "meta", "dinov3_vits16plus"],
  ["meta_dinov2_vits14_reg4", "meta", "dinov2_vits14_reg"],
  ["meta_dino_vits16", "meta", "dino_vits16"],
  ["meta_dinov3_vit7b16", "meta", "dinov3_vit7b16"],
  ["meta_dinov3_convnext_tiny", "meta", "dinov3_convnext_tiny"],
  ["hf_dinov3_vits16", "huggingface", "dinov3_vits16"],
  ["hf_dinov3_convnext_tiny", "huggingface", "dinov3_convnext_tiny"],
  ["timm_vit_small_patch16_dinov3_qkvb_lvd1689m", "timm", "dinov3_vits16"],
] as const;

test.for(RELEASED)("a %s has every key of the released file, buffers and copies too", ([golden, naming, preset], { skip }) => {
  skip(!hasGolden("keys", golden));
  const config: BackboneConfig = preset.includes("convnext") ? convnextPreset(preset) : vitPreset(preset);
  const shapes = new Map(backboneSpecs(config).map(({ name, shape }) => [name, shape]));
  const read = (): Promise<HostTensor> => Promise.reject(new Error("only names are asked for"));
  const { tensors } = storedAs({ config, params: { shapes, read } }, naming);
  const wanted = Object.entries(loadGolden("keys", golden).json as Record<string, Shape>); // our own reference file
  const sorted = (pairs: Iterable<readonly [string, Shape]>): unknown => [...pairs].toSorted(([a], [b]) => (a < b ? -1 : 1));
  expect(sorted([...tensors].map(([name, { shape }]) => [name, shape] as const))).toEqual(sorted(wanted));
});

test("presetNameOf() knows a preset at any size, and no other network", () => {
  expect(presetNameOf({ ...vitPreset("dinov2_vitb14"), imageSizePx: 70, channels: 4 })).toBe("dinov2_vitb14");
  expect(presetNameOf(convnextPreset("dinov3_convnext_base"))).toBe("dinov3_convnext_base");
  expect(presetNameOf({ ...vitPreset("dinov2_vitb14"), heads: 6 })).toBeUndefined();
  expect(presetNameOf(TINY_RESNET)).toBeUndefined();
});

describe("convertModel() refuses", () => {
  const convert = async (options: {
    readonly src?: string;
    readonly to?: ConvertTarget;
    readonly out: string;
    readonly overwrite?: boolean;
  }): Promise<unknown> => {
    const { src = (await sourceOf("dino")).file, to = "hf", ...rest } = options;
    return convertModel(src, { to, arch: DINO, ...rest });
  };

  test.each<[string, ConvertTarget, string, RegExp]>([
    ["a file for Hugging Face", "hf", "x.safetensors", /for Hugging Face a folder is written/],
    ["a folder for Meta's names", "meta", "x", /for meta one file is written; end its name with \.safetensors/],
    ["a folder for safetensors", "safetensors", "x", /for safetensors one file is written/],
    ["a name of PyTorch's", "timm", "x.pth", /weights are written as safetensors only/],
    ["a target that is none", "onnx" as ConvertTarget, "x", /Cannot convert to "onnx": .* choose one of hf, timm, meta, safetensors/],
  ])("%s", async (_, to, name, message) => {
    await expect(convert({ to, out: at(name) })).rejects.toThrow(UsageError);
    await expect(convert({ to, out: at(name) })).rejects.toThrow(message);
  });

  test("a place that is taken, unless it may be replaced and holds a model alone", async () => {
    const out = at("taken");
    await convert({ out });
    await expect(convert({ out })).rejects.toThrow(/it exists; choose another place/);
    await convert({ out, overwrite: true });
    await writeFile(join(out, "notes.txt"), "mine");
    await expect(convert({ out, overwrite: true })).rejects.toThrow(/it holds "notes\.txt", which is no part of a converted model/);
    expect(await readFile(join(out, "notes.txt"), "utf8")).toBe("mine");
    await expect(convert({ to: "meta", out: at("taken.safetensors"), overwrite: true })).resolves.toMatchObject({ to: "meta" });
    await expect(convert({ to: "meta", out: at("taken.safetensors") })).rejects.toThrow(/it exists/);
    await mkdir(at("folder.safetensors"));
    await expect(convert({ to: "meta", out: at("folder.safetensors"), overwrite: true })).rejects.toThrow(/it is a folder/);
    await expect(convert({ out: at("taken.safetensors"), to: "timm", overwrite: true })).resolves.toMatchObject({ to: "timm" });
  });

  test("to replace what it reads", async () => {
    const { file } = await sourceOf("dino");
    await expect(convert({ src: file, to: "meta", out: file, overwrite: true })).rejects.toThrow(/it would replace what is read/);
    await convert({ out: at("self") });
    await expect(convert({ src: at("self"), out: at("self"), overwrite: true })).rejects.toThrow(/it would replace what is read/);
  });

  test("weights that are cut, of another architecture, or absent; nothing is left behind", async () => {
    const { file } = await sourceOf("dino");
    const before = await readdir(root);
    await copyFile(file, at("cut.safetensors"));
    await truncate(at("cut.safetensors"), 400);
    await expect(convert({ src: at("cut.safetensors"), out: at("y") })).rejects.toThrow(FormatError);
    await expect(convertModel(file, { to: "hf", out: at("y"), arch: "dino_vits16" })).rejects.toThrow(/wrongly shaped/);
    await expect(convert({ src: at("absent.pth"), out: at("y") })).rejects.toThrow(/it does not exist/);
    await expect(convert({ src: "facebook/dinov2-base", out: at("y") })).rejects.toThrow(/run `tricera models pull facebook\/dinov2-base`/);
    expect((await readdir(root)).toSorted()).toEqual([...before, "cut.safetensors"].toSorted());
  });

  test("a ResNet for Hugging Face, which has no class of it", async () => {
    const { file } = await sourceOf("resnet");
    await expect(convertModel(file, { to: "hf", out: at("y"), arch: TINY_RESNET })).rejects.toThrow(/transformers has no class of DINO's/);
  });

  test("to go on after it is stopped; the old result stays", async () => {
    const { file } = await sourceOf("dino");
    const out = at("stopped.safetensors");
    await writeFile(out, "old");
    const stop = new AbortController();
    const converting = convertModel(file, {
      to: "meta",
      out,
      arch: DINO,
      overwrite: true,
      signal: stop.signal,
      onProgress: ({ done }) => {
        if (done === 3) stop.abort();
      },
    });
    await expect(converting).rejects.toThrow(/abort/i);
    expect(await readFile(out, "utf8")).toBe("old");
    expect((await readdir(root)).filter((name) => name.startsWith("stopped"))).toEqual(["stopped.safetensors"]);
  });
});

test("what is written is compared with what was read: another value, network or tensor is seen", async () => {
  const { file, tensors } = await sourceOf("dino");
  const other = weightsOf(DINO);
  other.set("norm.bias", { dtype: "f32", shape: [8], data: new Float32Array(8).fill(7) });
  const lazy = (from: ReadonlyMap<string, HostTensor>) => ({
    shapes: new Map([...from].map(([name, { shape }]) => [name, shape])),
    read: (name: string): Promise<HostTensor> => Promise.resolve(from.get(name) ?? expect.fail()),
  });
  const out = "OUT";
  const options = { out, config: DINO, isFolder: false };
  await expect(checkModel(file, { ...options, expected: lazy(tensors) })).resolves.toBe(tensors.size);
  await expect(checkModel(file, { ...options, expected: lazy(other) })).rejects.toThrow(
    /Cannot convert to "OUT": "norm\.bias" has other values/,
  );
  await convertModel(file, { to: "hf", out: at("checked"), arch: DINO });
  await expect(checkModel(at("checked"), { out, config: { ...DINO, heads: 4 }, isFolder: true, expected: lazy(tensors) })).rejects.toThrow(
    /it is another network/,
  );
  await expect(checkTensors(file, { out, expected: lazy(other) })).rejects.toThrow(/"norm\.bias" has other values/);
  other.delete("norm.bias");
  await expect(checkTensors(file, { out, expected: lazy(other) })).rejects.toThrow(/it has \d+ tensors/);
});
