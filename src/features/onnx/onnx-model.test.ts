import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ConfigError, FormatError } from "../../core/index.ts";
import { expectClose, goldenBase, goldenTensor, goldenTolerance, hasGolden, loadGolden } from "../../core/testing/golden.ts";
import { decodeModel, encodeModel, type OnnxModel } from "../../engine/onnx/index.ts";
import { openCpu } from "../../engine/runtime/index.ts";
import type { BackboneConfig } from "../../nn/index.ts";
import { writeModelFolder } from "../../weights/index.ts";
import { TINY_CONVNEXT, TINY_RESNET } from "../../weights/testing/random-weights.ts";
import { embed } from "../embed.ts";
import type { EncodeRequest } from "../encoder.ts";
import { exportModel } from "../export/export-model.ts";
import type { ExportOptions } from "../export/options.ts";
import { loadModel } from "../load-model.ts";
import { openEncoder, openModel } from "../model.ts";
import { readFeatureTable } from "../table.ts";
import { writePicture } from "../testing/tiny-model.ts";
import { V1, V3, weightsInUse, writeNetwork } from "../testing/small-networks.ts";
import type { Pooling } from "../trace-encoder.ts";

const NETWORKS = {
  "ViT v1": { config: V1, sizePx: 16 },
  "ViT v3 with registers": { config: V3, sizePx: 16 },
  ConvNeXt: { config: TINY_CONVNEXT, sizePx: 64 },
  ResNet: { config: TINY_RESNET, sizePx: 64 },
} as const;

let root = "";
const dirs = new Map<BackboneConfig, string>();
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera graphs "));
  for (const [name, { config }] of Object.entries(NETWORKS)) dirs.set(config, await writeNetwork(root, name, config));
  for (const [i, name] of ["a", "b", "c"].entries())
    await writePicture(join(root, "photos", name, `${name}.png`), { colour: [60 * i, 90, 20], seed: i });
});
afterAll(() => rm(root, { recursive: true }));

let files = 0;
const at = (...parts: string[]): string => join(root, ...parts);
const newFile = (): string => at(`${files++}.onnx`);
const modelOf = (config: BackboneConfig): string => dirs.get(config) ?? "";

async function exported(config: BackboneConfig, options: Partial<ExportOptions> = {}): Promise<string> {
  const out = options.out ?? newFile();
  const size = "family" in config ? { imageSizePx: 64 } : {};
  await exportModel({ model: modelOf(config), out, threads: 1, check: false, ...size, ...options });
  return out;
}

/** Features of both: the network, and its graph. */
async function both(
  model: string,
  onnx: string,
  { images, ...request }: EncodeRequest & { readonly images: Float32Array },
): Promise<readonly (readonly Float32Array[])[]> {
  using device = openCpu({ threads: 1 });
  const found: Float32Array[][] = [];
  for (const path of [model, onnx]) {
    const { encoder } = await openEncoder(path, device);
    using closing = encoder;
    const { features, attention } = await closing.encode(images, request);
    found.push([features.slice(), ...(attention === undefined ? [] : [attention.slice()])]);
  }
  return found;
}

function expectNear(got: Float32Array, wanted: Float32Array): void {
  expect(got).toHaveLength(wanted.length);
  const most = wanted.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
  for (const [i, x] of wanted.entries()) expect(Math.abs((got[i] ?? Number.NaN) - x)).toBeLessThan(1e-4 * most);
}

const noise = (length: number): Float32Array => Float32Array.from({ length }, (_, i) => Math.sin(i * 1.7));

