import { describe, expect, test } from "vitest";
import { InternalError, ShapeError } from "../../core/index.ts";
import { type Cell, interpret, printGraph } from "../ir/index.ts";
import {
  add,
  argMax,
  Builder,
  cast,
  exp,
  gather,
  maximum,
  minimum,
  mul,
  reduceMax,
  region,
  reshape,
  stopGradient,
  sub,
  sumAll,
  type Tensor,
  topK,
} from "../trace/index.ts";
import { gradients } from "./index.ts";

const vector = (...data: number[]): Cell => ({ shape: [data.length], data: Float64Array.from(data) });
const number = (x: number): Cell => ({ shape: [], data: Float64Array.of(x) });

/** Values of gradients, in the interpreter; undefined stays so. */
function evaluate(b: Builder, grads: readonly (Tensor | undefined)[], values: Readonly<Record<string, Cell>>): (number[] | undefined)[] {
  grads.forEach((g, i) => g !== undefined && b.output(`g${i}`, g));
  const out = interpret(b.graph(), new Map(Object.entries(values)));
  return grads.map((_, i) => {
    const g = out.get(`g${i}`);
    return g === undefined ? undefined : [...g.data];
  });
}

test("gradients() marks backward work with the region it belongs to, and makes only what is asked for", () => {
  const b = new Builder();
  const [x, w] = [b.input("x", [3]), b.input("w", [3], { kind: "param" })];
  const y = region(b, "first", () => mul(x, w));
  const loss = region(b, "second", () => sumAll(exp(y)));
  const [g] = gradients(loss, [w]);
  if (g !== undefined) b.output("g", g, "grad");
  expect(printGraph(b.graph())).toMatchInlineSnapshot(`
    "input x %0: float32[3]
    param w %1: float32[3]
    %2: float32[3] = mul(%0, %1) @first
    %3: float32[3] = exp(%2) @second
    %4: float32[] = reduceSum(%3) {axes=[0] keepDims=false} @second
    %5: float32[] = constant() {dtype=f32 shape=[] data=[1]}
    %6: float32[1] = reshape(%5) {shape=[1]} @second~
    %7: float32[3] = broadcast(%6) {shape=[3]} @second~
    %8: float32[3] = mul(%7, %3) @second~
    %9: float32[3] = mul(%8, %0) @first~
    grad g = %9"
  `);
});

describe("gradients()", () => {
  test("adds up over every use of a tensor", () => {
    const b = new Builder();
    const x = b.input("x", [2]);
    const loss = sumAll(add(mul(x, x), add(x, x))); // 2x + 2
    expect(evaluate(b, gradients(loss, [x]), { x: vector(1, -3) })).toEqual([[4, -4]]);
  });

  test("is undefined for a tensor that the loss does not depend on", () => {
    const b = new Builder();
    const [x, other] = [b.input("x", [2]), b.input("other", [2])];
    exp(other);
    expect(gradients(sumAll(x), [other])).toEqual([undefined]);
  });

  test("stops at stopGradient", () => {
    const b = new Builder();
    const x = b.input("x", [2]);
    const loss = sumAll(mul(stopGradient(x), x));
    expect(evaluate(b, gradients(loss, [x]), { x: vector(3, 5) })).toEqual([[3, 5]]);
  });

  test("goes through an intermediate tensor that is asked for, to what it was made from", () => {
    const b = new Builder();
    const x = b.input("x", [2]);
    const h = mul(x, 3);
    const loss = sumAll(mul(h, h));
    expect(evaluate(b, gradients(loss, [x, h]), { x: vector(1, 2) })).toEqual([
      [18, 36],
      [6, 12],
    ]);
  });

  test("adds running gradients, also to intermediates, whose sources must not get them", () => {
    const b = new Builder();
    const x = b.input("x", [2]);
    const [rx, rh] = [b.input("rx", [2]), b.input("rh", [2])];
    const h = mul(x, 3);
    const grads = gradients(sumAll(h), [x, h], { running: [rx, rh] });
    expect(evaluate(b, grads, { x: vector(1, 2), rx: vector(10, 20), rh: vector(100, 200) })).toEqual([
      [13, 23],
      [101, 201],
    ]);
  });

  test("gives back the running gradient of a tensor that the loss does not depend on", () => {
    const b = new Builder();
    const [x, other, running] = [b.input("x", [2]), b.input("other", [2]), b.input("running", [2])];
    const [g] = gradients(sumAll(x), [other], { running: [running] });
    expect(g).toBe(running);
  });

  test("starts from a seed where the result is no scalar", () => {
    const b = new Builder();
    const [x, seed] = [b.input("x", [2]), b.input("seed", [2])];
    expect(evaluate(b, gradients(mul(x, x), [x], { seed }), { x: vector(1, 2), seed: vector(10, 100) })).toEqual([[20, 400]]);
  });

  test("of a tensor by itself is one", () => {
    const b = new Builder();
    const x = b.input("x", []);
    expect(evaluate(b, gradients(x, [x]), { x: number(5) })).toEqual([[1]]);
  });

  test("refuses what has no one gradient", () => {
    const b = new Builder();
    const x = b.input("x", [2]);
    expect(() => gradients(x, [x])).toThrow(ShapeError);
    expect(() => gradients(x, [x])).toThrow("Cannot differentiate float32[2]: it is not a scalar; sum it or give a seed");
    expect(() => gradients(x, [x], { seed: b.input("seed", [3]) })).toThrow("the seed is float32[3]; give one of the same type");
  });

  test("refuses to differentiate a gradient again", () => {
    const b = new Builder();
    const x = b.input("x", [2]);
    const [g] = gradients(sumAll(b.op("gelu", [x], {})), [x]);
    if (g === undefined) throw new InternalError("Cannot test: gelu has no gradient");
    expect(() => gradients(sumAll(g), [x])).toThrow("Cannot differentiate geluGrad: it is a gradient itself; give it a rule of its own");
  });

  test("knows no gradient by way of integers", () => {
    const b = new Builder();
    const x = b.input("x", [3]);
    const steps = cast(cast(x, "i32"), "f32");
    const { indices } = topK(x, 2);
    const largest = gather(x, reshape(argMax(x, 0), [1]));
    const loss = sumAll(add(add(sumAll(steps), sumAll(cast(indices, "f32"))), largest));
    expect(evaluate(b, gradients(loss, [x]), { x: vector(1.5, 9, 2) })).toEqual([[0, 1, 0]]);
  });

  test("shares a tie in equal parts", () => {
    const b = new Builder();
    const [x, y] = [b.input("x", [3]), b.input("y", [3])];
    const loss = sumAll(add(maximum(x, y), mul(minimum(x, y), 10)));
    expect(evaluate(b, gradients(loss, [x, y]), { x: vector(1, 2, 3), y: vector(1, 3, 2) })).toEqual([
      [5.5, 10, 1],
      [5.5, 1, 10],
    ]);
    const c = new Builder();
    const z = c.input("z", [4]);
    expect(evaluate(c, gradients(reduceMax(z, [0]), [z]), { z: vector(7, 1, 7, 7) })).toEqual([[1 / 3, 0, 1 / 3, 1 / 3]]);
  });

  test("of a subtraction from itself is zero", () => {
    const b = new Builder();
    const x = b.input("x", [2]);
    expect(evaluate(b, gradients(sumAll(sub(x, x)), [x]), { x: vector(1, 2) })).toEqual([[0, 0]]);
  });
});
