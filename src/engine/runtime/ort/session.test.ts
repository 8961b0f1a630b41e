import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DTypeError, InternalError, ShapeError } from "../../../core/index.ts";
import { encodeModel } from "../../onnx/index.ts";
import { makeScoreBlock, MAXIMA_COLUMNS, openOrt, type OrtEnv, OrtError } from "./index.ts";

let env: OrtEnv;
beforeAll(() => {
  env = openOrt({ threads: 2 });
});
afterAll(() => {
  env[Symbol.dispose]();
});

const NAMES = { inputs: ["x"], outputs: ["y"] };
/** y = |x| for three numbers. */
const ABS = encodeModel({
  nodes: [{ op: "Abs", inputs: ["x"], outputs: ["y"] }],
  initializers: [],
  inputs: [{ name: "x", dtype: "f32", shape: [3] }],
  outputs: [{ name: "y", dtype: "f32", shape: [3] }],
});

describe("OrtSession", () => {
  test("runs off the event loop or on it, over the tensors' own memory", async () => {
    const [x, y] = [Float32Array.of(-1, 2, -3), new Float32Array(3)];
    using session = env.session(ABS, NAMES);
    using from = env.tensor(x, "f32", [3]);
    using to = env.tensor(y, "f32", [3]);
    const run = session.bind([from], [to]);
    await run.run();
    expect([...y]).toEqual([1, 2, 3]);
    x.set([7, -8, 9]);
    run.runSync();
    expect([...y]).toEqual([7, 8, 9]);
    expect(session.busy).toBe(false);
  });

  test("refuses another number of tensors than the model has", () => {
    using session = env.session(ABS, NAMES);
    using to = env.tensor(new Float32Array(3), "f32", [3]);
    expect(() => session.bind([], [to])).toThrow(ShapeError);
    expect(() => session.bind([], [to])).toThrow("Cannot bind ONNX session: it has 1 inputs (x), 0 were given; pass one tensor for each");
  });

  test("rejects with ONNX Runtime's words when a tensor has another shape than the model", async () => {
    using session = env.session(ABS, NAMES);
    using from = env.tensor(new Float32Array(4), "f32", [4]);
    using to = env.tensor(new Float32Array(3), "f32", [3]);
    await expect(session.run([from], [to])).rejects.toThrow(OrtError);
    await expect(session.run([from], [to])).rejects.toThrow(/^Cannot run ONNX session: ONNX Runtime says ".*"$/s);
    expect(session.busy).toBe(false);
  });

  test("refuses bytes that are no model, and names that the model has not", async () => {
    expect(() => env.session(Uint8Array.of(1, 2, 3), NAMES)).toThrow(/^Cannot open ONNX model: ONNX Runtime says ".*"$/s);
    using session = env.session(ABS, { inputs: ["nothing"], outputs: ["y"] });
    using from = env.tensor(new Float32Array(3), "f32", [3]);
    using to = env.tensor(new Float32Array(3), "f32", [3]);
    await expect(session.run([from], [to])).rejects.toThrow("nothing");
  });

  test("and its tensors are not disposed under a run, and refuse runs afterwards", async () => {
    const session = env.session(ABS, NAMES);
    const from = env.tensor(new Float32Array(3), "f32", [3]);
    using to = env.tensor(new Float32Array(3), "f32", [3]);
    const run = session.bind([from], [to]);
    const running = run.run();
    expect(session.busy).toBe(true);
    expect(() => session[Symbol.dispose]()).toThrow("Cannot dispose ONNX session: a run is in flight; await it first");
    expect(() => from[Symbol.dispose]()).toThrow("Cannot dispose tensor float32[3]: a run uses it; await the run first");
    await running;
    from[Symbol.dispose]();
    from[Symbol.dispose]();
    await expect(run.run()).rejects.toThrow("Cannot use tensor float32[3]: it is disposed; keep it until the last run is over");
    session[Symbol.dispose]();
    session[Symbol.dispose]();
    using again = env.tensor(new Float32Array(3), "f32", [3]);
    expect(() => session.bind([again], [to])).toThrow("Cannot use ONNX session: it is disposed; keep it until the last run is over");
  });
});

