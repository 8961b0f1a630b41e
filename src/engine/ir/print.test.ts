import { expect, test } from "vitest";
import { Builder, constant, dotAdd, gelu, layerNorm, mul, reduceSum, region, scalar, split, topK } from "../trace/index.ts";
import { printGraph, printNode } from "./print.ts";

test("printGraph() prints inputs by kind, one line an op with its parameters and region, and outputs", () => {
  const b = new Builder();
  const x = b.input("x", [2, 3]);
  const w = b.input("w", [3, 4], { kind: "param" });
  const step = b.input("step", [], { kind: "state", dtype: "i32" });
  const y = region(b, "block", () => region(b, "mlp", () => gelu(dotAdd(x, w, { alpha: 0.5, plus: scalar(b, 1) }))));
  b.output("y", y);
  b.output("loss", reduceSum(y, [0, 1]));
  b.output("step", step, "state");
  expect(printGraph(b.graph())).toMatchInlineSnapshot(`
    "input x %0: float32[2,3]
    param w %1: float32[3,4]
    state step %2: int32[]
    %3: float32[] = constant() {dtype=f32 shape=[] data=[1]} @block/mlp
    %4: float32[2,4] = dotAdd(%0, %1, %3) {transA=false transB=false alpha=0.5} @block/mlp
    %5: float32[2,4] = gelu(%4) @block/mlp
    %6: float32[] = reduceSum(%5) {axes=[0,1] keepDims=false}
    output y = %5
    output loss = %6
    state step = %2"
  `);
});

test("printGraph() prints ops of several outputs on one line", () => {
  const b = new Builder();
  const x = b.input("x", [2, 6]);
  const [left = x, right = x] = split(x, 1, [2, 4]);
  const { values, indices } = topK(right, 1);
  b.output("left", layerNorm(left, constant(b, [2], Float32Array.of(1, 1)), { bias: constant(b, [2], new Float32Array(2)), eps: 1e-6 }));
  b.output("values", values);
  b.output("indices", indices);
  expect(printGraph(b.graph())).toMatchInlineSnapshot(`
    "input x %0: float32[2,6]
    %1: float32[2,2], %2: float32[2,4] = split(%0) {axis=1 sizes=[2,4]}
    %3: float32[2,1], %4: int32[2,1] = topK(%2) {k=1}
    %5: float32[2] = constant() {dtype=f32 shape=[2] data=[1,1]}
    %6: float32[2] = constant() {dtype=f32 shape=[2] data=[0,0]}
    %7: float32[2,2], %8: float32[2,1], %9: float32[2,1] = layerNorm(%1, %5, %6) {eps=0.000001}
    output left = %7
    output values = %3
    output indices = %4"
  `);
});

test("printNode() shortens constants of more than four values", () => {
  const b = new Builder();
  constant(b, [4], Float32Array.of(1, 2, 3, 4));
  constant(b, [5], Float32Array.of(1, 2, 3, 4, 5));
  b.op("constant", [], { dtype: "i64", shape: [1], data: BigInt64Array.of(7n) });
  b.op("constant", [], { dtype: "bool", shape: [9], data: new Uint8Array(9) });
  mul(scalar(b, 2), 3);
  expect(b.nodes.map(printNode).join("\n")).toMatchInlineSnapshot(`
    "%0: float32[4] = constant() {dtype=f32 shape=[4] data=[1,2,3,4]}
    %1: float32[5] = constant() {dtype=f32 shape=[5] data=[1,2,3,4,…]}
    %2: int64[1] = constant() {dtype=i64 shape=[1] data=[7]}
    %3: bool[9] = constant() {dtype=bool shape=[9] data=[0,0,0,0,…]}
    %4: float32[] = constant() {dtype=f32 shape=[] data=[2]}
    %5: float32[] = constant() {dtype=f32 shape=[] data=[3]}
    %6: float32[] = mul(%4, %5)"
  `);
});
