import { describe, expect, expectTypeOf, test } from "vitest";
import { DTypeError, InternalError, ShapeError } from "../../core/index.ts";
import { printGraph } from "../ir/index.ts";
import {
  add,
  attention,
  broadcast,
  Builder,
  cast,
  compare,
  concat,
  dims,
  div,
  dot,
  dotAdd,
  exp,
  gather,
  layerNorm,
  mul,
  pad,
  reduceMean,
  reduceSum,
  region,
  reshape,
  scalar,
  scatterAdd,
  select,
  slice,
  split,
  sumAll,
  type Tensor,
  topK,
  transpose,
} from "./index.ts";

const b = new Builder();
const matrix = b.input("matrix", [2, 3]);
const cube = b.input("cube", [4, 2, 3]);
const whole = b.input("whole", [2, 3], { dtype: "i32" });

let made = 0;
/** An input of its own name each time. */
const fresh = (shape: readonly number[]): Tensor => b.input(`fresh${made++}`, shape);

describe("dims()", () => {
  test("names the axes, with typed keys", () => {
    const named = dims(cube, "b n d");
    expect(named).toEqual({ b: 4, n: 2, d: 3 });
    expectTypeOf(named).toEqualTypeOf<{ readonly b: number; readonly n: number; readonly d: number }>();
  });

  test("checks numbers, skips _ and gives no key to either", () => {
    const named = dims(cube, "b 2 _");
    expect(named).toEqual({ b: 4 });
    expectTypeOf(named).toEqualTypeOf<{ readonly b: number }>();
  });

  test("takes a repeated name for equal sizes only", () => {
    expect(dims(b.input("square", [3, 3]), "n n")).toEqual({ n: 3 });
    expect(() => dims(matrix, "n n")).toThrow('Cannot read float32[2,3] as "n n": axis 1 (n) is 3, not 2; correct the shape');
  });

  test.each([
    ["b n d", 'Cannot read float32[2,3] as "b n d": it has 2 axes, not 3; correct the pattern or reshape'],
    ["b 4", 'Cannot read float32[2,3] as "b 4": axis 1 (4) is 3, not 4; correct the shape'],
  ])('refuses "%s"', (pattern, message) => {
    expect(() => dims(matrix, pattern)).toThrow(ShapeError);
    expect(() => dims(matrix, pattern)).toThrow(message);
  });
});

const WORDING = /^Cannot \S+ .+: .+; .+$/;

