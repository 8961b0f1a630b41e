import { afterAll, beforeAll, expect, test } from "vitest";
import { DTypeError, InternalError } from "../../../core/index.ts";
import { encodeModel, type OnnxModel } from "../../onnx/index.ts";
import { evaluate, openOrt, type OrtEnv, OrtError } from "./index.ts";

let env: OrtEnv;
beforeAll(() => {
  env = openOrt({ threads: 1 });
});
afterAll(() => env[Symbol.dispose]());

const NAMES = { inputs: ["x"], outputs: ["y", "n"] };
/** y = |x| and n = sum x, of any number of rows. */
const MODEL: OnnxModel = {
  nodes: [
    { op: "Abs", inputs: ["x"], outputs: ["y"] },
    { op: "ReduceSum", inputs: ["x"], outputs: ["n"], attrs: { keepdims: { int: 0 } } },
  ],
  initializers: [],
  inputs: [{ name: "x", dtype: "f32", shape: ["rows", 2] }],
  outputs: [
    { name: "y", dtype: "f32", shape: ["rows", 2] },
    { name: "n", dtype: "f32", shape: [] },
  ],
};

test.each([1, 3, 0])("evaluate() gives outputs of shapes that were not known, of %i rows", async (rows) => {
  using session = env.session(encodeModel(MODEL), NAMES, { optimize: "all" });
  using x = env.tensor(
    Float32Array.from({ length: 2 * rows }, (_, i) => -i),
    "f32",
    [rows, 2],
  );
  const [y, n] = await evaluate(session, [x]);
  expect(y).toEqual({ dtype: "f32", shape: [rows, 2], data: Float32Array.from({ length: 2 * rows }, (_, i) => i) });
  expect(n?.shape).toEqual([]);
  expect(n?.data[0]).toBeCloseTo(-rows * (2 * rows - 1), 5);
  expect(session.busy).toBe(false);
});

test("evaluate() copies: a later run changes nothing", async () => {
  using session = env.session(encodeModel(MODEL), NAMES);
  const data = Float32Array.of(1, 2);
  using x = env.tensor(data, "f32", [1, 2]);
  const [first] = await evaluate(session, [x]);
  data.set([5, 6]);
  await evaluate(session, [x]);
  expect(first?.data).toEqual(Float32Array.of(1, 2));
});

test("evaluate() refuses other inputs, other types, and says what ONNX Runtime says", async () => {
  using session = env.session(encodeModel(MODEL), NAMES);
  await expect(evaluate(session, [])).rejects.toThrow(InternalError);
  using wrong = env.tensor(new Float32Array(3), "f32", [1, 3]);
  await expect(evaluate(session, [wrong])).rejects.toThrow(OrtError);
  const shape = { ...MODEL, nodes: [{ op: "Shape", inputs: ["x"], outputs: ["y"] }] };
  using shapes = env.session(encodeModel({ ...shape, outputs: [{ name: "y", dtype: "i64", shape: [2] }] }), {
    inputs: ["x"],
    outputs: ["y"],
  });
  using x = env.tensor(new Float32Array(2), "f32", [1, 2]);
  await expect(evaluate(shapes, [x])).rejects.toThrow(DTypeError);
  await expect(evaluate(shapes, [x])).rejects.toThrow('Cannot read output "y": its element type is number 7 of ONNX; float32 is read');
  expect([session.busy, shapes.busy]).toEqual([false, false]);
});
