import { expect, test } from "vitest";
import { ShapeError } from "../../core/index.ts";
import { externalFile, modelPieces, type OnnxModel } from "./index.ts";

const data = (length: number, seed: number): Float32Array => Float32Array.from({ length }, (_, i) => seed + i);
const MODEL: OnnxModel = {
  nodes: [{ op: "Add", inputs: ["a", "b"], outputs: ["y"] }],
  initializers: [
    { name: "a", dtype: "f32", shape: [300], data: data(300, 1) },
    { name: "small", dtype: "f32", shape: [255], data: data(255, 2) },
    { name: "b", dtype: "f32", shape: [2, 2000], data: data(4000, 3) },
  ],
  inputs: [],
  outputs: [{ name: "y", dtype: "f32", shape: [300] }],
};

const joined = (pieces: Iterable<Uint8Array>): Buffer => Buffer.concat([...pieces]);

test("externalFile() lays weights of 1 KiB and more out at whole pages, and says how long the file is", () => {
  const file = externalFile(MODEL, "m.onnx_data");
  expect([...file.places]).toEqual([
    ["a", { offset: 0, length: 1200 }],
    ["b", { offset: 4096, length: 16_000 }],
  ]);
  const bytes = joined(file.pieces);
  expect([bytes.length, file.sizeBytes]).toEqual([20_096, 20_096]);
  expect(bytes.readFloatLE(4096 + 4 * 3999)).toBe(4002);
  expect(bytes.subarray(1200, 4096).every((byte) => byte === 0)).toBe(true);
});

test("modelPieces() names the places of such weights and holds the others", () => {
  const file = externalFile(MODEL, "m.onnx_data");
  const { pieces, sizeBytes } = modelPieces(MODEL, file);
  const bytes = joined(pieces);
  expect(bytes.length).toBe(sizeBytes);
  expect(bytes.length).toBeLessThan(1500);
  expect(bytes.toString("latin1")).toMatch(/location[^]{2}m\.onnx_data[^]*offset[^]{2}4096[^]*length[^]{2}16000/);
  expect(bytes.includes(Buffer.from(data(255, 2).buffer))).toBe(true);
});

test("modelPieces() makes the data of a weight when its piece is asked for, not before", () => {
  let made = 0;
  const lazy = {
    name: "a",
    dtype: "f32",
    shape: [300],
    get data() {
      made++;
      return data(made === 1 ? 300 : 299, 1);
    },
  } as const;
  const { pieces } = modelPieces({ ...MODEL, initializers: [lazy] });
  expect(made).toBe(0);
  joined(pieces);
  expect(made).toBe(1);
  expect(() => joined(pieces)).toThrow(ShapeError);
});
