import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InternalError, sizeOf } from "../../../core/index.ts";
import { expectClose } from "../../../core/testing/golden.ts";
import { gradients } from "../../grad/index.ts";
import type { OpName } from "../../ir/index.ts";
import { cut, optimize } from "../../passes/index.ts";
import { openOrt, type OrtEnv } from "../../runtime/index.ts";
import { OP_CASES } from "../../testing/cases/index.ts";
import type { OpCase } from "../../testing/op-case.ts";
import { interpretCase, valueGraph } from "../../testing/run-case.ts";
import { traceToy } from "../../testing/toy.ts";
import {
  add,
  attention,
  Builder,
  div,
  l2Normalize,
  logSoftmax,
  mul,
  neg,
  reduceMean,
  reshape,
  sumAll,
  type Tensor,
} from "../../trace/index.ts";
import { decodeModel } from "../proto-decode.ts";
import type { OnnxModel, OnnxNode } from "../proto.ts";
import { chunkSizes } from "./attention.ts";
import { lowerStage } from "./index.ts";

let env: OrtEnv;
beforeAll(() => {
  env = openOrt({ threads: 2 });
});
afterAll(() => {
  env[Symbol.dispose]();
});

/** The whole graph as one model. */
function modelOf(builder: Builder, target: "ort-cpu" | "ort-web" = "ort-cpu"): OnnxModel {
  const graph = optimize(builder.graph());
  const outputs = graph.outputs.map((o) => o.value);
  return decodeModel(lowerStage(graph.nodes, outputs, { target }).bytes);
}

function printOnnx({ op, domain, inputs, outputs, attrs = {} }: OnnxNode): string {
  const shown = Object.entries(attrs).map(([name, value]) => `${name}=${Object.values(value).map(String).join()}`);
  return `${outputs.join(", ")} = ${domain === undefined ? "" : "ms."}${op}(${inputs.join(", ")})${shown.length > 0 ? ` {${shown.join(" ")}}` : ""}`;
}

const print = (model: OnnxModel): string => model.nodes.map(printOnnx).join("\n");
const opsOf = (models: readonly OnnxModel[]): string[] =>
  [...new Set(models.flatMap((m) => m.nodes.map((n) => (n.domain === undefined ? n.op : `ms.${n.op}`))))].toSorted();

describe("lowerStage()", () => {
  test("lowers a matrix product to Gemm and a batched one to FusedMatMul, or to Transpose and MatMul for the web", () => {
    const trace = (): Builder => {
      const b = new Builder();
      const [x, w, q] = [b.input("x", [2, 3]), b.input("w", [4, 3]), b.input("q", [2, 5, 3])];
      b.output("y", b.op("dot", [x, w], { transA: false, transB: true, alpha: 0.5 }));
      b.output("s", b.op("dot", [q, q], { transA: false, transB: true, alpha: 0.5 }));
      return b;
    };
    expect(print(modelOf(trace()))).toMatchInlineSnapshot(`
      "t0 = Gemm(i0, i1) {transA=0 transB=1 alpha=0.5}
      t1 = ms.FusedMatMul(i2, i2) {transA=0 transB=1 alpha=0.5}"
    `);
    expect(print(modelOf(trace(), "ort-web"))).toMatchInlineSnapshot(`
      "t0 = Gemm(i0, i1) {transA=0 transB=1 alpha=0.5}
      t1 = Transpose(i2) {perm=0,2,1}
      t2 = MatMul(i2, t1)
      t3 = Mul(t2, c0)"
    `);
  });

  test("sums the leading axes of many rows as a product with ones, which runs on all threads; others by ReduceSum", () => {
    const b = new Builder();
    const [tall, short] = [b.input("tall", [4, 8, 3]), b.input("short", [2, 3])];
    b.output("a", b.op("reduceSum", [tall], { axes: [0, 1], keepDims: false }));
    b.output("b", b.op("reduceSum", [short], { axes: [0], keepDims: false }));
    b.output("c", b.op("reduceSumSquare", [short], { axes: [], keepDims: false }));
    expect(print(modelOf(b))).toMatchInlineSnapshot(`
      "t0 = Reshape(i0, c0)
      t1 = Gemm(c1, t0)
      t2 = Reshape(t1, c2)
      t3 = ReduceSum(i1, c3) {keepdims=0}
      t4 = Mul(i1, i1)"
    `);
  });

  test("lowers attention and its gradient without keeping probabilities", () => {
    const b = new Builder();
    const [q, k, v] = ["q", "k", "v"].map((name) => b.input(name, [1, 2, 3, 4])) as [Tensor, Tensor, Tensor]; // three names
    const y = b.inRegion("forward", () => attention(q, k, { v, scale: 0.5 }));
    const [dq] = gradients(sumAll(y), [q]);
    if (dq !== undefined) b.output("dq", dq);
    expect(cut(optimize(b.graph())).map((s) => print(decodeModel(lowerStage(s.nodes, s.outputs).bytes)))).toMatchInlineSnapshot(`
      [
        "t0 = ms.FusedMatMul(i0, i1) {transA=0 transB=1 alpha=0.5}
      t1 = Softmax(t0) {axis=-1}
      t2 = ms.FusedMatMul(c0, i2) {transA=0 transB=1 alpha=1}
      t3 = Mul(t2, t1)
      t4 = ReduceSum(t3, c1) {keepdims=1}
      t5 = Mul(t1, t4)
      t6 = Sub(t3, t5)
      t7 = ms.FusedMatMul(t6, i1) {transA=0 transB=0 alpha=0.5}",
      ]
    `);
  });

  test("gives equal stages equal bytes, whatever the ids of their values", () => {
    const stage = (before: number): Uint8Array => {
      const b = new Builder();
      for (let i = 0; i < before; i++) b.input(`other${i}`, [1]);
      b.output("y", mul(add(b.input("x", [2]), 1), 3));
      const graph = b.graph();
      return lowerStage(
        graph.nodes,
        graph.outputs.map((o) => o.value),
      ).bytes;
    };
    expect(stage(3)).toEqual(stage(0));
  });

  test("shares equal constants, and keeps 0 and -0 apart", () => {
    const b = new Builder();
    const x = b.input("x", [1]);
    b.output("a", add(div(x, 0), div(x, -0)));
    b.output("b", mul(mul(x, 5), 5));
    expect(modelOf(b).initializers.map((c) => c.data)).toEqual([Float32Array.of(0), Float32Array.of(-0), Float32Array.of(5)]);
  });

  test("leaves out what its outputs do not need, inputs too", () => {
    const b = new Builder();
    const [x, unused] = [b.input("x", [2]), b.input("unused", [2])];
    neg(unused);
    b.output("y", neg(x));
    const graph = b.graph();
    const lowered = lowerStage(
      graph.nodes,
      graph.outputs.map((o) => o.value),
    );
    expect(lowered.inputs).toEqual([x.value]);
    expect(print(decodeModel(lowered.bytes))).toBe("t1 = Neg(i1)");
  });
});

