import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ConfigError, FormatError, type HostTensor, sizeOf } from "../../core/index.ts";
import { decodeModel, encodeModel, type OnnxModel } from "../../engine/onnx/index.ts";
import { openCpu, openOrt } from "../../engine/runtime/index.ts";
import type { BackboneConfig, ViTConfig } from "../../nn/index.ts";
import { writeModelFolder } from "../../weights/index.ts";
import { TINY_CONVNEXT, TINY_RESNET } from "../../weights/testing/random-weights.ts";
import { Encoder } from "../encoder.ts";
import { openModel } from "../model.ts";
import { V1, V2, V3, weightsInUse, writeNetwork } from "../testing/small-networks.ts";
import { buildModel } from "./build-model.ts";
import { checkOutputsOf, onnxRun } from "./check.ts";
import { exportModel } from "./export-model.ts";
import { OUTPUT_NAMES, type OutputName } from "./outputs.ts";

const FAMILIES = {
  "ViT v1": { config: V1, sizePx: 16 },
  "ViT v2 with registers": { config: V2, sizePx: 16 },
  "ViT v3 with rotary positions": { config: V3, sizePx: 16 },
  ConvNeXt: { config: TINY_CONVNEXT, sizePx: 64 },
  ResNet: { config: TINY_RESNET, sizePx: 64 },
} as const;

let root = "";
const dirs = new Map<BackboneConfig, string>();
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera export "));
  for (const [name, { config }] of Object.entries(FAMILIES)) dirs.set(config, await writeNetwork(root, name, config));
});
afterAll(() => rm(root, { recursive: true }));

const model = (config: BackboneConfig): string => dirs.get(config) ?? "";
const all = (config: BackboneConfig): OutputName[] =>
  OUTPUT_NAMES.filter((name) => {
    if (name === "attention") return !("family" in config);
    return name !== "registers" || ("registers" in config && config.registers !== undefined);
  });
let files = 0;
const newFile = (): string => join(root, `${files++}.onnx`);

const common = { threads: 1, seed: 1 } as const;
const readModel = async (path: string): Promise<OnnxModel> => decodeModel(new Uint8Array(await readFile(path)));

describe.each(Object.entries(FAMILIES))("exportModel() of %s", (_, { config, sizePx }) => {
  test("writes all outputs, batch open, as near to the source as float32 is", async () => {
    const out = newFile();
    const outputs = all(config);
    const result = await exportModel({ ...common, model: model(config), out, imageSizePx: sizePx, outputs });
    expect(result.check?.pictures).toBe(3);
    expect(result.check?.maxRelError).toBeLessThan(1e-5);
    expect(result.check?.worstCosine).toBeGreaterThan(0.999999);
    expect(Object.keys(result.check?.outputs ?? {})).toEqual(outputs);
    expect(result.inputs).toEqual({ pixel_values: ["batch_size", 3, sizePx, sizePx] });
    expect(result.outputs["cls"]?.[0]).toBe("batch_size");
    const { nodes, opset } = await readModel(out);
    expect(opset).toBe(18);
    expect(nodes.filter(({ domain }) => domain !== undefined)).toEqual([]);
  });

  test("writes pictures of any size, checked at several, one of them not square", async () => {
    const result = await exportModel({
      ...common,
      model: model(config),
      out: newFile(),
      imageSizePx: sizePx,
      dynamic: true,
      outputs: all(config),
    });
    expect(result.inputs).toEqual({ pixel_values: ["batch_size", 3, "height", "width"] });
    expect(result.check?.pictures).toBe(6);
    expect(result.check?.maxRelError).toBeLessThan(1e-5);
  });

  test.each(["f16", "int8"] as const)("stores weights as %s in less space", async (dtype) => {
    const plain = await exportModel({ ...common, model: model(config), out: newFile(), imageSizePx: sizePx, check: false });
    const result = await exportModel({ ...common, model: model(config), out: newFile(), imageSizePx: sizePx, dtype });
    const bytes = (r: typeof result): number => Object.values(r.files)[0] ?? 0;
    expect(bytes(result)).toBeLessThan(bytes(plain));
    expect(result.check?.worstCosine).toBeGreaterThan(dtype === "f16" ? 0.9999 : 0.98);
    expect(result.check?.maxAbsError).toBeGreaterThan(0);
    const stored = (await readModel(result.out)).initializers.filter((t) => t.dtype === (dtype === "f16" ? "f16" : "i8"));
    expect(stored.length).toBeGreaterThan(3);
    expect(stored.every(({ shape }) => shape.length > 1)).toBe(true);
  });
});

