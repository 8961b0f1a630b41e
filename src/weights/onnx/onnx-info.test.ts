import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FormatError } from "../../core/index.ts";
import { encodeModel, type OnnxModel } from "../../engine/onnx/index.ts";
import { WireWriter } from "../../engine/onnx/wire.ts";
import { readBackbone } from "../folder/read-backbone.ts";
import { findOnnx, readOnnxFile, readOnnxInfo } from "./index.ts";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera onnx "));
});
afterAll(() => rm(root, { recursive: true }));
const at = (...parts: string[]): string => join(root, ...parts);

const MODEL: OnnxModel = {
  opset: 18,
  standard: true,
  nodes: [
    {
      op: "Conv",
      inputs: ["pixel_values", "w"],
      outputs: ["y"],
      attrs: { kernel_shape: { ints: [4, 4] }, strides: { ints: [4, 4] } },
    },
  ],
  initializers: [
    { name: "w", dtype: "f32", shape: [2, 3, 4, 4], data: new Float32Array(96) },
    { name: "h", dtype: "f16", shape: [5], data: new Uint16Array(5) },
  ],
  inputs: [
    { name: "pixel_values", dtype: "f32", shape: ["batch_size", 3, 8, "width"] },
    { name: "w", dtype: "f32", shape: [2, 3, 4, 4] },
  ],
  outputs: [{ name: "y", dtype: "f32", shape: ["batch_size", 2, 2, "?"] }],
  metadata: { about: "a test" },
};

test("readOnnxInfo() gives inputs without weights, outputs, weights, metadata and the first convolution", () => {
  expect(readOnnxInfo(encodeModel(MODEL), "m.onnx")).toEqual({
    path: "m.onnx",
    irVersion: 8,
    producer: "tricera",
    opset: 18,
    domains: [],
    metadata: new Map([["about", "a test"]]),
    inputs: [{ name: "pixel_values", dtype: "float32", shape: ["batch_size", 3, 8, "width"] }],
    outputs: [{ name: "y", dtype: "float32", shape: ["batch_size", 2, 2, "?"] }],
    weights: new Map([
      ["float32", 96],
      ["float16", 5],
    ]),
    weightBytes: 96 * 4 + 10,
    external: [],
    convolution: { kernel: [4, 4], strides: [4, 4] },
  });
});

test("readOnnxInfo() names other sets of operators", () => {
  const { opset, domains } = readOnnxInfo(encodeModel({ ...MODEL, standard: false, opset: 21 }), "m.onnx");
  expect([opset, domains]).toEqual([21, ["com.microsoft"]]);
});