test("no slow operator is in the hot loops: forward, backward and losses of a network", () => {
  const stages = [traceToy(), traceToy({ groups: 2, running: true })].flatMap((g) => cut(optimize(g)));
  const b = new Builder();
  const [logits, targets] = [b.input("logits", [32, 8]), b.input("targets", [32, 8])];
  const loss = add(neg(reduceMean(mul(targets, logSoftmax(div(logits, 0.1))), [0, 1])), sumAll(l2Normalize(logits)));
  gradients(loss, [logits]).forEach((g) => g !== undefined && b.output("g", g));
  b.output("loss", loss);
  const models = [...stages.map((s) => decodeModel(lowerStage(s.nodes, s.outputs).bytes)), modelOf(b)];
  const ops = opsOf(models);
  for (const slow of ["Einsum", "Where", "Pow", "Log", "Tile", "Loop", "If"]) expect(ops).not.toContain(slow);
  expect(ops).toContain("ms.FusedMatMul");
  expect(ops).toContain("LogSoftmax");
});

describe("chunkSizes()", () => {
  test("runs all images and heads at once up to 512 tokens", () => {
    expect(chunkSizes({ groups: 384, t: 512, n: 512 })).toEqual([384]);
    expect(chunkSizes({ groups: 48, t: 197, n: 197 })).toEqual([48]);
  });

  test("takes few images and heads at once above, one at least, and all of them once", () => {
    expect(chunkSizes({ groups: 8, t: 513, n: 513 })).toEqual([3, 3, 2]);
    expect(chunkSizes({ groups: 6, t: 2309, n: 2309 })).toEqual([1, 1, 1, 1, 1, 1]);
    expect(chunkSizes({ groups: 6, t: 1, n: 2309 })).toEqual([6]); // the class token alone
  });
});

/** Runs a case's op as lowered for the web on the CPU, which knows the same operators. */
async function runForWeb<K extends OpName>(op: K, one: OpCase<K>): Promise<void> {
  const graph = valueGraph(op, one);
  const outputs = graph.outputs.map((o) => o.value);
  const { bytes, inputs, inputNames, outputNames } = lowerStage(graph.nodes, outputs, { target: "ort-web" });
  expect(opsOf([decodeModel(bytes)]).filter((name) => name.startsWith("ms."))).toEqual([]);
  using session = env.session(bytes, { inputs: inputNames, outputs: outputNames });
  using owned = new DisposableStack();
  const tensor = (data: Float32Array, shape: readonly number[]): ReturnType<OrtEnv["tensor"]> => owned.use(env.tensor(data, "f32", shape));
  const given = inputs.map((v) => {
    const at = graph.inputs.findIndex((i) => i.value.id === v.id);
    const data = one.inputs[at]?.data;
    if (data === undefined) throw new InternalError(`Cannot run ${op}: input ${at} has no data`);
    return tensor(Float32Array.from(data), v.shape);
  });
  const made = outputs.map((v) => new Float32Array(sizeOf(v.shape)));
  await session.run(
    given,
    outputs.map((v, i) => tensor(made[i] ?? new Float32Array(0), v.shape)),
  );
  const truth = interpretCase(graph, one.inputs);
  made.forEach((got, i) => expectClose(got, truth.get(`y${i}`) ?? [], { atol: 2e-5, rtol: 1e-4, what: `${op}: ${one.name}: y${i}` }));
}

test.each(["dot", "attention", "attentionGrad"] as const)(
  "%s lowered for the web has the same values, without operators of Microsoft's",
  async (op) => {
    for (const one of OP_CASES[op].cases) await runForWeb(op, one);
  },
);

test("a reshape and a constant alone still make a model", () => {
  const b = new Builder();
  b.output("y", reshape(b.input("x", [4]), [2, 2]));
  b.output("c", b.op("constant", [], { dtype: "f32", shape: [1], data: Float32Array.of(2) }));
  expect(print(modelOf(b))).toMatchInlineSnapshot(`
    "t0 = Reshape(i0, c0)
    t1 = Identity(c1)"
  `);
});