describe.each(Object.entries(NETWORKS))("an ONNX file of %s", (_, { config, sizePx }) => {
  const pools: readonly Pooling[] = ["cls", "mean", "cls+mean", "gem", "patch", "all"];

  test.each(["last_hidden_state", "cls,patches"])("gives what the network gives, from outputs %s", async (outputs) => {
    const hasAttention = !("family" in config);
    const names = [...outputs.split(","), ...(hasAttention ? ["attention"] : [])];
    const onnx = await exported(config, { outputs: names, dynamic: true });
    const images = noise(3 * 3 * sizePx * sizePx);
    const isWhole = outputs === "last_hidden_state";
    const hasRegisters = "registers" in config;
    for (const pool of [...pools, ...(hasRegisters && isWhole ? (["registers"] as const) : [])]) {
      if (pool === "all" && hasRegisters && !isWhole) continue;
      const [wanted, got] = await both(modelOf(config), onnx, { images, pool, sizePx, attention: hasAttention });
      for (const [i, values] of (wanted ?? []).entries()) expectNear(got?.[i] ?? new Float32Array(0), values);
    }
  });

  test("of a fixed batch takes any number of pictures", async () => {
    const attention = !("family" in config);
    const onnx = await exported(config, { outputs: ["last_hidden_state", ...(attention ? ["attention"] : [])], batchSize: 2 });
    for (const n of [1, 2, 5]) {
      const [wanted, got] = await both(modelOf(config), onnx, { images: noise(n * 3 * sizePx * sizePx), pool: "all", sizePx, attention });
      expect(got?.length).toBe(attention ? 2 : 1);
      for (const [i, values] of (wanted ?? []).entries()) expectNear(got?.[i] ?? new Float32Array(0), values);
    }
  });
});

describe("what our exports carry", () => {
  test("is their preprocessing, size and rules of decoding, without any file beside them", async () => {
    const run = at("run");
    const last = join(run, "exported", "last");
    await writeModelFolder(last, { config: V1, tensors: weightsInUse(V1) });
    await writeFile(join(run, "config.json"), JSON.stringify({ config: { data: { decode: "managed", alpha: "white" } } }));
    using device = openCpu({ threads: 1 });
    const { encoder, ...wanted } = await openModel(last, device);
    encoder[Symbol.dispose]();
    const onnx = newFile();
    await exportModel({ model: last, out: onnx, threads: 1, check: false });
    const opened = await openEncoder(onnx, device);
    opened.encoder[Symbol.dispose]();
    expect(opened).toMatchObject({ preprocessing: wanted.preprocessing, imageSizePx: 16, rules: { decode: "managed", alpha: "white" } });
  });

  test("is enough for loadModel() and embed(): the same features as of the weights", async () => {
    const onnx = await exported(V3, { outputs: ["last_hidden_state", "attention"] });
    const photo = at("photos", "b", "b.png");
    await using network = await loadModel(modelOf(V3), { threads: 1 });
    await using graph = await loadModel(onnx, { threads: 1 });
    expect([graph.width, graph.patchSizePx, graph.heads, graph.imageSizePx]).toEqual([16, 4, 2, 16]);
    const [wanted, got] = [await network.embed(photo, { attention: true }), await graph.embed(photo, { attention: true })];
    for (const key of ["cls", "registers", "patches", "attention"] as const)
      expectNear(got[key] ?? new Float32Array(0), wanted[key] ?? new Float32Array(1));
    expect(got.grid).toEqual({ rows: 4, columns: 4 });
    for (const [name, model] of [
      ["network", modelOf(V3)],
      ["graph", onnx],
    ] as const)
      await embed({ model, data: at("photos"), out: at(`${name}.safetensors`), pool: "cls+mean", threads: 1 });
    const [table, same] = [await readFeatureTable(at("network.safetensors")), await readFeatureTable(at("graph.safetensors"))];
    expect(same.shape).toEqual([3, 32]);
    expectNear(same.features, table.features);
  });

  test("an export of class token and patches serves loadModel(), registers left out", async () => {
    await using graph = await loadModel(await exported(V3), { threads: 1 });
    const { cls, registers, patches } = await graph.embed(at("photos", "a", "a.png"));
    expect([cls.length, registers.length, patches.length]).toEqual([16, 0, 16 * 16]);
  });
});

/** A file of ours as others write it: no entries, other names of sizes. */
async function asForeign(path: string, change: (model: OnnxModel) => OnnxModel = (m) => m): Promise<string> {
  const { metadata: _, ...model } = decodeModel(new Uint8Array(await readFile(path)));
  const out = newFile();
  await writeFile(out, encodeModel({ standard: true, ...change(model) }));
  return out;
}