test("a file of fixed batch gives what the source gives in ONNX Runtime with its optimizer on", async () => {
  const out = newFile();
  const outputs = ["last_hidden_state", "attention"] as const;
  const result = await exportModel({ ...common, model: model(V2), out, batchSize: 2, outputs });
  expect(result.inputs).toEqual({ pixel_values: [2, 3, 16, 16] });
  expect(result.outputs).toEqual({ last_hidden_state: [2, 21, 16], attention: [2, 2, 16] });
  const images = Float32Array.from({ length: 2 * 3 * 16 * 16 }, (_, i) => Math.sin(i));
  const shapes = [
    [2, 21, 16],
    [2, 2, 16],
  ];
  const got = await optimized(new Uint8Array(await readFile(out)), { images, outputs, shapes });
  using device = openCpu({ threads: 1 });
  const { encoder } = await openModel(model(V2), device);
  using closing = encoder;
  const { features, attention } = await closing.encode(images, { pool: "all", sizePx: 16, attention: true });
  for (const [i, wanted] of [features, attention ?? new Float32Array(0)].entries()) {
    expect(got[i]).toHaveLength(wanted.length);
    for (const [k, y] of wanted.entries()) expect(Math.abs((got[i]?.[k] ?? Number.NaN) - y)).toBeLessThan(1e-4);
  }
});

/** Outputs of a model as others run it: ONNX Runtime's own optimizer on, which a process has for all its sessions or for none. */
async function optimized(
  bytes: Uint8Array,
  what: { readonly images: Float32Array; readonly outputs: readonly OutputName[]; readonly shapes: readonly (readonly number[])[] },
): Promise<readonly Float32Array[]> {
  using env = openOrt({ threads: 1, optimize: "all" });
  const { run, session } = onnxRun(env, { bytes }, what.outputs);
  using _closing = session;
  return await run(what.images, { batch: 2, sizePx: 16, shapes: what.shapes });
}

test("positions resized as Meta does are computed in the model, the native size apart", async () => {
  const config: ViTConfig = { ...V1, posInterpolation: "meta-offset" };
  const tensors = weightsInUse(config);
  using device = openCpu({ threads: 1 });
  using encoder = new Encoder({ config, params: floatsOf(tensors), device });
  const outputs = ["last_hidden_state"] as const;
  const graph = buildModel({ config, tensors, outputs, imageSizePx: "open", batch: 1, dtype: "f32" });
  const { run, session } = onnxRun(device.env, { bytes: encodeModel(graph) }, outputs);
  using _closing = session;
  const cases = [16, 20, { height: 16, width: 24 }].map((sizePx) => ({ batch: 1, sizePx }));
  const found = await checkOutputsOf(run, { encoder, outputs, cases, dtype: "f32", seed: 2 });
  expect(found.maxRelError).toBeLessThan(1e-5);
});

function floatsOf(tensors: ReadonlyMap<string, HostTensor>): Map<string, Float32Array> {
  return new Map([...tensors].map(([name, { data }]) => [name, Float32Array.from(data as Float32Array)])); // weights are float32
}

