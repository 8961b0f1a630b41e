/** @file Cases of convolutions, pooling, and their gradients. */
import { NOT_TWICE } from "../../grad/index.ts";
import type { SpatialOp } from "../../ir/index.ts";
import { type CaseTable, given, type OpCase, random, typed } from "../op-case.ts";

type Numbers = readonly number[];
type Four = readonly [number, number, number, number];

interface Sizes {
  readonly x: Four;
  readonly w: Four;
  readonly strides?: readonly [number, number];
  readonly pads?: readonly [number, number];
  readonly groups?: number;
}

function outShape({ x, w, strides = [1, 1], pads = [0, 0] }: Sizes): Four {
  const along = (i: 0 | 1): number => Math.floor((x[i + 2]! + 2 * pads[i] - w[i + 2]!) / strides[i]) + 1; // axes 2 and 3 of four
  return [x[0], w[0], along(0), along(1)];
}

const at = ([, c, y, x]: Four, [i, j, k, l]: Numbers): number => (((i ?? 0) * c + (j ?? 0)) * y + (k ?? 0)) * x + (l ?? 0);

/** Every coordinate of a shape. */
function coordinates(shape: Numbers): number[][] {
  return shape.reduce<number[][]>((sofar, n) => sofar.flatMap((c) => Array.from({ length: n }, (_, i) => [...c, i])), [[]]);
}

/** Every product of a convolution by its definition: y[b,o,i,j] = Σ x[b,c,i·s+u−p,j·s+v−p] w[o,c,u,v]; flat places. */
function products(sizes: Sizes): [y: number, x: number, w: number][] {
  const { x, w, strides = [1, 1], pads = [0, 0], groups = 1 } = sizes;
  const y = outShape(sizes);
  return coordinates([...y, ...w.slice(1)]).flatMap(([b = 0, o = 0, i = 0, j = 0, c = 0, u = 0, v = 0]) => {
    const [row, column] = [i * strides[0] + u - pads[0], j * strides[1] + v - pads[1]];
    if (row < 0 || column < 0 || row >= x[2] || column >= x[3]) return [];
    const channel = groups === 1 ? c : o;
    return [[at(y, [b, o, i, j]), at(x, [b, channel, row, column]), at(w, [o, c, u, v])]];
  });
}

const size = (shape: Numbers): number => shape.reduce((a, b) => a * b, 1);

function summed(n: number, terms: readonly (readonly [number, number])[]): number[] {
  const out = Array<number>(n).fill(0);
  for (const [i, value] of terms) out[i] = (out[i] ?? NaN) + value;
  return out;
}

const show = (shape: Numbers): string => `float32[${shape.join()}]`;
const named = ({ x, w, strides = [1, 1], pads = [0, 0], groups = 1 }: Sizes): string =>
  `[${x.join()}] by [${w.join()}], strides ${strides.join()}, padding ${pads.join()}, groups ${groups}`;
const window = ({ strides = [1, 1], pads = [0, 0], groups = 1 }: Sizes) => ({ strides, pads, groups });

function convCase(sizes: Sizes, { bias = false, ...rest }: { bias?: boolean } & Partial<OpCase<"conv">> = {}): OpCase<"conv"> {
  const y = outShape(sizes);
  return {
    name: named(sizes) + (bias ? ", with a bias" : ""),
    inputs: [random(sizes.x), random(sizes.w, { seed: 1 }), ...(bias ? [random([sizes.w[0]], { seed: 2 })] : [])],
    params: window(sizes),
    types: [show(y)],
    want: (x = [], w = [], b = []) => {
      const sums = summed(
        size(y),
        products(sizes).map(([yi, xi, wi]) => [yi, (x[xi] ?? NaN) * (w[wi] ?? NaN)]),
      );
      return [sums.map((v, i) => v + (bias ? (b[Math.floor(i / (y[2] * y[3])) % y[1]] ?? NaN) : 0))];
    },
    ...rest,
  };
}

function inputGradCase(sizes: Sizes): OpCase<"convInputGrad"> {
  const y = outShape(sizes);
  return {
    name: named(sizes),
    inputs: [random(y, { seed: 9 }), random(sizes.w, { seed: 1 })],
    params: { ...window(sizes), size: [sizes.x[2], sizes.x[3]] },
    types: [show(sizes.x)],
    want: (dy = [], w = []) => [
      summed(
        size(sizes.x),
        products(sizes).map(([yi, xi, wi]) => [xi, (dy[yi] ?? NaN) * (w[wi] ?? NaN)]),
      ),
    ],
  };
}

function weightGradCase(sizes: Sizes, rest: Partial<OpCase<"convWeightGrad">> = {}): OpCase<"convWeightGrad"> {
  const y = outShape(sizes);
  return {
    name: named(sizes),
    inputs: [random(y, { seed: 9 }), random(sizes.x)],
    params: { ...window(sizes), kernel: [sizes.w[2], sizes.w[3]] },
    types: [show(sizes.w)],
    want: (dy = [], x = []) => [
      summed(
        size(sizes.w),
        products(sizes).map(([yi, xi, wi]) => [wi, (dy[yi] ?? NaN) * (x[xi] ?? NaN)]),
      ),
    ],
    tolerance: { atol: 5e-6, rtol: 1e-5 },
    ...rest,
  };
}

