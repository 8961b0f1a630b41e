/** @file Cases of elementwise ops. */
import { NO_GRADIENT } from "../../grad/index.ts";
import type { ElementwiseOp } from "../../ir/index.ts";
import { type CaseTable, given, type InputOptions, type OpCase, type OpCases, random, typed } from "../op-case.ts";

/** Every op without parameters has the same type of cases. */
type Plain = OpCases<"exp">;
type PlainCase = OpCase<"exp">;

interface UnaryOptions {
  readonly fill?: InputOptions["fill"];
  /** Inputs at which ONNX Runtime and the interpreter must agree, too far out for central differences. */
  readonly extremes?: readonly number[];
  readonly gradient?: Plain["gradient"];
  readonly more?: readonly PlainCase[];
  readonly refuses?: Plain["refuses"];
}

const WANTS_FLOAT = "takes floating point values; cast to float32 first";

function unary(fn: (x: number) => number, options: UnaryOptions = {}): Plain {
  const { fill = "signed", extremes, gradient = "smooth", more = [], refuses = [] } = options;
  const want = (x: readonly number[] = []): number[][] => [x.map(fn)];
  const of = (name: string, shape: readonly number[]): PlainCase => ({
    name,
    inputs: [random(shape, { fill })],
    params: {},
    types: [`float32[${shape.join()}]`],
    want,
  });
  const far: PlainCase[] =
    extremes === undefined
      ? []
      : [
          {
            name: "far out",
            inputs: [given([extremes.length], extremes)],
            params: {},
            types: [`float32[${extremes.length}]`],
            want,
            gradient: "none",
          },
        ];
  return {
    gradient,
    cases: [of("a scalar", []), of("odd axes", [3, 1, 5]), ...far, ...more],
    refuses: [{ inputs: [], params: {}, message: "0 inputs were given; pass 1" }, ...refuses],
  };
}

const floatOnly: Plain["refuses"] = [{ inputs: [typed([2], "i32")], params: {}, message: WANTS_FLOAT }];
const noBool: Plain["refuses"] = [{ inputs: [typed([2], "bool")], params: {}, message: "takes numbers; cast bool to another type first" }];

function float(fn: (x: number) => number, options: UnaryOptions = {}): Plain {
  return unary(fn, { ...options, refuses: floatOnly });
}

/** neg, abs, sign: for integers too. */
function signedUnary(fn: (x: number) => number, options: UnaryOptions = {}): Plain {
  const integers: PlainCase = {
    name: "int32",
    inputs: [given([4], [-3, 0, 5, 2], "i32")],
    params: {},
    types: ["int32[4]"],
    want: (x = []) => [x.map(fn)],
  };
  return unary(fn, { ...options, more: [integers], refuses: noBool });
}

interface BinaryOptions {
  readonly fill?: InputOptions["fill"];
  readonly integers?: boolean;
}

function binary(fn: (a: number, b: number) => number, { fill = "signed", integers = true }: BinaryOptions = {}): Plain {
  const pairs = (a: readonly number[] = [], b: readonly number[] = []): number[][] => [a.map((x, i) => fn(x, b[i] ?? NaN))];
  const whole: PlainCase = {
    name: "int32",
    inputs: [random([5], { dtype: "i32" }), random([5], { dtype: "i32", seed: 1 })],
    params: {},
    types: ["int32[5]"],
    want: pairs,
  };
  return {
    gradient: "smooth",
    cases: [
      {
        name: "equal shapes",
        inputs: [random([2, 3], { fill }), random([2, 3], { fill, seed: 1 })],
        params: {},
        types: ["float32[2,3]"],
        want: pairs,
      },
      {
        name: "both sides broadcast",
        inputs: [random([2, 1, 3], { fill }), random([5, 1], { fill, seed: 1 })],
        params: {},
        types: ["float32[2,5,3]"],
        want: (a = [], b = []) => [
          [0, 1].flatMap((i) => [0, 1, 2, 3, 4].flatMap((j) => [0, 1, 2].map((k) => fn(a[i * 3 + k] ?? NaN, b[j] ?? NaN)))),
        ],
      },
      {
        name: "a scalar on the left",
        inputs: [random([], { fill }), random([3], { fill, seed: 1 })],
        params: {},
        types: ["float32[3]"],
        want: ([a = NaN] = [], b = []) => [b.map((x) => fn(a, x))],
      },
      ...(integers ? [whole] : []),
    ],
    refuses: [
      { inputs: [typed([2])], params: {}, message: "1 inputs were given; pass 2" },
      {
        inputs: [typed([2, 3]), typed([2, 4])],
        params: {},
        message: "axis 1 is 3 on one side and 4 on the other; make them equal or one of them 1",
      },
      { inputs: [typed([2]), typed([2], "i32")], params: {}, message: "float32[2], int32[2]: element types differ; cast one of them" },
      { inputs: [typed([2], "bool"), typed([2], "bool")], params: {}, message: "cast" },
    ],
  };
}

