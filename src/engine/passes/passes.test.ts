import { expect, test } from "vitest";
import { type Graph, printGraph, verifyGraph } from "../ir/index.ts";
import {
  add,
  barrier,
  broadcast,
  Builder,
  compare,
  constant,
  div,
  dot,
  exp,
  log,
  mul,
  region,
  reshape,
  scalar,
  split,
  stopGradient,
  tanh,
  transpose,
} from "../trace/index.ts";
import { dropBroadcasts, dropIdentities, fold, fuseSums, localize, optimize, prune, recompute, share } from "./index.ts";

/** The graph before and after a pass, both verified. */
function beforeAfter(b: Builder, pass: (graph: Graph) => Graph): string {
  const graph = b.graph();
  return `${printGraph(graph)}\n--\n${printGraph(verifyGraph(pass(graph)))}`;
}

test("prune() drops what no output needs, and keeps inputs", () => {
  const b = new Builder();
  const [x, y] = [b.input("x", [2]), b.input("y", [2])];
  log(exp(y));
  b.output("z", tanh(x));
  expect(beforeAfter(b, prune)).toMatchInlineSnapshot(`
    "input x %0: float32[2]
    input y %1: float32[2]
    %2: float32[2] = exp(%1)
    %3: float32[2] = log(%2)
    %4: float32[2] = tanh(%0)
    output z = %4
    --
    input x %0: float32[2]
    input y %1: float32[2]
    %4: float32[2] = tanh(%0)
    output z = %4"
  `);
});

test("dropBroadcasts() reads the small operand where the other one has the full shape, and only there", () => {
  const b = new Builder();
  const [x, row, one] = [b.input("x", [2, 3]), b.input("row", [2, 1]), b.input("one", [])];
  b.output("scaled", mul(broadcast(row, [2, 3]), x));
  b.output("shifted", add(x, broadcast(one, [2, 3])));
  b.output("both", add(broadcast(row, [2, 3]), broadcast(one, [2, 3]))); // one of them makes the shape
  b.output("kept", exp(broadcast(row, [2, 3])));
  expect(beforeAfter(b, (g) => prune(dropBroadcasts(g)))).toMatchInlineSnapshot(`
    "input x %0: float32[2,3]
    input row %1: float32[2,1]
    input one %2: float32[]
    %3: float32[2,3] = broadcast(%1) {shape=[2,3]}
    %4: float32[2,3] = mul(%3, %0)
    %5: float32[2,3] = broadcast(%2) {shape=[2,3]}
    %6: float32[2,3] = add(%0, %5)
    %7: float32[2,3] = broadcast(%1) {shape=[2,3]}
    %8: float32[2,3] = broadcast(%2) {shape=[2,3]}
    %9: float32[2,3] = add(%7, %8)
    %10: float32[2,3] = broadcast(%1) {shape=[2,3]}
    %11: float32[2,3] = exp(%10)
    output scaled = %4
    output shifted = %6
    output both = %9
    output kept = %11
    --
    input x %0: float32[2,3]
    input row %1: float32[2,1]
    input one %2: float32[]
    %4: float32[2,3] = mul(%1, %0)
    %6: float32[2,3] = add(%0, %2)
    %8: float32[2,3] = broadcast(%2) {shape=[2,3]}
    %9: float32[2,3] = add(%1, %8)
    %10: float32[2,3] = broadcast(%1) {shape=[2,3]}
    %11: float32[2,3] = exp(%10)
    output scaled = %4
    output shifted = %6
    output both = %9
    output kept = %11"
  `);
});

test("dropIdentities() drops what only meant something to differentiation, chains and outputs too", () => {
  const b = new Builder();
  const x = b.input("x", [2]);
  const y = barrier(stopGradient(x));
  b.output("y", y);
  b.output("z", exp(y));
  expect(beforeAfter(b, dropIdentities)).toMatchInlineSnapshot(`
    "input x %0: float32[2]
    %1: float32[2] = stopGradient(%0)
    %2: float32[2] = barrier(%1)
    %3: float32[2] = exp(%2)
    output y = %2
    output z = %3
    --
    input x %0: float32[2]
    %3: float32[2] = exp(%0)
    output y = %0
    output z = %3"
  `);
});