/** Its values are the interpreter's only: that code is the formula. */
function chunked(): OpCase<"convWeightGrad"> {
  const { want: _, ...one } = weightGradCase(CHUNKED);
  return { ...one, name: "images in chunks", tolerance: { atol: 2e-3, rtol: 1e-4 } };
}

const DENSE: Sizes = { x: [2, 3, 5, 6], w: [4, 3, 3, 3], pads: [1, 1] };
/** A stride that leaves rows and columns over, unlike on the two axes. */
const STRIDED: Sizes = { x: [2, 2, 8, 7], w: [3, 2, 3, 2], strides: [3, 2], pads: [1, 0] };
const POINTWISE: Sizes = { x: [2, 3, 2, 3], w: [2, 3, 1, 1] };
const POINTWISE_STRIDED: Sizes = { x: [1, 2, 4, 5], w: [3, 2, 1, 1], strides: [2, 2] };
const DEPTHWISE: Sizes = { x: [2, 3, 4, 5], w: [3, 1, 5, 3], pads: [2, 1], groups: 3 };
const DEPTHWISE_STRIDED: Sizes = { x: [2, 2, 6, 6], w: [2, 1, 3, 3], strides: [2, 2], pads: [1, 1], groups: 2 };
const DEPTHWISE_POINTWISE: Sizes = { x: [2, 3, 2, 2], w: [3, 1, 1, 1], groups: 3 };
const PATCHES: Sizes = { x: [1, 3, 4, 6], w: [2, 3, 2, 2], strides: [2, 2] };
const ONE_CHANNEL: Sizes = { x: [1, 1, 3, 3], w: [1, 1, 3, 3], pads: [1, 1] };
const ALL: readonly [Sizes, ...Sizes[]] = [
  DENSE,
  STRIDED,
  POINTWISE,
  POINTWISE_STRIDED,
  DEPTHWISE,
  DEPTHWISE_STRIDED,
  DEPTHWISE_POINTWISE,
  PATCHES,
  ONE_CHANNEL,
];
/** More columns than one chunk of images takes: 14 images, then one. */
const CHUNKED: Sizes = { x: [15, 64, 32, 32], w: [1, 64, 3, 3], pads: [1, 1] };

const same = <T, U>(items: readonly [T, ...T[]], fn: (item: T) => U): [U, ...U[]] => {
  const [first, ...rest] = items;
  return [fn(first), ...rest.map(fn)];
};

const PLAIN = { strides: [1, 1], pads: [0, 0], groups: 1 } as const;
const maps = (...shapes: Numbers[]) => shapes.map((s) => typed(s));