describe("a file of others", () => {
  test("in a folder of transformers.js is described by it", async () => {
    const out = at("hub");
    await exported(V3, { out, format: "hf", imageSizePx: 24, dtype: "f16" });
    await rm(join(out, "model.safetensors"));
    const file = join(out, "onnx", "model_fp16.onnx");
    await writeFile(file, await readFile(await asForeign(file)));
    using device = openCpu({ threads: 1 });
    for (const path of [out, file]) {
      const { encoder, imageSizePx, preprocessing } = await openEncoder(path, device);
      using closing = encoder;
      expect([closing.prefix, closing.patchSizePx, imageSizePx, preprocessing.arithmetic]).toEqual([5, 4, 24, "float"]);
    }
  });

  test("whose pooler_output is a layer of its own gives its class token by the tokens, or not at all", async () => {
    const pooled = await exported(V1, { outputs: ["pooler_output"] });
    const alone = await asForeign(pooled);
    const images = noise(3 * 16 * 16);
    using device = openCpu({ threads: 1 });
    const { encoder } = await openEncoder(pooled, device);
    using ours = encoder;
    expect((await ours.encode(images, { pool: "cls", sizePx: 16 })).features).toHaveLength(16);
    const renamed = await asForeign(alone, (m) => m);
    const bytes = await readFile(renamed);
    bytes.write("notmine", bytes.indexOf("tricera"), "latin1"); // the producer
    await writeFile(renamed, bytes);
    const { encoder: other } = await openEncoder(renamed, device, { arch: V1 });
    using theirs = other;
    await expect(theirs.encode(images, { pool: "cls", sizePx: 16 })).rejects.toThrow(
      /Cannot give features "cls": the outputs of ".*" are pooler_output; choose another --pool, or export it/,
    );
  });

  test("is refused with another network's configuration", async () => {
    const onnx = await asForeign(await exported(V1, { outputs: ["last_hidden_state"], dynamic: true }));
    using device = openCpu({ threads: 1 });
    await expect(openEncoder(onnx, device, { arch: { ...V1, width: 32 } })).rejects.toThrow(
      /tokens of last_hidden_state have 16 numbers, by its configuration 32; give the config.json/,
    );
    const { encoder } = await openEncoder(onnx, device, { arch: { ...V1, registers: 2 } });
    using closing = encoder;
    await expect(closing.encode(noise(3 * 16 * 16), { pool: "cls", sizePx: 16 })).rejects.toThrow(
      /gives last_hidden_state \[1, 17, 16\], \[1, 19, 16\] was expected/,
    );
    await expect(openEncoder(onnx, device, { arch: "vit_tiny_patch17" })).rejects.toThrow(ConfigError);
  });

  const broken: readonly (readonly [string, (m: OnnxModel) => OnnxModel, RegExp])[] = [
    [
      "float16 pictures",
      (m) => ({ ...m, inputs: [{ name: "pixel_values", dtype: "f16", shape: [1, 3, 16, 16] }] }),
      /its input is pixel_values float16\[1, 3, 16, 16\]; export it again with a float32 input/,
    ],
    [
      "pictures of other axes",
      (m) => ({ ...m, inputs: [{ name: "pixel_values", dtype: "f32", shape: ["n", 768] }] }),
      /its input is pixel_values float32\[n, 768\], pictures are \[batch, channels, height, width\]/,
    ],
    [
      "pictures that are not square",
      (m) => ({ ...m, inputs: [{ name: "pixel_values", dtype: "f32", shape: ["n", 3, 16, 32] }] }),
      /it takes pictures of 16x32 px \(height x width\), only squares/,
    ],
    [
      "four channels without four means",
      (m) => ({ ...m, inputs: [{ name: "pixel_values", dtype: "f32", shape: ["n", 4, 16, 16] }] }),
      /it takes 4 channels and there are 3 means/,
    ],
    [
      "a mask beside the pictures",
      (m) => ({ ...m, inputs: [...m.inputs, { name: "bool_masked_pos", dtype: "bool", shape: ["n", 16] }] }),
      /it wants pixel_values float32\[batch_size, 3, 16, 16\] and bool_masked_pos bool\[n, 16\]; export it again with pixel_values as its only/,
    ],
    ["no input", (m) => ({ ...m, inputs: [] }), /it takes no input/],
    [
      "classes instead of tokens",
      (m) => ({ ...m, outputs: [{ name: "logits", dtype: "f32", shape: ["n", 1000] }] }),
      /its outputs are logits float32\[n, 1000\], it needs one of last_hidden_state, .*; export it again with its final-normed tokens/,
    ],
    [
      "tokens of too few axes",
      (m) => ({ ...m, outputs: [{ name: "last_hidden_state", dtype: "f32", shape: ["n", 16] }] }),
      /which has 2 axes instead of 3/,
    ],
    [
      "float16 tokens",
      (m) => ({ ...m, outputs: [{ name: "last_hidden_state", dtype: "f16", shape: ["n", 17, 16] }] }),
      /its output is last_hidden_state float16\[n, 17, 16\]; export it again with float32 outputs/,
    ],
    ["an operator set of the future", (m) => ({ ...m, opset: 99 }), /\(operator set 99\): .*; export it again, for an operator set that/s],
    [
      "an operator that there is not",
      (m) => ({ ...m, nodes: [{ op: "Nonsense", inputs: ["pixel_values"], outputs: ["last_hidden_state"] }] }),
      /Cannot open ".*" \(operator set 18\): ONNX Runtime says/,
    ],
  ];
  test.each(broken)("is refused with %s", async (_, change, message) => {
    const onnx = await asForeign(await exported(V1, { outputs: ["last_hidden_state"] }), change);
    using device = openCpu({ threads: 1 });
    await expect(openEncoder(onnx, device)).rejects.toThrow(message);
  });

  test("whose patches nothing tells asks for the architecture", async () => {
    const onnx = await asForeign(await exported(TINY_CONVNEXT, { outputs: ["last_hidden_state"] }));
    using device = openCpu({ threads: 1 });
    await expect(openEncoder(onnx, device)).rejects.toThrow(/name the network by --arch, or put its config.json beside the file/);
    const { encoder } = await openEncoder(onnx, device, { arch: TINY_CONVNEXT });
    using closing = encoder;
    expect([closing.patchSizePx, closing.prefix]).toEqual([32, 1]);
  });
});

