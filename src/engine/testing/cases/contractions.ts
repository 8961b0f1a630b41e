/** @file Cases of products, reductions and searches. */
import { NO_GRADIENT } from "../../grad/index.ts";
import type { OpParams } from "../../ir/index.ts";
import { type CaseInput, type CaseTable, given, type OpCase, type OpCases, random, typed } from "../op-case.ts";

export type ContractionOp = "dot" | "dotAdd" | "reduceSum" | "reduceSumSquare" | "reduceMax" | "argMax" | "topK";

type Numbers = readonly number[];

interface Sizes {
  readonly batch?: number;
  readonly m: number;
  readonly k: number;
  readonly n: number;
}

/** α op(a) op(b) by three loops and explicit strides. */
function product(a: Numbers, b: Numbers, { batch = 1, m, k, n, transA, transB, alpha }: Sizes & OpParams["dot"]): number[] {
  const out: number[] = [];
  for (let g = 0; g < batch; g++)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let c = 0; c < k; c++) {
          const left = a[g * m * k + (transA ? c * m + i : i * k + c)] ?? NaN;
          const right = b[g * k * n + (transB ? j * k + c : c * n + j)] ?? NaN;
          sum += left * right;
        }
        out.push(alpha * sum);
      }
  return out;
}

function operands({ m, k, n, transA, transB }: Sizes & OpParams["dot"], lead: Numbers): [CaseInput, CaseInput] {
  return [random([...lead, ...(transA ? [k, m] : [m, k])]), random([...lead, ...(transB ? [n, k] : [k, n])], { seed: 1 })];
}

function dotCase(params: OpParams["dot"], lead: Numbers = []): OpCase<"dot"> {
  const sizes = { m: 2, k: 3, n: 5, batch: lead.reduce((a, b) => a * b, 1) };
  return {
    name: `${lead.length > 0 ? `batch ${lead.join()}, ` : ""}transA ${params.transA}, transB ${params.transB}, alpha ${params.alpha}`,
    inputs: operands({ ...sizes, ...params }, lead),
    params,
    types: [`float32[${[...lead, 2, 5].join()}]`],
    want: (a = [], b = []) => [product(a, b, { ...sizes, ...params })],
  };
}

const FLAGS = [false, true].flatMap((transA) => [false, true].flatMap((transB) => [1, -0.5].map((alpha) => ({ transA, transB, alpha }))));
const PLAIN = { transA: false, transB: false, alpha: 1 };
const one = (op: CaseInput[]): Pick<OpCase<"dot">, "inputs"> => ({ inputs: op });

const [firstFlags = PLAIN, ...otherFlags] = FLAGS;

function dotAddCase(params: OpParams["dot"], plus: CaseInput): OpCase<"dotAdd"> {
  const sizes = { m: 2, k: 3, n: 5, ...params };
  const rows = plus.shape.at(-2) ?? 1;
  const columns = plus.shape.at(-1) ?? 1;
  return {
    name: `plus [${plus.shape.join()}], transA ${params.transA}, transB ${params.transB}, alpha ${params.alpha}`,
    inputs: [...operands(sizes, []), plus],
    params,
    types: ["float32[2,5]"],
    want: (a = [], b = [], c = []) => [
      product(a, b, sizes).map((x, i) => x + (c[(rows === 1 ? 0 : Math.floor(i / 5)) * columns + (columns === 1 ? 0 : i % 5)] ?? NaN)),
    ],
  };
}

type Reduction = OpCases<"reduceSum">;

type Join = (xs: Numbers) => number;
type Fill = "signed" | "apart";

/** Groups the values of x `[2,3,4]` by a key of their place (i, j, k), in order of first appearance. */
function grouped(x: Numbers, key: (place: readonly [number, number, number]) => string): number[][] {
  const groups = new Map<string, number[]>();
  x.forEach((v, flat) => {
    const name = key([Math.floor(flat / 12), Math.floor(flat / 4) % 3, flat % 4]);
    groups.set(name, [...(groups.get(name) ?? []), v]);
  });
  return [...groups.values()];
}

type Key = Parameters<typeof grouped>[1];
/** Axes, whether they are kept, the type of the result, and what of a value's place is left. */
const AXES: readonly (readonly [axes: Numbers, keepDims: boolean, type: string, key: Key])[] = [
  [[2], false, "float32[2,3]", ([i, j]) => `${i},${j}`],
  [[2], true, "float32[2,3,1]", ([i, j]) => `${i},${j}`],
  [[0], true, "float32[1,3,4]", ([, j, k]) => `${j},${k}`],
  [[1], false, "float32[2,4]", ([i, , k]) => `${i},${k}`],
  [[2, 0], false, "float32[3]", ([, j]) => `${j}`],
  [[0, 1], true, "float32[1,1,4]", ([, , k]) => `${k}`],
  [[0, 1, 2], false, "float32[]", () => ""],
  [[0, 1, 2], true, "float32[1,1,1]", () => ""],
];

