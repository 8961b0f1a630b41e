import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FormatError, ShapeError } from "../../core/index.ts";
import { decodeModel } from "./proto-decode.ts";
import { encodeModel, type OnnxModel } from "./proto.ts";

const gemm: OnnxModel = {
  nodes: [
    { op: "Gemm", inputs: ["x", "w", ""], outputs: ["y"], attrs: { transB: { int: 1 }, alpha: { float: 0.5 } } },
    { op: "FusedMatMul", domain: "com.microsoft", inputs: ["y", "w"], outputs: ["z"] },
    { op: "Transpose", inputs: ["z"], outputs: ["t"], attrs: { perm: { ints: [1, 0] }, axis: { int: -1 }, note: { string: "größe" } } },
  ],
  initializers: [
    { name: "w", dtype: "f32", shape: [2, 3], data: Float32Array.of(1, -2, 3, 4, 5, 6) },
    { name: "axes", dtype: "i64", shape: [1], data: BigInt64Array.of(-1n) },
    { name: "one", dtype: "bool", shape: [], data: Uint8Array.of(1) },
  ],
  inputs: [{ name: "x", dtype: "f32", shape: [4, 3] }],
  outputs: [
    { name: "t", dtype: "bf16", shape: [3, 70000] },
    { name: "s", dtype: "f64", shape: [] },
  ],
};

describe("encodeModel()", () => {
  test("round-trips through decodeModel()", () => {
    expect(decodeModel(encodeModel(gemm))).toEqual({ ...gemm, opset: 21 });
  });

  test("round-trips names of sizes, stored half-width and int8 weights, and what is said of the model", () => {
    const model: OnnxModel = {
      nodes: [{ op: "DequantizeLinear", inputs: ["q", "s"], outputs: ["y"], attrs: { axis: { int: 0 } } }],
      initializers: [
        { name: "q", dtype: "i8", shape: [3], data: Int8Array.of(-127, 0, 127) },
        { name: "h", dtype: "f16", shape: [2], data: Uint16Array.of(0x3c00, 0xfbff) },
      ],
      inputs: [{ name: "x", dtype: "f32", shape: ["batch_size", 3, "height", 224] }],
      outputs: [],
      opset: 18,
      metadata: { config: "{}", größe: "ja" },
    };
    expect(decodeModel(encodeModel(model))).toEqual(model);
  });

  test("names no operator set but ONNX's own in a standard model", () => {
    const bytes = encodeModel({ nodes: [], initializers: [], inputs: [], outputs: [], standard: true });
    expect(Buffer.from(bytes).includes("com.microsoft")).toBe(false);
  });

  test("writes the bytes protobuf prescribes", () => {
    const bytes = encodeModel({
      nodes: [{ op: "Abs", inputs: ["x"], outputs: ["y"] }],
      initializers: [],
      inputs: [],
      outputs: [],
      opset: 18,
    });
    expect(Buffer.from(bytes).toString("hex")).toBe(
      "0808" + // ir_version 8, that of opset 18
        "120774726963657261" + // producer_name "tricera"
        "3a16" + // graph, 22 bytes
        "0a0b0a01781201792203416273" + // node Abs(x) -> y
        "120774726963657261" + // graph name
        "42040a001012" + // opset "" 18
        "42110a0d636f6d2e6d6963726f736f66741001", // opset com.microsoft 1
    );
  });

  test("keeps every number and name it is given", () => {
    fc.assert(
      fc.property(
        fc.array(fc.maxSafeInteger(), { maxLength: 20 }),
        fc.array(fc.string({ maxLength: 300, unit: "grapheme" }), { maxLength: 5 }),
        fc.uint8Array({ maxLength: 3000 }),
        (ints, names, data) => {
          const model: OnnxModel = {
            nodes: [{ op: "X", inputs: names, outputs: [], attrs: { a: { ints } } }],
            initializers: [{ name: "d", dtype: "u8", shape: [data.length], data }],
            inputs: [],
            outputs: [],
          };
          const back = decodeModel(encodeModel(model));
          expect(back.nodes).toEqual(model.nodes);
          expect(back.initializers[0]?.data).toEqual(new Uint8Array(data));
        },
      ),
    );
  });

  test("refuses an initializer whose data does not fill its shape", () => {
    const bad = { ...gemm, initializers: [{ name: "w", dtype: "f32", shape: [2, 2], data: new Float32Array(3) }] } satisfies OnnxModel;
    expect(() => encodeModel(bad)).toThrow(ShapeError);
    expect(() => encodeModel(bad)).toThrow('Cannot encode initializer "w": float32[2,2] takes 16 bytes, its data has 12');
  });
});

describe("decodeModel()", () => {
  test("refuses a cut off model", () => {
    const bytes = encodeModel(gemm);
    expect(() => decodeModel(bytes.subarray(0, bytes.length - 30))).toThrow(FormatError);
  });

  test("either reads or throws an error of ours, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeModel(bytes);
        } catch (error) {
          expect(["FormatError", "DTypeError"]).toContain(error instanceof Error ? error.name : error);
        }
      }),
    );
  });
});
