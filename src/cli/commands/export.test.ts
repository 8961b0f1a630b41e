import { expect, test } from "vitest";
import { UsageError } from "../../core/index.ts";
import { exportOptionsOf } from "./export.ts";

const words = (line: string): readonly string[] => line.split(" ");

test("export: options and their defaults", () => {
  expect(exportOptionsOf(words("--model r --out m.onnx"))).toEqual({
    model: "r",
    arch: undefined,
    out: "m.onnx",
    format: "onnx",
    imageSizePx: undefined,
    batchSize: undefined,
    dynamic: false,
    dtype: "f32",
    externalData: false,
    outputs: undefined,
    check: true,
    overwrite: false,
    threads: undefined,
    seed: undefined,
  });
  const line =
    "--model r --out m --format hf --image-size 64 --dynamic --dtype int8 --outputs cls,attention --no-check --batch-size 2 --seed 3 --external-data";
  expect(exportOptionsOf(words(line))).toMatchObject({
    format: "hf",
    imageSizePx: 64,
    batchSize: 2,
    dynamic: true,
    dtype: "int8",
    externalData: true,
    outputs: ["cls", "attention"],
    check: false,
    seed: 3,
  });
  expect(exportOptionsOf(words("--model r --out m.onnx --check")).check).toBe(true);
});

test.each([
  ["--out m.onnx", /without --model/],
  ["--model r", /without --out/],
  ["--model r --out m.onnx --check --no-check", /--check and --no-check together/],
  ["--model r --out m.onnx --format onx", /did you mean "onnx"\?/],
  ["--model r --out m.onnx --dtype f8", /takes f32, f16, int8/],
  ["--model r --out m.onnx --outputs cls,,patches", /a name is empty/],
  ["--model r --out m.onnx --image-size 0", /of at least 1/],
  ["--model r --out m.onnx --dynamc", /did you mean "--dynamic"\?/],
])("export refuses %s", (line, message) => {
  expect(() => exportOptionsOf(words(line))).toThrow(message);
  expect(() => exportOptionsOf(words(line))).toThrow(UsageError);
});
