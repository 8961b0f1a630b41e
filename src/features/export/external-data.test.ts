import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-web/wasm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ConfigError, FormatError } from "../../core/index.ts";
import { openCpu } from "../../engine/runtime/index.ts";
import type { ViTConfig } from "../../nn/index.ts";
import { writeModelFolder } from "../../weights/index.ts";
import { readOnnxInfo } from "../../weights/onnx/index.ts";
import { loadModel } from "../load-model.ts";
import { openEncoder } from "../model.ts";
import { weightsInUse } from "../testing/small-networks.ts";
import { exportModel } from "./export-model.ts";
import { SMALL_VIT } from "../../nn/testing/small-vit.ts";

const V2: ViTConfig = { ...SMALL_VIT, width: 32, layerScale: 1, maskToken: true };

let root = "";
let model = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera external "));
  model = join(root, "model");
  await writeModelFolder(model, { config: V2, tensors: weightsInUse(V2) });
});
afterAll(() => rm(root, { recursive: true }));
const at = (...parts: string[]): string => join(root, ...parts);
const common = { threads: 1, externalData: true } as const;
const photo = { data: Uint8Array.from({ length: 20 * 18 * 3 }, (_, i) => (i * 37) % 251), width: 20, height: 18 };

describe.each(["f32", "f16", "int8"] as const)("exportModel() with weights beside the graph, as %s", (dtype) => {
  test("writes a small graph and the file that it names, checked by running both, which open as a model", async () => {
    const out = at(`${dtype}.onnx`);
    const { files, check } = await exportModel({ ...common, model, out, dtype, outputs: ["last_hidden_state"] });
    expect(Object.keys(files)).toEqual([out, `${out}_data`]);
    expect(check?.worstCosine).toBeGreaterThan(0.98);
    const { external, weightBytes } = readOnnxInfo(await readFile(out), out);
    expect(external.length).toBeGreaterThan(4);
    expect(new Set(external.map(({ location }) => location))).toEqual(new Set([`${dtype}.onnx_data`]));
    for (const { offset, length } of external) expect([offset % 4096, length >= 1024]).toEqual([0, true]);
    const end = Math.max(...external.map(({ offset, length }) => offset + length));
    expect((await stat(`${out}_data`)).size).toBe(end);
    expect(weightBytes).toBeGreaterThan(external.reduce((n, { length }) => n + length, 0));
    const whole = at(`${dtype}-whole.onnx`);
    await exportModel({ ...common, externalData: false, model, out: whole, dtype, outputs: ["last_hidden_state"] });
    await using far = await loadModel(out, { threads: 1 });
    await using near = await loadModel(whole, { threads: 1 });
    expect((await far.embed(photo)).patches).toEqual((await near.embed(photo)).patches);
  });
});

test("a folder says to transformers.js that its weights are beside the graph, and nothing else of its config changes", async () => {
  const [plain, out] = [at("plain"), at("hub")];
  await exportModel({ ...common, externalData: false, model, out: plain, format: "hf" });
  const { files } = await exportModel({ ...common, model, out, format: "hf", dtype: "f16" });
  expect(Object.keys(files)).toEqual(expect.arrayContaining([join("onnx", "model_fp16.onnx"), join("onnx", "model_fp16.onnx_data")]));
  const [said, before] = [await readFile(join(out, "config.json"), "utf8"), await readFile(join(plain, "config.json"), "utf8")];
  const { "transformers.js_config": js, ...rest }: Readonly<Record<string, unknown>> = JSON.parse(said);
  expect(js).toEqual({ use_external_data_format: { "model_fp16.onnx": 1 } });
  expect(rest).toEqual(JSON.parse(before));
  expect(said).toContain('"layerscale_value": 1.0');
  await rm(join(out, "model.safetensors"));
  using device = openCpu({ threads: 1 });
  const { encoder } = await openEncoder(out, device);
  using closing = encoder;
  expect(closing.width).toBe(32);
});

test("a graph and its weights are replaced together, and what is no longer named goes", async () => {
  const out = at("again.onnx");
  await exportModel({ ...common, model, out });
  await expect(exportModel({ ...common, model, out })).rejects.toThrow(/again.onnx_data" is there already; give --overwrite/);
  await expect(exportModel({ ...common, model, out })).rejects.toThrow(ConfigError);
  await exportModel({ ...common, model, out, overwrite: true });
  expect(existsSync(`${out}_data`)).toBe(true);
  await exportModel({ ...common, externalData: false, model, out, overwrite: true });
  expect(existsSync(`${out}_data`)).toBe(false);
  await writeFile(`${out}_data`, "somebody's");
  await exportModel({ ...common, externalData: false, model, out, overwrite: true });
  expect(await readFile(`${out}_data`, "utf8")).toBe("somebody's");
  expect((await readdir(root)).filter((name) => name.includes("unchecked"))).toEqual([]);
});

test("what fails its check leaves the pair that was there", async () => {
  const damaged = at("damaged");
  const tensors = new Map([
    ...weightsInUse(V2),
    ["norm.weight", { dtype: "f32", shape: [32], data: new Float32Array(32).fill(NaN) } as const],
  ]);
  await writeModelFolder(damaged, { config: V2, tensors });
  const out = at("kept.onnx");
  await exportModel({ ...common, model, out });
  const before = [await readFile(out), await readFile(`${out}_data`)];
  await expect(exportModel({ ...common, model: damaged, out, overwrite: true })).rejects.toThrow(FormatError);
  expect([await readFile(out), await readFile(`${out}_data`)]).toEqual(before);
  expect((await readdir(root)).filter((name) => name.includes("unchecked"))).toEqual([]);
});

test("weights that are cut off are seen before the graph is run", async () => {
  const out = at("cut.onnx");
  await exportModel({ ...common, model, out });
  const bytes = await readFile(`${out}_data`);
  await writeFile(`${out}_data`, bytes.subarray(0, bytes.length - 1));
  using device = openCpu({ threads: 1 });
  await expect(openEncoder(out, device)).rejects.toThrow(
    /"cut.onnx_data" has \d+ bytes, its weights need \d+; download or export both files again/,
  );
});

test("onnxruntime-web takes both files", async () => {
  const out = at("web.onnx");
  await exportModel({ ...common, model, out, outputs: ["last_hidden_state"] });
  ort.env.wasm.numThreads = 1;
  const data = new Uint8Array(await readFile(`${out}_data`));
  const session = await ort.InferenceSession.create(new Uint8Array(await readFile(out)), {
    externalData: [{ path: "web.onnx_data", data }],
  });
  const images = Float32Array.from({ length: 3 * 16 * 16 }, (_, i) => Math.sin(i));
  const { last_hidden_state: tokens } = await session.run({ pixel_values: new ort.Tensor("float32", images, [1, 3, 16, 16]) });
  await session.release();
  using device = openCpu({ threads: 1 });
  const { encoder } = await openEncoder(model, device);
  using closing = encoder;
  const { features } = await closing.encode(images, { pool: "all", sizePx: 16 });
  expect(tokens?.dims).toEqual([1, 17, 32]);
  for (const [i, x] of features.entries()) expect(Math.abs(Number(tokens?.data[i]) - x)).toBeLessThan(1e-4);
});

test("safetensors have no graph that weights could be beside", async () => {
  await expect(exportModel({ ...common, model, out: at("w.safetensors"), format: "safetensors" })).rejects.toThrow(
    /so externalData means nothing/,
  );
});