function overAxes(join: Join, fill: Fill): OpCase<"reduceSum">[] {
  return AXES.map(([axes, keepDims, type, key]) => ({
    name: `axes ${axes.join()}${keepDims ? ", kept" : ""}`,
    inputs: [random([2, 3, 4], { fill })],
    params: { axes, keepDims },
    types: [type],
    want: (v = []) => [grouped(v, key).map(join)],
  }));
}

const REDUCTION_REFUSED: Reduction["refuses"] = [
  { inputs: [typed([2, 3])], params: { axes: [2], keepDims: false }, message: "there is no axis 2; use 0 to 1" },
  { inputs: [typed([2, 3])], params: { axes: [-1], keepDims: false }, message: "there is no axis -1" },
  { inputs: [typed([2, 3])], params: { axes: [0, 0], keepDims: true }, message: "axes [0,0] repeat; name each once" },
  { inputs: [typed([2], "bool")], params: { axes: [0], keepDims: true }, message: "cast bool to another type first" },
  { inputs: [typed([])], params: { axes: [0], keepDims: true }, message: "there is no axis 0; a scalar has none" },
];

/** A reduction: `join` reduces a list, `alone` is what is left where no axis is reduced. */
function reduction(join: Join, { fill, alone }: { fill: Fill; alone: (x: number) => number }): Reduction {
  return {
    gradient: "smooth",
    cases: [
      {
        name: "no axis",
        inputs: [random([2, 3], { fill })],
        params: { axes: [], keepDims: false },
        types: ["float32[2,3]"],
        want: (v = []) => [v.map(alone)],
      },
      ...overAxes(join, fill),
      {
        name: "an axis of 1",
        inputs: [random([3, 1, 2], { fill })],
        params: { axes: [1], keepDims: false },
        types: ["float32[3,2]"],
        want: (v = []) => [v.map((y) => join([y]))],
      },
      {
        name: "the leading axis of a tall matrix",
        inputs: [random([20, 3], { fill })],
        params: { axes: [0], keepDims: false },
        types: ["float32[3]"],
        want: (v = []) => [[0, 1, 2].map((j) => join(v.filter((_, i) => i % 3 === j)))],
      },
      {
        name: "leading axes of many rows, out of order, kept",
        inputs: [random([4, 5, 3], { fill })],
        params: { axes: [1, 0], keepDims: true },
        types: ["float32[1,1,3]"],
        want: (v = []) => [[0, 1, 2].map((j) => join(v.filter((_, i) => i % 3 === j)))],
      },
      {
        name: "int32",
        inputs: [given([2, 2], [1, -2, 3, 4], "i32")],
        params: { axes: [1], keepDims: false },
        types: ["int32[2]"],
        want: () => [[join([1, -2]), join([3, 4])]],
      },
    ],
    refuses: REDUCTION_REFUSED,
  };
}

const argMax = (
  name: string,
  x: CaseInput,
  { axis, want }: { axis: number; want: readonly [type: string, data: Numbers] },
): OpCase<"argMax"> => ({
  name,
  inputs: [x],
  params: { axis },
  types: [want[0]],
  want: () => [want[1]],
});