test("a folder has what transformers and transformers.js read, resized to the exported size, and opens again", async () => {
  const out = join(root, "folder");
  const result = await exportModel({ ...common, model: model(V3), out, format: "hf", imageSizePx: 24, outputs: ["patches"] });
  expect((await readdir(out)).toSorted()).toEqual(["config.json", "model.safetensors", "onnx", "preprocessor_config.json"]);
  expect(Object.keys(result.files)).toContain(join("onnx", "model.onnx"));
  expect(Object.keys(result.outputs)).toEqual(["last_hidden_state", "pooler_output", "patches"]);
  const processor: unknown = JSON.parse(await readFile(join(out, "preprocessor_config.json"), "utf8"));
  expect(processor).toMatchObject({ image_processor_type: "DINOv3ViTImageProcessor", size: { height: 24, width: 24 }, do_normalize: true });
  const config: unknown = JSON.parse(await readFile(join(out, "config.json"), "utf8"));
  expect(config).toMatchObject({ model_type: "dinov3_vit" });
  using device = openCpu({ threads: 1 });
  const { encoder, imageSizePx } = await openModel(out, device);
  encoder[Symbol.dispose]();
  expect(imageSizePx).toBe(24);
  const again = { ...common, model: model(V3), out, format: "hf", dtype: "int8" } as const;
  await expect(exportModel(again)).rejects.toThrow(/is there already; give --overwrite/);
  await exportModel({ ...again, overwrite: true });
  expect(await readdir(join(out, "onnx"))).toEqual(["model_quantized.onnx"]);
});

test("safetensors hold the weights under their published names, and are opened and compared", async () => {
  const out = join(root, "weights.safetensors");
  const result = await exportModel({ ...common, model: model(V1), out, format: "safetensors" });
  expect(result).toMatchObject({ format: "safetensors", opset: undefined, check: { maxAbsError: 0 } });
  using device = openCpu({ threads: 1 });
  const { encoder } = await openModel(out, device, { arch: V1 });
  encoder[Symbol.dispose]();
  expect(encoder.params.get("blocks.1.attn.qkv.weight")).toEqual(weightsInUse(V1).get("blocks.1.attn.qkv.weight")?.data);
});

test("what fails its check is not left, and what was there before stays", async () => {
  const dir = join(root, "unfinished");
  await writeModelFolder(dir, { config: V1, tensors: damaged(weightsInUse(V1)) });
  const out = newFile();
  await writeFile(out, "before");
  await expect(exportModel({ ...common, model: dir, out, overwrite: true })).rejects.toThrow(FormatError);
  await expect(exportModel({ ...common, model: dir, out, overwrite: true })).rejects.toThrow(
    /"cls" differs from the source by up to NaN, worst cosine NaN/,
  );
  expect(await readFile(out, "utf8")).toBe("before");
  expect((await readdir(root)).filter((name) => name.includes("unchecked"))).toEqual([]);
});

/** One weight that is no number: every feature is none either. */
function damaged(tensors: ReadonlyMap<string, HostTensor>): ReadonlyMap<string, HostTensor> {
  const weight = tensors.get("norm.weight");
  const data = Float32Array.from({ length: sizeOf(weight?.shape ?? []) }, () => Number.NaN);
  return new Map([...tensors, ["norm.weight", { dtype: "f32", shape: weight?.shape ?? [], data }]]);
}

test.each([
  ["ConvNeXt", TINY_CONVNEXT],
  ["ResNet", TINY_RESNET],
])("a %s of a fixed size takes one that is no whole number of steps", async (_, config) => {
  const result = await exportModel({ ...common, model: model(config), out: newFile(), imageSizePx: 70, outputs: all(config) });
  expect(result.check?.maxRelError).toBeLessThan(1e-5);
});

test.each([
  ["ViT", V1, 18],
  ["ConvNeXt", TINY_CONVNEXT, 70],
])("an open %s refuses pictures that are no whole steps, at every output", async (_, config, sizePx) => {
  using device = openCpu({ threads: 1 });
  for (const name of ["cls", "mean"] as const) {
    const graph = buildModel({ config, tensors: weightsInUse(config), outputs: [name], imageSizePx: "open", batch: "open", dtype: "f32" });
    const { run, session } = onnxRun(device.env, { bytes: encodeModel(graph) }, [name]);
    using _closing = session;
    const width = "family" in config ? config.widths[3] : config.width;
    const images = new Float32Array(3 * sizePx * sizePx);
    await expect(run(images, { batch: 1, sizePx, shapes: [[1, width]] })).rejects.toThrow(/Reshape/);
  }
});