describe("operations refuse at trace time", () => {
  test.each<readonly [what: string, () => unknown, string]>([
    [
      "shapes that do not broadcast",
      () => add(matrix, fresh([4])),
      "Cannot add float32[2,3], float32[4]: axis 1 is 3 on one side and 4 on the other; make them equal or one of them 1",
    ],
    [
      "products that do not fit",
      () => dot(matrix, matrix),
      "Cannot dot float32[2,3], float32[2,3]: contracted axes are 3 and 2 (transA false, transB false); make them equal",
    ],
    [
      "a bias that does not fit",
      () => dotAdd(matrix, matrix, { transB: true, plus: fresh([3]) }),
      "Cannot dotAdd float32[2,3], float32[2,3], float32[3]: what is added does not fit [2,2]; axes must be equal or 1, from the last",
    ],
    ["a reshape to another size", () => reshape(matrix, [5]), "Cannot reshape float32[2,3]: [5] has 5 values, not 6; correct the shape"],
    [
      "a permutation of fewer axes",
      () => transpose(cube, [0, 1]),
      "Cannot transpose float32[4,2,3]: [0,1] is no order of its axes; name each axis once",
    ],
    [
      "a broadcast that drops an axis",
      () => broadcast(matrix, [3]),
      "Cannot broadcast float32[2,3]: it does not fit [3]; axes must be equal or 1, from the last",
    ],
    [
      "a slice past the end",
      () => slice(matrix, 1, [2, 4]),
      "Cannot slice float32[2,3]: axis 1 has no range 2..4; stay within 0..3, start below limit",
    ],
    ["a slice of no axis", () => slice(matrix, 2, [0, 1]), "Cannot slice float32[2,3]: there is no axis 2; it has 2"],
    ["a slice of a negative axis", () => slice(matrix, -1, [0, 1]), "Cannot slice float32[2,3]: there is no axis -1; it has 2"],
    ["padding of no axis", () => pad(matrix, 2, [1, 1]), "Cannot pad float32[2,3]: there is no axis 2; it has 2"],
    [
      "joining different shapes",
      () => concat([matrix, fresh([3, 3])], 1),
      "Cannot concat float32[2,3], float32[3,3]: shapes differ off axis 1; make them equal there",
    ],
    [
      "a split that does not fill",
      () => split(matrix, 1, [1, 1]),
      "Cannot split float32[2,3]: sizes [1,1] do not fill axis 1; they must be 1 or more and add up to 3",
    ],
    ["a sum over no axis", () => reduceSum(matrix, [2]), "Cannot reduceSum float32[2,3]: there is no axis 2; use 0 to 1"],
    ["more of top-k than there is", () => topK(matrix, 4), "Cannot topK float32[2,3]: the last axis has no 4 values; take 1 to 3"],
    [
      "a norm of another width",
      () => layerNorm(matrix, fresh([2]), { bias: fresh([3]), eps: 1e-6 }),
      "Cannot layerNorm float32[2,3], float32[2], float32[3]: weight and bias do not fit the last axis; make them [3]",
    ],
    [
      "attention over three axes",
      () => attention(cube, cube, { v: cube, scale: 1 }),
      "Cannot attention float32[4,2,3], float32[4,2,3], float32[4,2,3]: queries have not four axes; make all three [batch, head, token, dim]",
    ],
    [
      "an input of no size",
      () => b.input("bad", [2, -1]),
      'Cannot add input "bad" float32[2,-1]: a size is not a whole number of 0 or more; correct the shape',
    ],
  ])("%s", (_, make, message) => {
    expect(make).toThrow(ShapeError);
    expect(make).toThrow(message);
    expect(message).toMatch(WORDING);
  });

  test.each<readonly [what: string, () => unknown, string]>([
    ["mixed element types", () => add(matrix, whole), "Cannot add float32[2,3], int32[2,3]: element types differ; cast one of them"],
    ["exp of integers", () => exp(whole), "Cannot exp int32[2,3]: takes floating point values; cast to float32 first"],
    ["a division of integers", () => div(whole, 2), "Cannot div int32[2,3], int32[]: takes floating point values; cast to float32 first"],
    [
      "a fraction beside integers",
      () => mul(whole, 0.5),
      "Cannot make 0.5 an int32: it is not a whole number; cast the other operand to float32",
    ],
    [
      "a mean of integers",
      () => reduceMean(whole, [1]),
      "Cannot make 0.3333333333333333 an int32: it is not a whole number; cast the other operand to float32",
    ],
    [
      "a choice by numbers",
      () => select(matrix, 1, matrix),
      "Cannot select float32[2,3], float32[], float32[2,3]: the first input is no bool; compare it with something",
    ],
    ["float indices", () => gather(matrix, fresh([2])), "Cannot gather float32[2,3], float32[2]: indices are not int32; cast them"],
    [
      "float places",
      () => scatterAdd(matrix, fresh([2]), 4),
      "Cannot scatterAdd float32[2,3], float32[2]: indices are not int32; cast them",
    ],
    ["a bool scalar", () => scalar(b, 1, "bool"), "Cannot make 1 a bool: no such scalar is needed; make it float32 and cast"],
  ])("%s", (_, make, message) => {
    expect(make).toThrow(DTypeError);
    expect(make).toThrow(message);
    expect(message).toMatch(WORDING);
  });

  test("two numbers", () => {
    expect(() => add(1, 2)).toThrow("Cannot combine two numbers: neither is a tensor; make one of them with scalar()");
  });
});