const compareCase = (direction: "eq" | "ne" | "lt" | "le" | "gt" | "ge", want: readonly number[]): OpCase<"compare"> => ({
  name: direction,
  inputs: [given([3], [1, 2, 3]), given([2, 1], [2, 3])],
  params: { direction },
  types: ["bool[2,3]"],
  want: () => [want],
});

const cast = (
  name: string,
  {
    from,
    to,
    want,
  }: { from: OpCase<"cast">["inputs"][number]; to: OpCase<"cast">["params"]; want: readonly [type: string, data: readonly number[]] },
): OpCase<"cast"> => ({
  name,
  inputs: [from],
  params: to,
  types: [want[0]],
  want: () => [want[1]],
  gradient: "none",
});

/** Reference values of erf, from C's libm. */
const ERF: ReadonlyMap<number, number> = new Map([
  [0.5, 0.5204998778130465],
  [-1.5, -0.9661051464753108],
  [2.4, 0.999311486103355],
  [3, 0.9999779095030014],
  [-5, -0.9999999999984626],
]);

export const ELEMENTWISE_CASES: CaseTable<ElementwiseOp> = {
  neg: signedUnary((x) => -x),
  abs: signedUnary((x) => (x < 0 ? -x : x)),
  sign: signedUnary((x) => (x > 0 ? 1 : x < 0 ? -1 : 0), { gradient: NO_GRADIENT, extremes: [0, 1e30, -1e-30] }),
  exp: float((x) => Math.E ** x, { extremes: [-100, -20, 0, 20, 80] }),
  log: float((x) => Math.log10(x) / Math.log10(Math.E), { fill: "positive", extremes: [1e-30, 1, 1e30] }),
  sqrt: float((x) => x ** 0.5, { fill: "positive", extremes: [0, 1e-30, 1e30] }),
  rsqrt: float((x) => x ** -0.5, { fill: "positive", extremes: [1e-20, 1, 1e20] }),
  tanh: float((x) => 1 - 2 / (Math.E ** (2 * x) + 1), { extremes: [-40, -8, 0, 8, 40] }),
  relu: float((x) => (x > 0 ? x : 0), { extremes: [-40, 0, 40] }),
  sigmoid: float((x) => 1 - 1 / (1 + Math.E ** x), { extremes: [-20, 0, 20, 40] }),
  erf: float((x) => simpson((t) => (2 / Math.sqrt(Math.PI)) * Math.exp(-t * t), x), {
    more: [
      {
        name: "known values",
        inputs: [given([5], [...ERF.keys()])],
        params: {},
        types: ["float32[5]"],
        want: (x = []) => [x.map((v) => erfNear(v))],
        gradient: "none",
      },
    ],
  }),
  sin: float((x) => Math.cos(x - Math.PI / 2), { extremes: [-100, 0, 100] }),
  cos: float((x) => Math.sin(x + Math.PI / 2), { extremes: [-100, 0, 100] }),
  gelu: float((x) => x * (0.5 + simpson((t) => Math.exp((-t * t) / 2) / Math.sqrt(2 * Math.PI), x)), { extremes: [-4, 0, 4, 30] }),
  cast: {
    gradient: "smooth",
    cases: [
      { name: "float32 to float64", inputs: [random([2, 3])], params: { dtype: "f64" }, types: ["float64[2,3]"], want: (x = []) => [x] },
      cast("float32 to int32 drops the fraction", {
        from: given([4], [-1.7, -0.2, 0.9, 3]),
        to: { dtype: "i32" },
        want: ["int32[4]", [-1, 0, 0, 3]],
      }),
      cast("float32 to bool", { from: given([3], [0, -2, 0.5]), to: { dtype: "bool" }, want: ["bool[3]", [0, 1, 1]] }),
      cast("bool to float32", { from: given([2], [0, 1], "bool"), to: { dtype: "f32" }, want: ["float32[2]", [0, 1]] }),
      cast("int32 to float32", { from: given([2], [-7, 9], "i32"), to: { dtype: "f32" }, want: ["float32[2]", [-7, 9]] }),
      cast("int32 to int64", { from: given([2], [-7, 9], "i32"), to: { dtype: "i64" }, want: ["int64[2]", [-7, 9]] }),
      cast("float32 to bfloat16", { from: given([2], [1.5, -256], "f32"), to: { dtype: "bf16" }, want: ["bfloat16[2]", [1.5, -256]] }),
    ],
    refuses: [{ inputs: [], params: { dtype: "f32" }, message: "0 inputs were given; pass 1" }],
  },
  add: binary((a, b) => a + b),
  sub: binary((a, b) => a - b),
  mul: binary((a, b) => a * b),
  div: binary((a, b) => a / b, { integers: false }),
  min: binary((a, b) => (a < b ? a : b)),
  max: binary((a, b) => (a > b ? a : b)),
  compare: {
    gradient: NO_GRADIENT,
    cases: [
      compareCase("eq", [0, 1, 0, 0, 0, 1]),
      compareCase("ne", [1, 0, 1, 1, 1, 0]),
      compareCase("lt", [1, 0, 0, 1, 1, 0]),
      compareCase("le", [1, 1, 0, 1, 1, 1]),
      compareCase("gt", [0, 0, 1, 0, 0, 0]),
      compareCase("ge", [0, 1, 1, 0, 0, 1]),
      {
        name: "int32",
        inputs: [given([3], [1, 2, 3], "i32"), given([], [2], "i32")],
        params: { direction: "ge" },
        types: ["bool[3]"],
        want: () => [[0, 1, 1]],
      },
      {
        name: "bool",
        inputs: [given([2], [0, 1], "bool"), given([], [1], "bool")],
        params: { direction: "eq" },
        types: ["bool[2]"],
        want: () => [[0, 1]],
      },
    ],
    refuses: [
      { inputs: [typed([2], "bool"), typed([2], "bool")], params: { direction: "lt" }, message: "cast bool to another type first" },
      { inputs: [typed([2]), typed([3])], params: { direction: "lt" }, message: "axis 0 is 2 on one side and 3 on the other" },
    ],
  },
  select: {
    gradient: "smooth",
    cases: [
      {
        name: "all three broadcast",
        inputs: [given([2, 1], [0, 1], "bool"), random([3]), random([], { seed: 1 })],
        params: {},
        types: ["float32[2,3]"],
        want: (_, a = [], [b = NaN] = []) => [[b, b, b, ...a]],
      },
      {
        name: "int32",
        inputs: [given([3], [1, 0, 1], "bool"), given([3], [1, 2, 3], "i32"), given([3], [4, 5, 6], "i32")],
        params: {},
        types: ["int32[3]"],
        want: () => [[1, 5, 3]],
      },
      {
        name: "the other side may be infinite",
        inputs: [given([2], [1, 0], "bool"), given([2], [3, Infinity]), given([2], [Infinity, 4])],
        params: {},
        types: ["float32[2]"],
        want: () => [[3, 4]],
        gradient: "none",
      },
    ],
    refuses: [
      { inputs: [typed([2]), typed([2]), typed([2])], params: {}, message: "the first input is no bool; compare it with something" },
    ],
  },
  stopGradient: unary((x) => x, { gradient: NO_GRADIENT }),
  barrier: unary((x) => x),
  allReduce: {
    gradient: "smooth",
    cases: [
      { name: "one process", inputs: [random([2, 3])], params: { reduction: "sum" }, types: ["float32[2,3]"], want: (x = []) => [x] },
    ],
    refuses: [{ inputs: [], params: { reduction: "sum" }, message: "0 inputs were given; pass 1" }],
  },
};

/** ∫ of f from 0 to x by Simpson's rule. */
function simpson(f: (t: number) => number, x: number): number {
  const n = 2000;
  const h = x / n;
  let sum = f(0) + f(x);
  for (let i = 1; i < n; i++) sum += (i % 2 === 1 ? 4 : 2) * f(i * h);
  return (sum * h) / 3;
}

/** The known value, moved to the float32 nearest its argument by one step of Taylor's series. */
function erfNear(x: number): number {
  const [at, y] = [...ERF].reduce((best, known) => (Math.abs(known[0] - x) < Math.abs(best[0] - x) ? known : best));
  return y + (2 / Math.sqrt(Math.PI)) * Math.exp(-at * at) * (x - at);
}
