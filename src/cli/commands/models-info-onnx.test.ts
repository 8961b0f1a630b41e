import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { exportModel } from "../../features/index.ts";
import { writePicture, writeTinyModel } from "../../features/testing/tiny-model.ts";
import { type CliRun, runCli } from "../testing/run-cli.ts";
import type { OnnxModelInfo } from "./models-info-onnx.ts";

let root = "";
const at = (...parts: string[]): string => join(root, ...parts);
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera-info-"));
  await writeTinyModel(at("model"));
  for (const [i, name] of ["a/0", "a/1", "a/2", "b/0", "b/1", "b/2"].entries())
    await writePicture(at("photos", `${name}.png`), { colour: i < 3 ? [200, 20, 20] : [20, 20, 200], seed: i });
  await exportModel({
    model: at("model"),
    out: at("net.onnx"),
    threads: 1,
    externalData: true,
    dtype: "f16",
    outputs: ["last_hidden_state"],
  });
});
afterAll(() => rm(root, { recursive: true }));

const run = (...argv: readonly string[]): Promise<CliRun> => runCli(argv);

test("models info of an ONNX file says what goes in, what comes out and what it weighs", async () => {
  const { code, out } = await run("models", "info", at("net.onnx"), "--json");
  expect(code).toBe(0);
  const info = JSON.parse(out) as OnnxModelInfo; // the command's own type
  expect(info).toMatchObject({
    producer: "tricera",
    opset: 18,
    inputs: [{ name: "pixel_values", dtype: "float32", shape: ["batch_size", 3, 16, 16] }],
    outputs: [{ name: "last_hidden_state", dtype: "float32", shape: ["batch_size", 17, 12] }],
    network: { patchSizePx: 4, width: 12 },
  });
  expect(Object.keys(info.files)).toEqual(["net.onnx", "net.onnx_data"]);
  expect(info.weights["float16"]).toBeGreaterThan(1000);
  const { out: text } = await run("models", "info", at("net.onnx"));
  expect(text).toMatch(
    / {2}input +pixel_values float32\[batch_size, 3, 16, 16\]\n {2}output +last_hidden_state float32\[batch_size, 17, 12\]/,
  );
  expect(text).toMatch(/ {2}file +net.onnx_data, \d/);
});

test("models info refuses a damaged file, and the cost of a graph", async () => {
  await writeFile(at("bad.onnx"), "no model");
  const bad = await run("models", "info", at("bad.onnx"));
  expect([bad.code, bad.err]).toEqual([1, expect.stringMatching(/damaged or no ONNX model/)]);
  const cost = await run("models", "info", at("net.onnx"), "--image-size", "224");
  expect([cost.code, cost.err]).toEqual([2, expect.stringMatching(/leave --image-size out/)]);
});

test("embed and eval knn take an ONNX file as they take its weights", async () => {
  await mkdir(at("out"));
  const found = [];
  for (const model of ["model", "net.onnx"]) {
    const out = at("out", `${model}.csv`);
    const embedded = await run("embed", "--model", at(model), "--data", at("photos"), "--out", out, "--threads", "1");
    expect(embedded.code, embedded.err).toBe(0);
    const knn = await run(
      "eval",
      "knn",
      "--model",
      at(model),
      "--train",
      at("photos"),
      "--test",
      at("photos"),
      "--k",
      "1",
      "--threads",
      "1",
      "--json",
    );
    expect(knn.code, knn.err).toBe(0);
    found.push(JSON.parse(knn.out) as { readonly accuracy?: unknown });
  }
  expect(found[1]).toMatchObject(found[0] ?? {});
});

test("train --init says that a graph has no weights", async () => {
  const { code, err } = await run("train", "--data", at("photos"), "--init", at("net.onnx"), "--out", at("run"), "--steps", "1");
  expect(code).toBe(1);
  expect(err).toMatch(/an ONNX file is a graph, which can be run \(embed, eval\) but not trained/);
});