describe("Builder", () => {
  test("refuses tensors of another trace", () => {
    const other = new Builder().input("z", [2, 3]);
    expect(() => add(matrix, other)).toThrow(InternalError);
    expect(() => add(matrix, other)).toThrow(
      "Cannot add float32[2,3], float32[2,3]: one is of another trace; build one graph with one Builder",
    );
    expect(() => new Builder().output("y", matrix)).toThrow('Cannot add output "y": it is of another trace');
  });

  test("refuses a name that is taken", () => {
    const c = new Builder();
    const x = c.input("x", []);
    c.output("y", x);
    expect(() => c.input("x", [])).toThrow('Cannot add input "x": the name is taken; give each input its own');
    expect(() => c.output("y", x)).toThrow('Cannot add output "y": the name is taken; give each output its own');
  });

  test("marks nodes with their region, nested by /, and takes the mark back after an error", () => {
    const c = new Builder();
    const x = c.input("x", [2]);
    region(c, "outer", () => {
      exp(x);
      region(x, "inner", () => exp(x));
      c.inRegion("whole", () => exp(x), { absolute: true });
    });
    expect(() =>
      region(c, "broken", () => {
        throw new RangeError("stop");
      }),
    ).toThrow("stop");
    exp(x);
    expect(c.nodes.map((n) => n.region)).toEqual(["outer", "outer/inner", "whole", ""]);
  });

  test("makes frozen nodes and values", () => {
    const c = new Builder();
    exp(c.input("x", [2]));
    expect(Object.isFrozen(c.nodes[0])).toBe(true);
    expect(Object.isFrozen(c.nodes[0]?.outputs[0])).toBe(true);
    expect(Object.isFrozen(c.nodes[0]?.outputs[0]?.shape)).toBe(true);
  });
});

test("operations that change nothing add no node", () => {
  const c = new Builder();
  const x = c.input("x", [2, 3]);
  for (const y of [
    reshape(x, [2, 3]),
    transpose(x, [0, 1]),
    broadcast(x, [2, 3]),
    slice(x, 1, [0, 3]),
    cast(x, "f32"),
    concat([x], 0),
    reduceSum(x, []),
  ])
    expect(y).toBe(x);
  expect(c.nodes).toEqual([]);
});

test("numbers become scalars of the other operand's type, on either side", () => {
  const c = new Builder();
  const [x, n] = [c.input("x", [2]), c.input("n", [2], { dtype: "i32" })];
  c.output("a", mul(2, x));
  c.output("b", add(n, 1));
  c.output("c", compare(n, "ge", 3));
  c.output("d", select(compare(x, "gt", 0), 1, x));
  c.output("e", reduceMean(x, [0]));
  c.output("f", sumAll(x));
  expect(printGraph(c.graph())).toMatchInlineSnapshot(`
    "input x %0: float32[2]
    input n %1: int32[2]
    %2: float32[] = constant() {dtype=f32 shape=[] data=[2]}
    %3: float32[2] = mul(%2, %0)
    %4: int32[] = constant() {dtype=i32 shape=[] data=[1]}
    %5: int32[2] = add(%1, %4)
    %6: int32[] = constant() {dtype=i32 shape=[] data=[3]}
    %7: bool[2] = compare(%1, %6) {direction=ge}
    %8: float32[] = constant() {dtype=f32 shape=[] data=[0]}
    %9: bool[2] = compare(%0, %8) {direction=gt}
    %10: float32[] = constant() {dtype=f32 shape=[] data=[1]}
    %11: float32[2] = select(%9, %10, %0)
    %12: float32[] = reduceSum(%0) {axes=[0] keepDims=false}
    %13: float32[] = constant() {dtype=f32 shape=[] data=[0.5]}
    %14: float32[] = mul(%12, %13)
    %15: float32[] = reduceSum(%0) {axes=[0] keepDims=false}
    output a = %3
    output b = %5
    output c = %7
    output d = %11
    output e = %14
    output f = %15"
  `);
});