const TORCH = ["torch_vit", "torch_dinov2_registers", "torch_dinov3"] as const;
const PREFIX = { torch_vit: 1, torch_dinov2_registers: 3, torch_dinov3: 3 } as const;

describe.skipIf(!hasGolden("onnx", ...TORCH)).each(TORCH)("what torch.onnx.export wrote: %s", (name) => {
  test("is read as a bare file at its own size, and in a folder with its config.json", async () => {
    const golden = loadGolden("onnx", name);
    const images = Float32Array.from(goldenTensor(golden, "x").data, Number);
    const base = goldenBase("onnx", name) ?? "";
    const dir = at(name);
    await mkdir(join(dir, "onnx"), { recursive: true });
    await writeFile(join(dir, "onnx", "model.onnx"), gunzipSync(await readFile(`${base}.onnx.gz`)));
    await writeFile(at(`${name}.onnx`), await readFile(join(dir, "onnx", "model.onnx")));
    await writeFile(join(dir, "config.json"), await readFile(`${base}.config.json`));
    using device = openCpu({ threads: 1 });
    for (const path of [at(`${name}.onnx`), dir]) {
      const { encoder } = await openEncoder(path, device, { imageSizePx: 8 });
      using closing = encoder;
      expect([closing.prefix, closing.patchSizePx, closing.width, closing.heads]).toEqual([PREFIX[name], 4, 8, 0]);
      const { features } = await closing.encode(images, { pool: "all", sizePx: 8 });
      expectClose(features, Float32Array.from(goldenTensor(golden, "y").data, Number), goldenTolerance(golden));
    }
  });

  test("is given pictures by the rules of its family", async () => {
    using device = openCpu({ threads: 1 });
    const { encoder, preprocessing, rules } = await openEncoder(at(name), device);
    encoder[Symbol.dispose]();
    expect([preprocessing.imageSizePx, preprocessing.resize, rules.decode]).toEqual([
      8,
      name === "torch_dinov3" ? "square" : "short-side",
      "python",
    ]);
  });
});