export const CONTRACTION_CASES: CaseTable<ContractionOp> = {
  dot: {
    gradient: "smooth",
    cases: [
      dotCase(firstFlags),
      ...otherFlags.map((f) => dotCase(f)),
      ...FLAGS.map((f) => dotCase(f, [2])),
      dotCase({ transA: true, transB: false, alpha: 2 }, [2, 3]),
      dotCase({ transA: false, transB: true, alpha: 2 }, [1, 1]),
      { name: "a row by a column", ...one([random([1, 4]), random([4, 1])]), params: PLAIN, types: ["float32[1,1]"] },
      {
        name: "an outer product",
        ...one([random([1, 3]), random([1, 2])]),
        params: { transA: true, transB: false, alpha: 1 },
        types: ["float32[3,2]"],
      },
      {
        name: "numbers",
        ...one([random([1, 1]), random([1, 1], { seed: 1 })]),
        params: PLAIN,
        types: ["float32[1,1]"],
        want: ([a = 0] = [], [b = 0] = []) => [[a * b]],
      },
    ],
    refuses: [
      {
        inputs: [typed([2, 3]), typed([2, 3])],
        params: PLAIN,
        message: "contracted axes are 3 and 2 (transA false, transB false); make them equal",
      },
      {
        inputs: [typed([2, 3]), typed([3, 2])],
        params: { ...PLAIN, transB: true },
        message: "contracted axes are 3 and 2 (transA false, transB true)",
      },
      { inputs: [typed([3]), typed([3])], params: PLAIN, message: "they have 1 and 1 axes; both need the same number of 2 or more" },
      { inputs: [typed([2, 2, 3]), typed([3, 2])], params: PLAIN, message: "they have 3 and 2 axes" },
      { inputs: [typed([2, 2, 3]), typed([1, 3, 2])], params: PLAIN, message: "leading (batch) axes differ; broadcast one of them" },
      { inputs: [typed([2, 2], "i32"), typed([2, 2], "i32")], params: PLAIN, message: "cast to float32 first" },
    ],
  },
  dotAdd: {
    gradient: "smooth",
    cases: [
      dotAddCase(firstFlags, random([2, 5])),
      ...otherFlags.map((f) => dotAddCase(f, random([2, 5]))),
      dotAddCase(PLAIN, random([5])),
      dotAddCase(PLAIN, random([1, 5])),
      dotAddCase(PLAIN, random([2, 1])),
      dotAddCase({ ...PLAIN, alpha: 3 }, random([])),
      dotAddCase(PLAIN, random([1])),
    ],
    refuses: [
      {
        inputs: [typed([2, 3]), typed([3, 4]), typed([3])],
        params: PLAIN,
        message: "what is added does not fit [2,4]; axes must be equal or 1",
      },
      { inputs: [typed([2, 3]), typed([3, 4]), typed([1, 2, 4])], params: PLAIN, message: "what is added does not fit [2,4]" },
      { inputs: [typed([1, 2, 3]), typed([1, 3, 4]), typed([4])], params: PLAIN, message: "takes matrices only; use dot and add" },
      { inputs: [typed([2, 3]), typed([3, 4])], params: PLAIN, message: "2 inputs were given; pass 3" },
    ],
  },
  reduceSum: reduction((xs) => xs.reduce((a, b) => a + b, 0), { fill: "signed", alone: (x) => x }),
  reduceSumSquare: reduction((xs) => xs.reduce((a, b) => a + b * b, 0), { fill: "signed", alone: (x) => x * x }),
  reduceMax: reduction((xs) => Math.max(...xs), { fill: "apart", alone: (x) => x }),
  argMax: {
    gradient: NO_GRADIENT,
    cases: [
      argMax("the last axis, the first of a tie", given([2, 3], [1, 5, 5, -1, -3, -2]), { axis: 1, want: ["int32[2]", [1, 0]] }),
      argMax("the first axis", given([3, 2], [1, 9, 4, 8, 2, 7]), { axis: 0, want: ["int32[2]", [1, 0]] }),
      argMax("an axis of 1", given([2, 1], [3, 4]), { axis: 1, want: ["int32[2]", [0, 0]] }),
      argMax("a vector", given([4], [0, 2, 9, 1]), { axis: 0, want: ["int32[]", [2]] }),
      argMax("int32", given([3], [-4, -1, -9], "i32"), { axis: 0, want: ["int32[]", [1]] }),
    ],
    refuses: [{ inputs: [typed([2])], params: { axis: 1 }, message: "there is no axis 1; use 0 to 0" }],
  },
  topK: {
    gradient: "smooth",
    cases: [
      {
        name: "two of each row",
        inputs: [given([2, 3], [0.1, 0.7, 0.4, 3, 1, 2])],
        params: { k: 2 },
        types: ["float32[2,2]", "int32[2,2]"],
        want: () => [[0.7, 0.4, 3, 2].map((x) => Math.fround(x)), [1, 2, 0, 2]],
      },
      {
        name: "all of a vector",
        inputs: [random([5], { fill: "apart" })],
        params: { k: 5 },
        types: ["float32[5]", "int32[5]"],
        want: (x = []) => [x.toSorted((a, b) => b - a)],
      },
      { name: "three axes", inputs: [random([2, 2, 4], { fill: "apart" })], params: { k: 1 }, types: ["float32[2,2,1]", "int32[2,2,1]"] },
    ],
    refuses: [
      { inputs: [typed([2, 3])], params: { k: 4 }, message: "the last axis has no 4 values; take 1 to 3" },
      { inputs: [typed([2, 3])], params: { k: 0 }, message: "the last axis has no 0 values" },
      { inputs: [typed([])], params: { k: 1 }, message: "the last axis has no 1 values" },
    ],
  },
};