test("fold() computes what depends on small constants only, and rounds each value to its dtype", () => {
  const b = new Builder();
  const x = b.input("x", [2]);
  const third = div(scalar(b, 1), 3);
  b.output("y", mul(x, mul(third, 3)));
  b.output("n", add(scalar(b, 7, "i32"), 1));
  b.output("c", compare(scalar(b, 1), "lt", 2));
  expect(beforeAfter(b, (g) => prune(fold(g)))).toMatchInlineSnapshot(`
    "input x %0: float32[2]
    %1: float32[] = constant() {dtype=f32 shape=[] data=[1]}
    %2: float32[] = constant() {dtype=f32 shape=[] data=[3]}
    %3: float32[] = div(%1, %2)
    %4: float32[] = constant() {dtype=f32 shape=[] data=[3]}
    %5: float32[] = mul(%3, %4)
    %6: float32[2] = mul(%0, %5)
    %7: int32[] = constant() {dtype=i32 shape=[] data=[7]}
    %8: int32[] = constant() {dtype=i32 shape=[] data=[1]}
    %9: int32[] = add(%7, %8)
    %10: float32[] = constant() {dtype=f32 shape=[] data=[1]}
    %11: float32[] = constant() {dtype=f32 shape=[] data=[2]}
    %12: bool[] = compare(%10, %11) {direction=lt}
    output y = %6
    output n = %9
    output c = %12
    --
    input x %0: float32[2]
    %5: float32[] = constant() {dtype=f32 shape=[] data=[1]}
    %6: float32[2] = mul(%0, %5)
    %9: int32[] = constant() {dtype=i32 shape=[] data=[8]}
    %12: bool[] = constant() {dtype=bool shape=[] data=[1]}
    output y = %6
    output n = %9
    output c = %12"
  `);
  const [node] = fold(b.graph()).nodes.filter((n) => n.outputs[0]?.id === third.value.id);
  expect(node?.params).toMatchObject({ data: Float32Array.of(1 / 3) });
});

test("fold() leaves large results, ops of several outputs, sums over processes and what depends on an input", () => {
  const b = new Builder();
  const x = b.input("x", [2]);
  b.output("wide", broadcast(scalar(b, 1), [100]));
  split(constant(b, [2], Float32Array.of(1, 2)), 0, [1, 1]).forEach((part, i) => b.output(`part${i}`, part));
  b.output("sum", b.op("allReduce", [scalar(b, 1)], { reduction: "sum" }));
  b.output("y", add(x, 1));
  const graph = b.graph();
  expect(fold(graph)).toEqual(graph);
});

test("share() makes equal nodes of one region one, and leaves those of two regions two", () => {
  const b = new Builder();
  const x = b.input("x", [2]);
  const twice = region(b, "one", () => add(mul(exp(x), 2), mul(exp(x), 2)));
  b.output(
    "y",
    add(
      twice,
      region(b, "two", () => exp(x)),
    ),
  );
  expect(beforeAfter(b, share)).toMatchInlineSnapshot(`
    "input x %0: float32[2]
    %1: float32[2] = exp(%0) @one
    %2: float32[] = constant() {dtype=f32 shape=[] data=[2]} @one
    %3: float32[2] = mul(%1, %2) @one
    %4: float32[2] = exp(%0) @one
    %5: float32[] = constant() {dtype=f32 shape=[] data=[2]} @one
    %6: float32[2] = mul(%4, %5) @one
    %7: float32[2] = add(%3, %6) @one
    %8: float32[2] = exp(%0) @two
    %9: float32[2] = add(%7, %8)
    output y = %9
    --
    input x %0: float32[2]
    %1: float32[2] = exp(%0) @one
    %2: float32[] = constant() {dtype=f32 shape=[] data=[2]} @one
    %3: float32[2] = mul(%1, %2) @one
    %7: float32[2] = add(%3, %3) @one
    %8: float32[2] = exp(%0) @two
    %9: float32[2] = add(%7, %8)
    output y = %9"
  `);
});