test("an export of a damaged model leaves nothing", async () => {
  const dir = join(root, "cut off");
  await writeModelFolder(dir, { config: V1, tensors: weightsInUse(V1) });
  const file = join(dir, "model.safetensors");
  const bytes = await readFile(file);
  await writeFile(file, bytes.subarray(0, bytes.length - 100));
  const out = newFile();
  await expect(exportModel({ ...common, model: dir, out })).rejects.toThrow(FormatError);
  expect(existsSync(out)).toBe(false);
});

describe("exportModel() refuses", () => {
  test.each([
    [{ format: "onxx" }, /there is no format "onxx"; did you mean "onnx"\?/],
    [{ dtype: "bf16" }, /there is no type "bf16"/],
    [{ out: "a.bin" }, /does not end in \.onnx/],
    [{ out: ".onnx" }, /does not end in \.onnx/],
    [{ format: "hf", out: "a.onnx" }, /hf writes a folder/],
    [{ batchSize: 0 }, /the batch is 0/],
    [{ batchSize: 1.5 }, /the batch is 1\.5/],
    [{ seed: -1 }, /the seed is -1/],
    [{ imageSizePx: 18 }, /patches are 4 px; use 16 or 20/],
    [{ imageSizePx: Number.NaN }, /patches are 4 px; give a number/],
    [{ outputs: [] }, /none is named/],
    [{ outputs: ["clss"] }, /there is no "clss"; did you mean "cls"\?/],
    [{ outputs: ["cls", "cls"] }, /one comes twice/],
    [{ outputs: ["registers"] }, /the network has no registers/],
    [{ format: "safetensors", out: "a.safetensors", dtype: "f16" }, /so dtype means nothing/],
    [{ format: "safetensors", out: "a.safetensors", dynamic: true }, /so dynamic means nothing/],
  ])("%j", async (wrong, message) => {
    const options = { ...common, model: model(V1), out: newFile(), ...wrong } as Parameters<typeof exportModel>[0]; // as a program in JavaScript
    await expect(exportModel(options)).rejects.toThrow(message);
    await expect(exportModel(options)).rejects.toThrow(ConfigError);
    expect(existsSync(options.out)).toBe(false);
  });

  test("attention and small pictures of a convolutional network, and sizes that are no whole steps where they are open", async () => {
    const options = { ...common, model: model(TINY_CONVNEXT), out: newFile() };
    await expect(exportModel({ ...options, outputs: ["attention"] })).rejects.toThrow(/has no attention/);
    await expect(exportModel({ ...options, imageSizePx: 16 })).rejects.toThrow(/16 px are too few/);
    await expect(exportModel({ ...options, imageSizePx: 100, dynamic: true })).rejects.toThrow(/patches are 32 px/);
  });

  test("to write over the model itself, over a folder that is no model's, and over another kind of thing", async () => {
    const photos = join(root, "photos");
    await mkdir(photos, { recursive: true });
    await writeFile(join(photos, "cat.jpg"), "a picture");
    const options = { ...common, model: model(V1), format: "hf", overwrite: true } as const;
    await expect(exportModel({ ...options, out: photos })).rejects.toThrow(/it is no model folder; it is not replaced/);
    await expect(exportModel({ ...options, out: model(V1) })).rejects.toThrow(/is the model itself/);
    await expect(exportModel({ ...options, out: join(photos, "cat.jpg") })).rejects.toThrow(/is a file; hf is written as a folder/);
    expect(await readFile(join(photos, "cat.jpg"), "utf8")).toBe("a picture");
  });

  test("a path that is no model, and a job that was stopped", async () => {
    await expect(exportModel({ ...common, model: join(root, "nothing"), out: newFile() })).rejects.toThrow(/Cannot/);
    const out = newFile();
    await expect(exportModel({ ...common, model: model(V1), out, signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    expect(existsSync(out)).toBe(false);
  });
});