describe("readOnnxInfo() refuses", () => {
  const good = encodeModel(MODEL);
  test.each([
    [
      "nothing",
      new Uint8Array(0),
      /^Cannot open "m.onnx": it has no graph, so it is damaged or no ONNX model; export or download it again$/,
    ],
    ["what is no protobuf", new TextEncoder().encode("not a model"), /it is damaged or no ONNX model \(/],
    ["a file that is cut off", good.subarray(0, good.length - 100), /it is damaged or no ONNX model \(it ends at byte/],
    ["graphs without end", deep(40), /its graphs lie 17 deep in each other/],
  ])("%s", (_, bytes, message) => {
    expect(() => readOnnxInfo(bytes, "m.onnx")).toThrow(message);
    expect(() => readOnnxInfo(bytes, "m.onnx")).toThrow(FormatError);
  });
});

/** A graph in an attribute of a node of a graph, and so on. */
function deep(levels: number): Uint8Array {
  let graph: Uint8Array = new Uint8Array(0);
  for (let i = 0; i < levels; i++) graph = wrapped(1, wrapped(5, wrapped(6, graph)));
  return wrapped(7, graph);
}

function wrapped(field: number, bytes: Uint8Array): Uint8Array {
  const w = new WireWriter();
  w.bytes(field, bytes);
  return w.finish();
}

/** A model with one weight of four float32 in another file, as `said`. */
function external(said: Readonly<Record<string, string>>): Uint8Array {
  const tensor = new WireWriter();
  tensor.int(1, 4);
  tensor.int(2, 1);
  tensor.string(8, "w");
  tensor.int(14, 1);
  for (const [key, value] of Object.entries(said))
    tensor.message(13, () => {
      tensor.string(1, key);
      tensor.string(2, value);
    });
  return wrapped(7, wrapped(5, tensor.finish()));
}

describe("weights in other files", () => {
  const said = { location: "m.onnx_data", offset: "8", length: "16" };

  test("are named with their places, and their files are seen to be long enough", async () => {
    const path = at("m.onnx");
    await writeFile(path, external(said));
    expect(readOnnxInfo(external(said), path).external).toEqual([{ tensor: "w", location: "m.onnx_data", offset: 8, length: 16 }]);
    await expect(readOnnxFile(path)).rejects.toThrow(/its weights lie in "m.onnx_data", which is not beside it; copy that file, too/);
    await writeFile(at("m.onnx_data"), new Uint8Array(23));
    await expect(readOnnxFile(path)).rejects.toThrow(/"m.onnx_data" has 23 bytes, its weights need 24; download or export both/);
    await writeFile(at("m.onnx_data"), new Uint8Array(24));
    expect(await readOnnxFile(path)).toMatchObject({ externalDir: root, externalFiles: ["m.onnx_data"] });
  });

  test.each([
    "/etc/passwd",
    "../m.onnx_data",
    "weights/../../m.onnx_data",
    "..\\m.onnx_data",
    "C:\\weights",
    "c:weights",
    "\\\\server\\weights",
    "",
    "a\0b",
  ])("are refused at %j", (location) => {
    const read = (): unknown => readOnnxInfo(external({ ...said, location }), "m.onnx");
    expect(read).toThrow(FormatError);
    expect(read).toThrow(/which is outside of the model's folder; do not use this file/);
  });

  test.each([
    [{ ...said, offset: "-1" }, /the offset of its weight "w" in "m.onnx_data" is "-1"/],
    [{ ...said, length: "1e9" }, /the length of its weight/],
    [{ ...said, length: "20" }, /has 16 bytes, "m.onnx_data" is said to have 20 of it/],
    [{ ...said, offset: "99999999999999999" }, /the offset of its weight/],
  ])("are refused as %j", (wrong, message) => {
    expect(() => readOnnxInfo(external(wrong), "m.onnx")).toThrow(message);
  });
});

describe("findOnnx()", () => {
  const touch = async (...parts: string[]): Promise<string> => {
    await mkdir(at(...parts, ".."), { recursive: true });
    await writeFile(at(...parts), "{}");
    return at(...parts);
  };

  test("takes a file, with what lies beside it or beside the folder onnx", async () => {
    const file = await touch("one", "onnx", "model_fp16.onnx");
    expect(await findOnnx(file)).toEqual({ file, config: undefined, processor: undefined });
    const config = await touch("one", "config.json");
    const processor = await touch("one", "preprocessor_config.json");
    expect(await findOnnx(file)).toEqual({ file, config, processor });
    expect(await findOnnx(at("one"))).toEqual({ file, config, processor });
  });

  test("takes the most exact file of a folder, and none where there are weights", async () => {
    const file = await touch("two", "onnx", "model_quantized.onnx");
    expect((await findOnnx(at("two")))?.file).toBe(file);
    const plain = await touch("two", "model.onnx");
    expect((await findOnnx(at("two")))?.file).toBe(plain);
    await touch("two", "model.safetensors");
    expect(await findOnnx(at("two"))).toBeUndefined();
  });

  test("asks for one of files by other names; what is no model is none of its", async () => {
    await touch("three", "onnx", "model_q4.onnx");
    await expect(findOnnx(at("three"))).rejects.toThrow(/it has onnx\/model_q4.onnx and none of model.onnx, .*; give the path of one file/);
    expect(await findOnnx(at("nowhere"))).toBeUndefined();
    expect(await findOnnx(at("nowhere.onnx"))).toBeUndefined();
  });
});

test("readBackbone() says of an ONNX file, and of a folder of one, that they have no weights", async () => {
  await writeFile(at("graph.onnx"), encodeModel(MODEL));
  await expect(readBackbone(at("graph.onnx"))).rejects.toThrow(
    /Cannot open weights of ".*graph.onnx": an ONNX file is a graph, .*; give the model it was exported from/,
  );
  await mkdir(at("folder", "onnx"), { recursive: true });
  await expect(readBackbone(at("folder"))).rejects.toThrow(/it holds an ONNX graph, .* and no weights/);
  await expect(readBackbone(at("folder"))).rejects.toThrow(FormatError);
});

test("readOnnxFile() names what people save by mistake", async () => {
  await writeFile(at("page.onnx"), "<!DOCTYPE html><html>");
  await expect(readOnnxFile(at("page.onnx"))).rejects.toThrow(/it is a web page/);
  await writeFile(at("lfs.onnx"), "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
  await expect(readOnnxFile(at("lfs.onnx"))).rejects.toThrow(/Git LFS/);
});