test("share() keeps apart what differs in a parameter, in dtype, or in the sign of zero", () => {
  const b = new Builder();
  const x = b.input("x", [2, 2]);
  b.output("a", transpose(x, [1, 0]));
  b.output("b", dot(x, x, { transA: true }));
  b.output("c", dot(x, x, { transB: true }));
  b.output("d", scalar(b, 0));
  b.output("e", scalar(b, -0));
  b.output("f", scalar(b, 0, "i32"));
  b.output("g", constant(b, [1], Float32Array.of(0)));
  const graph = b.graph();
  expect(share(graph).nodes).toHaveLength(graph.nodes.length);
});

test("fuseSums() puts a sum into the product that only it reads, on either side", () => {
  const b = new Builder();
  const [x, w, bias] = [b.input("x", [2, 3]), b.input("w", [3, 4]), b.input("bias", [4])];
  b.output("y", add(dot(x, w), bias));
  b.output("z", add(bias, dot(x, w, { alpha: 2 })));
  expect(beforeAfter(b, fuseSums)).toMatchInlineSnapshot(`
    "input x %0: float32[2,3]
    input w %1: float32[3,4]
    input bias %2: float32[4]
    %3: float32[2,4] = dot(%0, %1) {transA=false transB=false alpha=1}
    %4: float32[2,4] = add(%3, %2)
    %5: float32[2,4] = dot(%0, %1) {transA=false transB=false alpha=2}
    %6: float32[2,4] = add(%2, %5)
    output y = %4
    output z = %6
    --
    input x %0: float32[2,3]
    input w %1: float32[3,4]
    input bias %2: float32[4]
    %4: float32[2,4] = dotAdd(%0, %1, %2) {transA=false transB=false alpha=1}
    %6: float32[2,4] = dotAdd(%0, %1, %2) {transA=false transB=false alpha=2}
    output y = %4
    output z = %6"
  `);
});

test("fuseSums() leaves a product that is read twice, has batch axes, another region, or a larger sum", () => {
  const b = new Builder();
  const [x, w, bias] = [b.input("x", [1, 3]), b.input("w", [3, 4]), b.input("bias", [2, 4])];
  const twice = dot(x, w);
  b.output("a", add(twice, twice));
  b.output("b", add(dot(x, w), bias)); // [1,4] + [2,4]
  b.output("c", add(dot(reshape(x, [1, 1, 3]), reshape(w, [1, 3, 4])), 1));
  const elsewhere = region(b, "product", () => dot(x, w));
  b.output(
    "d",
    region(b, "sum", () => add(elsewhere, 1)),
  );
  const kept = dot(x, w);
  b.output("e", kept);
  b.output("f", add(kept, 1));
  const graph = b.graph();
  expect(fuseSums(graph)).toEqual(graph);
});