describe("OrtTensor", () => {
  test("refuses memory of another size or element type", () => {
    expect(() => env.tensor(new Float32Array(3), "f32", [2, 2])).toThrow(ShapeError);
    expect(() => env.tensor(new Float32Array(3), "f32", [2, 2])).toThrow(
      "Cannot make float32[2,2]: it takes 16 bytes, its memory has 12; pass memory of that size",
    );
    expect(() => env.tensor(new Uint8Array(4), "f32", [1])).toThrow(DTypeError);
    expect(() => env.tensor(new Float64Array(1), "i64", [1])).toThrow(
      "Cannot make int64[1]: its data is a Float64Array; pass a BigInt64Array",
    );
  });

  test("takes scalars and tensors without elements", () => {
    using scalar = env.tensor(new Float32Array(1), "f32", []);
    using empty = env.tensor(new Float32Array(0), "f32", [0, 3]);
    expect([scalar.shape, empty.shape]).toEqual([[], [0, 3]]);
  });
});

describe("OrtEnv", () => {
  test("knows its version, shares the process's environment and refuses work after disposal", () => {
    const other = openOrt({ threads: 2 });
    expect(other.version).toMatch(/^1\.\d+\.\d+$/);
    other[Symbol.dispose]();
    other[Symbol.dispose]();
    expect(() => other.session(ABS, NAMES)).toThrow(InternalError);
    expect(() => other.tensor(new Float32Array(1), "f32", [1])).toThrow(
      "Cannot use ONNX Runtime: this environment is disposed; open it again with openOrt()",
    );
  });
});

describe("makeScoreBlock()", () => {
  const [q, n, d] = [3, 2 * MAXIMA_COLUMNS, 5];
  const queries = Float32Array.from({ length: q * d }, (_, i) => Math.sin(i));
  const bank = Float32Array.from({ length: n * d }, (_, i) => Math.cos(i * i));
  const dotOf = (i: number, j: number): number =>
    Array.from({ length: d }, (_, c) => (queries[i * d + c] ?? NaN) * (bank[j * d + c] ?? NaN)).reduce((a, b) => a + b, 0);

  test("gives each query's product with each row, and the largest of every 64", async () => {
    using block = makeScoreBlock(env);
    const [scores, maxima] = [new Float32Array(q * n), new Float32Array(q * 2)];
    await block.run({ d, queries, bank, scores, maxima });
    scores.forEach((s, at) => expect(s).toBeCloseTo(dotOf(Math.floor(at / n), at % n), 4));
    maxima.forEach((m, at) => expect(m).toBe(Math.max(...scores.subarray(at * MAXIMA_COLUMNS, (at + 1) * MAXIMA_COLUMNS))));
  });

  test("takes other sizes after one another, and more than it keeps", async () => {
    using block = makeScoreBlock(env);
    for (let rows = 1; rows <= 20; rows++) {
      const scores = new Float32Array(rows);
      await block.run({ d, queries: queries.subarray(0, d), bank: bank.subarray(0, rows * d), scores });
      expect(scores[rows - 1]).toBeCloseTo(dotOf(0, rows - 1), 4);
    }
  });

  test("does nothing for no rows", async () => {
    using block = makeScoreBlock(env);
    await expect(block.run({ d, queries: new Float32Array(0), bank, scores: new Float32Array(0) })).resolves.toBeUndefined();
  });

  test("refuses arrays that do not fit each other", async () => {
    using block = makeScoreBlock(env);
    await expect(block.run({ d, queries, bank, scores: new Float32Array(7) })).rejects.toThrow(
      "Cannot score rows of width 5: queries have 15 values, the bank 640, scores 7; pass [q, d], [n, d] and [q, n]",
    );
    const odd = { d, queries, bank: bank.subarray(0, 70 * d), scores: new Float32Array(q * 70), maxima: new Float32Array(q) };
    await expect(block.run(odd)).rejects.toThrow(/^Cannot take maxima of 3 x 70 scores: .*n must be a multiple of 64/);
  });
});