describe("an ONNX file cannot give", () => {
  test("other layers, attention and registers that are no outputs, other sizes than its own", async () => {
    const onnx = await exported(V1);
    await using graph = await loadModel(onnx, { threads: 1 });
    const photo = at("photos", "a", "a.png");
    await expect(graph.embed(photo, { layers: [0, 1] })).rejects.toThrow(
      /Cannot take layers 0,1: ".*" is a graph and gives its last block only/,
    );
    await expect(graph.embed(photo, { attention: true })).rejects.toThrow(
      /has no such output; export it with --outputs last_hidden_state,attention/,
    );
    expect((await graph.embed(photo, { layers: [-1] })).layers).toHaveLength(1);
    await expect(loadModel(onnx, { imageSizePx: 24, threads: 1 })).rejects.toThrow(
      /Cannot embed pictures of 24x24 px: ".*" takes 16x16 px only; leave the size .* out, or export it with --dynamic/,
    );
    await expect(loadModel(onnx, { imageSizePx: 18, threads: 1 })).rejects.toThrow(/patches are 4 px; use 16 or 20/);
    const out = at("never.safetensors");
    const options = { model: onnx, data: at("photos"), out, threads: 1 } as const;
    await expect(embed({ ...options, pool: "registers" })).rejects.toThrow(/Cannot give features "registers": the outputs of/);
    using device = openCpu({ threads: 1 });
    const { encoder } = await openEncoder(onnx, device);
    using closing = encoder;
    const sizePx = { height: 16, width: 24 };
    await expect(closing.encode(noise(3 * 16 * 24), { pool: "cls", sizePx })).rejects.toThrow(/Cannot embed pictures of 24x16 px/);
    await expect(embed({ ...options, layers: [0] })).rejects.toThrow(ConfigError);
  });

  test("an export, for it has no weights", async () => {
    const model = await exported(V1);
    await expect(exportModel({ model, out: newFile(), threads: 1 })).rejects.toThrow(/an ONNX file is a graph/);
  });
});

test("a damaged file is refused by an error that says so, or gives features of the right number", async () => {
  const good = await readFile(await exported(V1, { outputs: ["last_hidden_state"] }));
  const edit = fc.record({ at: fc.double({ min: 0, max: 0.9999, noNaN: true }), length: fc.nat(16), byte: fc.option(fc.nat(255)) });
  using device = openCpu({ threads: 1 });
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), fc.boolean(), async (edits, isCut) => {
      let bytes = good;
      for (const { at: share, length, byte } of edits) {
        const from = Math.floor(share * bytes.length);
        const middle = byte === null ? [] : [Buffer.alloc(Math.min(length, bytes.length - from), byte)];
        bytes = Buffer.concat([bytes.subarray(0, from), ...middle, bytes.subarray(from + length)]);
      }
      const path = at("mutated.onnx");
      await writeFile(path, isCut ? bytes.subarray(0, Math.floor(bytes.length * (edits[0]?.at ?? 1))) : bytes);
      try {
        const { encoder } = await openEncoder(path, device);
        using closing = encoder;
        const { features } = await closing.encode(noise(3 * 16 * 16), { pool: "all", sizePx: 16 });
        expect(features).toHaveLength(closing.tokens("all", 16) * closing.width);
      } catch (error) {
        expect([FormatError, ConfigError]).toContain((error as Error).constructor); // whatever was thrown is shown
        expect((error as Error).message).toMatch(/^Cannot .*: .*; .*/s);
      }
    }),
    { numRuns: 200 },
  );
});

test("a folder whose other files are wrong is refused by their names", async () => {
  const out = at("damaged hub");
  await exported(V1, { out, format: "hf" });
  await rm(join(out, "model.safetensors"));
  const file = join(out, "onnx", "model.onnx");
  await writeFile(file, await readFile(await asForeign(file)));
  using device = openCpu({ threads: 1 });
  const open = (): Promise<unknown> => openEncoder(out, device);
  await writeFile(join(out, "preprocessor_config.json"), '{"resample": "cubic"}');
  await expect(open()).rejects.toThrow(/preprocessor_config.json" has a wrong resample/);
  await rm(join(out, "preprocessor_config.json"));
  await writeFile(join(out, "config.json"), '{"model_type": "swin"}');
  await expect(open()).rejects.toThrow(FormatError);
  await writeFile(join(out, "config.json"), "{");
  await expect(open()).rejects.toThrow(/config.json" is not JSON/);
  await mkdir(join(out, "onnx"), { recursive: true });
});
