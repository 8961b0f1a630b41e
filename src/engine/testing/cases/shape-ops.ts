/** @file Cases of ops that move values. */
import type { DType } from "../../../core/index.ts";
import { NO_GRADIENT } from "../../grad/index.ts";
import { numbersOf, type ShapeOp } from "../../ir/index.ts";
import { type CaseInput, type CaseTable, given, type OpCase, random, typed } from "../op-case.ts";

/** 0, 1, 2, … so that a value says where it came from. */
function counting(shape: readonly number[], dtype: DType = "f32"): CaseInput {
  return given(shape, [...Array(shape.reduce((a, b) => a * b, 1)).keys()], dtype);
}

const constant = (name: string, params: OpCase<"constant">["params"], type: string): OpCase<"constant"> => ({
  name,
  inputs: [],
  params,
  types: [type],
  want: () => [numbersOf(params.data)],
});

const iota = (name: string, params: OpCase<"iota">["params"], want: readonly [type: string, data: readonly number[]]): OpCase<"iota"> => ({
  name,
  inputs: [],
  params,
  types: [want[0]],
  want: () => [want[1]],
});

const reshape = (from: CaseInput, shape: readonly number[], type: string): OpCase<"reshape"> => ({
  name: `[${from.shape.join()}] to ${type}`,
  inputs: [from],
  params: { shape },
  types: [type],
  want: (x = []) => [x],
});

const transpose = (
  from: CaseInput,
  perm: readonly number[],
  want: readonly [type: string, data: readonly number[]],
): OpCase<"transpose"> => ({
  name: `[${from.shape.join()}] by ${perm.join()}`,
  inputs: [from],
  params: { perm },
  types: [want[0]],
  want: () => [want[1]],
});

const broadcast = (
  from: CaseInput,
  shape: readonly number[],
  want: readonly [type: string, data: readonly number[]],
): OpCase<"broadcast"> => ({
  name: `[${from.shape.join()}] to ${shape.join()}`,
  inputs: [from],
  params: { shape },
  types: [want[0]],
  want: () => [want[1]],
});