export const SPATIAL_CASES: CaseTable<SpatialOp> = {
  conv: {
    gradient: "smooth",
    cases: [
      ...same(ALL, (sizes) => convCase(sizes)),
      convCase(DENSE, { bias: true }),
      convCase(DEPTHWISE, { bias: true }),
      {
        name: "by hand: no flip",
        inputs: [given([1, 1, 2, 3], [1, 2, 3, 4, 5, 6]), given([1, 1, 1, 2], [10, 1])],
        params: PLAIN,
        types: ["float32[1,1,2,2]"],
        want: () => [[12, 23, 45, 56]],
      },
    ],
    refuses: [
      { inputs: maps([1, 3, 4, 4], [2, 2, 3, 3]), params: PLAIN, message: "weights for 2 channels meet 3; make them [out, 3, y, x]" },
      { inputs: maps([1, 4, 4, 4], [4, 2, 3, 3]), params: { ...PLAIN, groups: 2 }, message: "neither dense nor depthwise; use 1" },
      { inputs: maps([4, 4, 4], [2, 4, 3, 3]), params: PLAIN, message: "one has not four axes; maps are [batch, channel, y, x]" },
      { inputs: maps([1, 3, 2, 9], [2, 3, 3, 3]), params: PLAIN, message: "a window of 3 does not fit into 2 with padding 0; enlarge" },
      {
        inputs: maps([1, 3, 4, 4], [2, 3, 3, 3]),
        params: { ...PLAIN, pads: [3, 0] },
        message: "a padding of 3 does not fit a window of 3; use 0 to 2",
      },
      { inputs: maps([1, 3, 4, 4], [2, 3, 3, 3]), params: { ...PLAIN, strides: [1, 0] }, message: "a stride of 0 does not move on" },
      { inputs: maps([1, 3, 4, 4], [2, 3, 3, 3], [3]), params: PLAIN, message: "the bias does not fit; make it [2]" },
      { inputs: maps([1, 3, 4, 4]), params: PLAIN, message: "1 inputs were given; pass 2" },
      { inputs: [typed([1, 3, 4, 4]), typed([2, 3, 3, 3], "f64")], params: PLAIN, message: "element types differ; cast one of them" },
    ],
  },
  convInputGrad: {
    gradient: NOT_TWICE,
    cases: same(ALL, inputGradCase),
    refuses: [
      {
        inputs: maps([1, 2, 4, 4], [2, 3, 3, 3]),
        params: { ...PLAIN, size: [4, 4] },
        message: "the cotangent does not fit; pass that of float32[1,2,2,2]",
      },
      { inputs: maps([1, 2, 4, 4], [2, 3, 3, 3]), params: { ...PLAIN, size: [2, 4] }, message: "a window of 3 does not fit into 2" },
    ],
  },
  convWeightGrad: {
    gradient: NOT_TWICE,
    cases: [...same(ALL, (sizes) => weightGradCase(sizes)), chunked()],
    refuses: [
      {
        inputs: maps([1, 2, 4, 4], [1, 3, 4, 4]),
        params: { ...PLAIN, kernel: [3, 3] },
        message: "the cotangent does not fit; pass that of float32[1,2,2,2]",
      },
      { inputs: maps([1, 2, 4, 4], [1, 3, 4, 4]), params: { ...PLAIN, kernel: [0, 3] }, message: "a window of 0 is none; its sizes" },
    ],
  },
  maxPool: {
    gradient: "smooth",
    cases: [
      {
        name: "3 by 3, stride 2, padding 1",
        inputs: [random([2, 2, 5, 6], { fill: "apart" })],
        params: { kernel: [3, 3], strides: [2, 2], pads: [1, 1] },
        types: ["float32[2,2,3,3]"],
        want: (x = []) => [pooled(x)],
      },
      {
        name: "2 by 1, by hand",
        inputs: [given([1, 1, 2, 3], [1, 5, 3, 4, 2, 6])],
        params: { kernel: [2, 1], strides: [1, 1], pads: [0, 0] },
        types: ["float32[1,1,1,3]"],
        want: () => [[4, 5, 6]],
      },
      {
        name: "only negative values: padding is no maximum",
        inputs: [given([1, 1, 2, 2], [-4, -3, -2, -1])],
        params: { kernel: [3, 3], strides: [2, 2], pads: [1, 1] },
        types: ["float32[1,1,1,1]"],
        want: () => [[-1]],
      },
      {
        name: "equal values",
        inputs: [given([1, 1, 2, 3], [7, 7, 7, 7, 7, 7])],
        params: { kernel: [2, 2], strides: [1, 1], pads: [0, 0] },
        types: ["float32[1,1,1,2]"],
        want: () => [[7, 7]],
        gradient: "none",
      },
    ],
    refuses: [
      {
        inputs: [typed([2, 3, 3])],
        params: { kernel: [2, 2], strides: [1, 1], pads: [0, 0] },
        message: "one has not four axes; maps are [batch, channel, y, x]",
      },
      {
        inputs: [typed([1, 1, 3, 3], "i32")],
        params: { kernel: [2, 2], strides: [1, 1], pads: [0, 0] },
        message: "cast to float32 first",
      },
      {
        inputs: [typed([1, 1, 3, 3])],
        params: { kernel: [2, 4], strides: [1, 1], pads: [0, 0] },
        message: "a window of 4 does not fit into 3 with padding 0; enlarge the map",
      },
    ],
  },
  maxPoolGrad: {
    gradient: NOT_TWICE,
    cases: [
      {
        name: "windows that share their largest pixel",
        inputs: [given([1, 1, 1, 2], [10, 1]), given([1, 1, 2, 3], [1, 9, 2, 3, 4, 5])],
        params: { kernel: [2, 2], strides: [1, 1], pads: [0, 0] },
        types: ["float32[1,1,2,3]"],
        want: () => [[0, 11, 0, 0, 0, 0]],
      },
      {
        name: "equal values: the first of each window",
        inputs: [given([1, 1, 1, 2], [10, 1]), given([1, 1, 2, 3], [7, 7, 7, 7, 7, 7])],
        params: { kernel: [2, 2], strides: [1, 1], pads: [0, 0] },
        types: ["float32[1,1,2,3]"],
        want: () => [[10, 1, 0, 0, 0, 0]],
      },
    ],
    refuses: [
      {
        inputs: maps([1, 1, 2, 2], [1, 1, 2, 3]),
        params: { kernel: [2, 2], strides: [1, 1], pads: [0, 0] },
        message: "the cotangent does not fit; pass that of float32[1,1,1,2]",
      },
    ],
  },
};

/** 3 × 3 windows with stride 2 and padding 1 over maps `[4, 5, 6]`. */
function pooled(x: Numbers): number[] {
  const out: number[] = [];
  for (let map = 0; map < 4; map++)
    for (let i = 0; i < 3; i++)
      for (let j = 0; j < 3; j++) {
        const rows = [2 * i - 1, 2 * i, 2 * i + 1].filter((r) => r >= 0 && r < 5);
        const columns = [2 * j - 1, 2 * j, 2 * j + 1].filter((c) => c >= 0 && c < 6);
        out.push(Math.max(...rows.flatMap((r) => columns.map((c) => x[map * 30 + r * 6 + c] ?? NaN))));
      }
  return out;
}