test("localize() makes constants, reshapes and broadcasts again where they are read, so that real data crosses", () => {
  const b = new Builder();
  const x = b.input("x", [4]);
  const [y, wide, one] = region(b, "one", () => {
    const e = exp(x);
    return [reshape(e, [2, 2]), broadcast(reshape(e, [4, 1]), [4, 3]), scalar(b, 1)] as const;
  });
  b.output(
    "a",
    region(b, "two", () => add(tanh(y), one)),
  );
  b.output(
    "b",
    region(b, "two", () => tanh(y)),
  );
  b.output(
    "c",
    region(b, "three", () => tanh(wide)),
  );
  expect(beforeAfter(b, (g) => prune(localize(g)))).toMatchInlineSnapshot(`
    "input x %0: float32[4]
    %1: float32[4] = exp(%0) @one
    %2: float32[2,2] = reshape(%1) {shape=[2,2]} @one
    %3: float32[4,1] = reshape(%1) {shape=[4,1]} @one
    %4: float32[4,3] = broadcast(%3) {shape=[4,3]} @one
    %5: float32[] = constant() {dtype=f32 shape=[] data=[1]} @one
    %6: float32[2,2] = tanh(%2) @two
    %7: float32[2,2] = add(%6, %5) @two
    %8: float32[2,2] = tanh(%2) @two
    %9: float32[4,3] = tanh(%4) @three
    output a = %7
    output b = %8
    output c = %9
    --
    input x %0: float32[4]
    %1: float32[4] = exp(%0) @one
    %10: float32[2,2] = reshape(%1) {shape=[2,2]} @two
    %6: float32[2,2] = tanh(%10) @two
    %11: float32[] = constant() {dtype=f32 shape=[] data=[1]} @two
    %7: float32[2,2] = add(%6, %11) @two
    %8: float32[2,2] = tanh(%10) @two
    %12: float32[4,1] = reshape(%1) {shape=[4,1]} @three
    %13: float32[4,3] = broadcast(%12) {shape=[4,3]} @three
    %9: float32[4,3] = tanh(%13) @three
    output a = %7
    output b = %8
    output c = %9"
  `);
});

test("recompute() makes the values of chosen regions again in their backward region, from what the region read", () => {
  const b = new Builder();
  const x = b.input("x", [2]);
  const [h, y] = region(b, "block", () => {
    const e = exp(x);
    return [e, tanh(e)] as const;
  });
  const kept = region(b, "other", () => exp(y));
  b.output("y", y);
  b.output(
    "g",
    region(b, "block~", () => mul(add(h, y), kept)),
  );
  b.output(
    "k",
    region(b, "other~", () => tanh(kept)),
  );
  expect(beforeAfter(b, (g) => recompute(g, (name) => name === "block"))).toMatchInlineSnapshot(`
    "input x %0: float32[2]
    %1: float32[2] = exp(%0) @block
    %2: float32[2] = tanh(%1) @block
    %3: float32[2] = exp(%2) @other
    %4: float32[2] = add(%1, %2) @block~
    %5: float32[2] = mul(%4, %3) @block~
    %6: float32[2] = tanh(%3) @other~
    output y = %2
    output g = %5
    output k = %6
    --
    input x %0: float32[2]
    %1: float32[2] = exp(%0) @block
    %2: float32[2] = tanh(%1) @block
    %3: float32[2] = exp(%2) @other
    %7: float32[2] = exp(%0) @block~
    %8: float32[2] = tanh(%7) @block~
    %4: float32[2] = add(%7, %8) @block~
    %5: float32[2] = mul(%4, %3) @block~
    %6: float32[2] = tanh(%3) @other~
    output y = %2
    output g = %5
    output k = %6"
  `);
});

test("optimize() runs them all, and gives the same graph when run again", () => {
  const b = new Builder();
  const [x, w] = [b.input("x", [2, 3]), b.input("w", [3, 3])];
  const h = region(b, "a", () => add(dot(stopGradient(x), w), 1));
  b.output(
    "y",
    region(b, "b", () => mul(add(h, 1), add(h, 1))),
  );
  const once = optimize(b.graph());
  expect(printGraph(once)).toMatchInlineSnapshot(`
    "input x %0: float32[2,3]
    input w %1: float32[3,3]
    %4: float32[] = constant() {dtype=f32 shape=[] data=[1]} @a
    %5: float32[2,3] = dotAdd(%0, %1, %4) {transA=false transB=false alpha=1} @a
    %6: float32[] = constant() {dtype=f32 shape=[] data=[1]} @b
    %7: float32[2,3] = add(%5, %6) @b
    %10: float32[2,3] = mul(%7, %7) @b
    output y = %10"
  `);
  expect(printGraph(optimize(once))).toBe(printGraph(once));
});