export const SHAPE_CASES: CaseTable<ShapeOp> = {
  constant: {
    gradient: NO_GRADIENT,
    cases: [
      constant("float32", { dtype: "f32", shape: [2, 1], data: Float32Array.of(1.5, -2) }, "float32[2,1]"),
      constant("int32 scalar", { dtype: "i32", shape: [], data: Int32Array.of(-7) }, "int32[]"),
      constant("int64", { dtype: "i64", shape: [1], data: BigInt64Array.of(-7n) }, "int64[1]"),
      constant("bool", { dtype: "bool", shape: [3], data: Uint8Array.of(1, 0, 1) }, "bool[3]"),
      constant("float64", { dtype: "f64", shape: [1], data: Float64Array.of(0.1) }, "float64[1]"),
      constant(
        "more values than are compared one by one",
        { dtype: "f32", shape: [70], data: new Float32Array(70).fill(3) },
        "float32[70]",
      ),
    ],
    refuses: [
      {
        inputs: [],
        params: { dtype: "f32", shape: [3], data: new Float32Array(2) },
        message: "constant float32[3]: its data has 2 values; pass 3",
      },
      {
        inputs: [],
        params: { dtype: "i32", shape: [1], data: new Float32Array(1) },
        message: "its data is a Float32Array; pass a Int32Array",
      },
      {
        inputs: [],
        params: { dtype: "f32", shape: [-1], data: new Float32Array(1) },
        message: "a size is not a whole number of 0 or more",
      },
    ],
  },
  iota: {
    gradient: NO_GRADIENT,
    cases: [
      iota("last axis", { dtype: "i32", shape: [2, 3], axis: 1 }, ["int32[2,3]", [0, 1, 2, 0, 1, 2]]),
      iota("first axis", { dtype: "f32", shape: [2, 1, 2], axis: 0 }, ["float32[2,1,2]", [0, 0, 1, 1]]),
      iota("int64", { dtype: "i64", shape: [3], axis: 0 }, ["int64[3]", [0, 1, 2]]),
      iota("float64", { dtype: "f64", shape: [3], axis: 0 }, ["float64[3]", [0, 1, 2]]),
    ],
    refuses: [
      { inputs: [], params: { dtype: "i32", shape: [2], axis: 1 }, message: "iota int32[2]: there is no axis 1; use 0 to 0" },
      { inputs: [], params: { dtype: "bool", shape: [2], axis: 0 }, message: "make it int32 or float32 and cast" },
    ],
  },
  reshape: {
    gradient: "smooth",
    cases: [
      reshape(random([2, 3]), [3, 2], "float32[3,2]"),
      reshape(random([1, 1]), [], "float32[]"),
      reshape(random([]), [1, 1, 1], "float32[1,1,1]"),
      reshape(given([2], [0, 1], "bool"), [2, 1], "bool[2,1]"),
    ],
    refuses: [
      { inputs: [typed([2, 3])], params: { shape: [4] }, message: "[4] has 4 values, not 6; correct the shape" },
      {
        inputs: [typed([2, 3])],
        params: { shape: [-2, -3] },
        message: "reshape float32[-2,-3]: a size is not a whole number of 0 or more",
      },
      { inputs: [typed([2, 3])], params: { shape: [-1] }, message: "a size is not a whole number of 0 or more" },
    ],
  },
  transpose: {
    gradient: "smooth",
    cases: [
      transpose(counting([2, 3]), [1, 0], ["float32[3,2]", [0, 3, 1, 4, 2, 5]]),
      transpose(counting([2, 1, 3]), [2, 0, 1], ["float32[3,2,1]", [0, 3, 1, 4, 2, 5]]),
      transpose(counting([1, 2, 2, 2]), [0, 2, 1, 3], ["float32[1,2,2,2]", [0, 1, 4, 5, 2, 3, 6, 7]]),
      transpose(counting([2, 2], "i32"), [1, 0], ["int32[2,2]", [0, 2, 1, 3]]),
    ],
    refuses: [
      { inputs: [typed([2, 3])], params: { perm: [0, 0] }, message: "[0,0] is no order of its axes; name each axis once" },
      { inputs: [typed([2, 3])], params: { perm: [0] }, message: "[0] is no order of its axes" },
    ],
  },
  broadcast: {
    gradient: "smooth",
    cases: [
      broadcast(counting([3]), [2, 3], ["float32[2,3]", [0, 1, 2, 0, 1, 2]]),
      broadcast(counting([2, 1, 1]), [2, 2, 2], ["float32[2,2,2]", [0, 0, 0, 0, 1, 1, 1, 1]]),
      broadcast(given([], [7]), [1, 2], ["float32[1,2]", [7, 7]]),
      broadcast(counting([2, 1], "i32"), [2, 2], ["int32[2,2]", [0, 0, 1, 1]]),
    ],
    refuses: [
      { inputs: [typed([2])], params: { shape: [3] }, message: "it does not fit [3]; axes must be equal or 1, from the last" },
      { inputs: [typed([2, 3])], params: { shape: [3] }, message: "it does not fit [3]" },
      { inputs: [typed([1])], params: { shape: [-3] }, message: "a size is not a whole number of 0 or more" },
    ],
  },
  slice: {
    gradient: "smooth",
    cases: [
      {
        name: "inside both axes",
        inputs: [counting([3, 4])],
        params: { starts: [1, 1], limits: [3, 2] },
        types: ["float32[2,1]"],
        want: () => [[5, 9]],
      },
      {
        name: "the whole",
        inputs: [counting([2, 2])],
        params: { starts: [0, 0], limits: [2, 2] },
        types: ["float32[2,2]"],
        want: (x = []) => [x],
      },
      { name: "int32", inputs: [counting([4], "i32")], params: { starts: [3], limits: [4] }, types: ["int32[1]"], want: () => [[3]] },
    ],
    refuses: [
      {
        inputs: [typed([3])],
        params: { starts: [1], limits: [4] },
        message: "axis 0 has no range 1..4; stay within 0..3, start below limit",
      },
      { inputs: [typed([3])], params: { starts: [-1], limits: [3] }, message: "axis 0 has no range -1..3" },
      { inputs: [typed([3])], params: { starts: [2], limits: [2] }, message: "axis 0 has no range 2..2" },
      { inputs: [typed([3])], params: { starts: [], limits: [3] }, message: "0 starts and 1 limits were given; pass one of each an axis" },
    ],
  },
  pad: {
    gradient: "smooth",
    cases: [
      {
        name: "two axes",
        inputs: [given([1, 2], [5, 6])],
        params: { low: [1, 0], high: [0, 1] },
        types: ["float32[2,3]"],
        want: () => [[0, 0, 0, 5, 6, 0]],
      },
      { name: "by nothing", inputs: [random([3])], params: { low: [0], high: [0] }, types: ["float32[3]"], want: (x = []) => [x] },
      { name: "int32", inputs: [given([1], [5], "i32")], params: { low: [2], high: [1] }, types: ["int32[4]"], want: () => [[0, 0, 5, 0]] },
    ],
    refuses: [
      {
        inputs: [typed([3])],
        params: { low: [-1], high: [0] },
        message: "a width is not a whole number of 0 or more; slice to make it smaller",
      },
      { inputs: [typed([3])], params: { low: [0, 0], high: [0] }, message: "2 low and 1 high widths were given" },
    ],
  },
  concat: {
    gradient: "smooth",
    cases: [
      {
        name: "three along the last axis",
        inputs: [given([2, 1], [1, 2]), given([2, 2], [3, 4, 5, 6]), given([2, 1], [7, 8])],
        params: { axis: 1 },
        types: ["float32[2,4]"],
        want: () => [[1, 3, 4, 7, 2, 5, 6, 8]],
      },
      {
        name: "along the first",
        inputs: [random([1, 3]), random([2, 3])],
        params: { axis: 0 },
        types: ["float32[3,3]"],
        want: (a = [], b = []) => [[...a, ...b]],
      },
      { name: "one", inputs: [random([2])], params: { axis: 0 }, types: ["float32[2]"], want: (a = []) => [a] },
      {
        name: "one tensor twice",
        inputs: [given([1], [3], "i32"), given([1], [3], "i32")],
        params: { axis: 0 },
        types: ["int32[2]"],
        want: () => [[3, 3]],
      },
    ],
    refuses: [
      { inputs: [], params: { axis: 0 }, message: "there is nothing to join; pass a tensor" },
      { inputs: [typed([2, 1]), typed([3, 1])], params: { axis: 1 }, message: "shapes differ off axis 1; make them equal there" },
      { inputs: [typed([2]), typed([2], "i32")], params: { axis: 0 }, message: "element types differ" },
      { inputs: [typed([2])], params: { axis: -1 }, message: "there is no axis -1; use 0 to 0" },
    ],
  },
  split: {
    gradient: "smooth",
    cases: [
      {
        name: "the last axis",
        inputs: [counting([2, 3])],
        params: { axis: 1, sizes: [1, 2] },
        types: ["float32[2,1]", "float32[2,2]"],
        want: () => [
          [0, 3],
          [1, 2, 4, 5],
        ],
      },
      {
        name: "the first axis, one part without a cotangent",
        inputs: [counting([3, 1])],
        params: { axis: 0, sizes: [1, 1, 1] },
        types: ["float32[1,1]", "float32[1,1]", "float32[1,1]"],
        want: () => [[0], [1], [2]],
        differentiable: [0, 2],
      },
      { name: "into one", inputs: [random([2])], params: { axis: 0, sizes: [2] }, types: ["float32[2]"], want: (x = []) => [x] },
    ],
    refuses: [
      {
        inputs: [typed([4])],
        params: { axis: 0, sizes: [1, 2] },
        message: "sizes [1,2] do not fill axis 0; they must be 1 or more and add up to 4",
      },
      { inputs: [typed([4])], params: { axis: 0, sizes: [4, 0] }, message: "sizes [4,0] do not fill axis 0" },
    ],
  },
  gather: {
    gradient: "smooth",
    cases: [
      {
        name: "rows, one twice, one never",
        inputs: [counting([3, 2]), given([4], [2, 0, 2, 2], "i32")],
        params: {},
        types: ["float32[4,2]"],
        want: () => [[4, 5, 0, 1, 4, 5, 4, 5]],
      },
      { name: "numbers", inputs: [given([3], [7, 8, 9]), given([1], [1], "i32")], params: {}, types: ["float32[1]"], want: () => [[8]] },
      {
        name: "rows promised to be unique",
        inputs: [counting([4, 1, 2]), given([3], [2, 0, 3], "i32")],
        params: { unique: true },
        types: ["float32[3,1,2]"],
        want: () => [[4, 5, 0, 1, 6, 7]],
      },
      {
        name: "int32 rows",
        inputs: [counting([2, 1, 1], "i32"), given([2], [1, 1], "i32")],
        params: {},
        types: ["int32[2,1,1]"],
        want: () => [[1, 1]],
      },
    ],
    refuses: [
      { inputs: [typed([3, 2]), typed([2])], params: {}, message: "indices are not int32; cast them" },
      { inputs: [typed([3, 2]), typed([2, 1], "i32")], params: {}, message: "indices have not one axis; reshape them" },
      { inputs: [typed([]), typed([1], "i32")], params: {}, message: "a scalar has no rows; give it an axis" },
    ],
  },
  scatterAdd: {
    gradient: "smooth",
    cases: [
      {
        name: "rows meet and leave one empty",
        inputs: [given([3, 2], [1, 2, 3, 4, 5, 6]), given([3], [2, 0, 2], "i32")],
        params: { rows: 4 },
        types: ["float32[4,2]"],
        want: () => [[3, 4, 0, 0, 6, 8, 0, 0]],
      },
      {
        name: "numbers",
        inputs: [random([3]), given([3], [0, 0, 0], "i32")],
        params: { rows: 1 },
        types: ["float32[1]"],
        want: ([a = 0, b = 0, c = 0] = []) => [[a + b + c]],
      },
      {
        name: "rows promised to be unique",
        inputs: [random([2, 3, 2]), given([2], [2, 0], "i32")],
        params: { rows: 3, unique: true },
        types: ["float32[3,3,2]"],
        want: (u = []) => [[...u.slice(6), 0, 0, 0, 0, 0, 0, ...u.slice(0, 6)]],
      },
      {
        name: "matrices",
        inputs: [random([3, 2, 2]), given([3], [1, 0, 1], "i32")],
        params: { rows: 2 },
        types: ["float32[2,2,2]"],
        want: (u = []) => [[...u.slice(4, 8), ...u.slice(0, 4).map((v, i) => v + (u[8 + i] ?? NaN))]],
      },
      {
        // ScatterND(add) loses sums here on two threads
        name: "many rows at two indices",
        inputs: [
          given([8000, 384], Array<number>(8000 * 384).fill(1)),
          given(
            [8000],
            Array.from({ length: 8000 }, (_, i) => i % 2),
            "i32",
          ),
        ],
        params: { rows: 2 },
        types: ["float32[2,384]"],
        want: () => [Array<number>(768).fill(4000)],
        gradient: "none",
      },
      {
        name: "int32",
        inputs: [given([2], [5, 6], "i32"), given([2], [1, 1], "i32")],
        params: { rows: 2 },
        types: ["int32[2]"],
        want: () => [[0, 11]],
      },
    ],
    refuses: [
      {
        inputs: [typed([3, 2]), typed([2], "i32")],
        params: { rows: 4 },
        message: "rows and indices differ in number; pass one index a row",
      },
      { inputs: [typed([2]), typed([2], "i32")], params: { rows: -1 }, message: "a size is not a whole number of 0 or more" },
      { inputs: [typed([2]), typed([2], "i64")], params: { rows: 1 }, message: "indices are not int32; cast them" },
    ],
  },
};
