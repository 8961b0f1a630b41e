/** @file Positions of any grid, computed inside a model by plain operators: rotary tables and the matrix that resizes learned positions. */
import { InternalError } from "../../core/index.ts";
import type { Lowering, SymbolicContext } from "../../engine/onnx/index.ts";
import { headDim, type PosInterpolation, prefixTokens, ropePeriods, type ViTConfig } from "../../nn/index.ts";

const FLOAT = { attrs: { to: { int: 1 } } } as const;

/** Small float arithmetic in a model. */
class Math32 {
  readonly to: Lowering;

  constructor(to: Lowering) {
    this.to = to;
  }

  of(x: string | number): string {
    return typeof x === "number" ? this.to.f32(x) : x;
  }

  op(name: "Add" | "Sub" | "Mul" | "Div" | "Min" | "Max", a: string | number, b: string | number): string {
    return this.to.emit(name, [this.of(a), this.of(b)]);
  }

  /** An int64 `[1]` as a float. */
  float(n: string): string {
    return this.to.emit("Cast", [n], FLOAT);
  }

  /** `0.5, 1.5, …`, as many as `n` (int64 `[1]`) says. */
  centres(n: string): string {
    const scalar = (x: bigint): string => this.to.constant("i64", [], BigInt64Array.of(x));
    const count = this.to.emit("Squeeze", [n, this.to.i64([0])]);
    return this.op("Add", this.float(this.to.emit("Range", [scalar(0n), count, scalar(1n)])), 0.5);
  }

  unsqueeze(x: string, axes: readonly number[]): string {
    return this.to.emit("Unsqueeze", [x, this.to.i64(axes)]);
  }

  constant(shape: readonly number[], data: Float32Array): string {
    return this.to.constant("f32", shape, data);
  }

  /** Keys' cubic kernel at |x| = t, as `cubic` of the positions of `nn`. */
  cubic(t: string, a: number): string {
    const poly = (coefficients: readonly [number, ...number[]]): string => {
      const [first, ...rest] = coefficients; // Horner, from the highest power
      return rest.reduce<string>((y, c) => this.op("Add", this.op("Mul", y, t), c), this.of(first));
    };
    const below = (x: number): string => this.to.emit("Less", [t, this.of(x)]);
    const far = this.to.emit("Where", [below(2), poly([a, -5 * a, 8 * a, -4 * a]), this.of(0)]);
    return this.to.emit("Where", [below(1), poly([a + 2, -(a + 3), 0, 1]), far]);
  }
}

/** Angles `2π u / period` of one axis, `[n, periods]`. */
function angles(m: Math32, n: string, { divisor, periods }: { readonly divisor: string; readonly periods: Float64Array }): string {
  const u = m.op("Sub", m.op("Div", m.op("Mul", m.centres(n), 2), divisor), 1);
  const factors = m.constant(
    [1, periods.length],
    Float32Array.from(periods, (p) => (2 * Math.PI) / p),
  );
  return m.op("Mul", m.unsqueeze(u, [1]), factors);
}

/** `ropeTables` and `gridRotation` in a model: all tokens' `[t, headDim]`, the first half of the sines negated. DINOv3 spec §3.2. */
function rotary({ to, sizes }: SymbolicContext, config: ViTConfig, part: "Sin" | "Cos"): string {
  const m = new Math32(to);
  const dim = headDim(config);
  const periods = ropePeriods(config.rope ?? {}, dim);
  const [rows, columns] = [sizes.symbol("rows"), sizes.symbol("columns")];
  const { normalize = "separate" } = config.rope ?? {};
  const both = normalize === "separate" ? undefined : m.op(normalize === "max" ? "Max" : "Min", m.float(rows), m.float(columns));
  const y = angles(m, rows, { divisor: both ?? m.float(rows), periods });
  const x = angles(m, columns, { divisor: both ?? m.float(columns), periods });
  const grid = to.emit("Concat", [rows, columns, to.i64([periods.length])], { attrs: { axis: { int: 0 } } });
  const placed = [m.unsqueeze(y, [1]), m.unsqueeze(x, [0])].map((a) => to.emit("Expand", [a, grid]));
  const half = to.emit("Reshape", [to.emit("Concat", placed, { attrs: { axis: { int: 2 } } }), to.i64([-1, dim / 2])]);
  const values = to.emit(part, [half]);
  const halves = [part === "Sin" ? to.emit("Neg", [values]) : values, values];
  const patches = to.emit("Concat", halves, { attrs: { axis: { int: 1 } } });
  const before = prefixTokens(config);
  const still = m.constant([before, dim], new Float32Array(before * dim).fill(part === "Sin" ? 0 : 1));
  return to.emit("Concat", [still, patches], { attrs: { axis: { int: 0 } } });
}

interface Axis {
  readonly n: string;
  readonly from: number;
  readonly how: PosInterpolation;
  /** Whether the grid is that of the stored positions, bool `[1]`. */
  readonly isNative: string;
}

/** Weights `[n, from]` of plain bicubic interpolation: two places beyond each edge, which are folded into it. */
function plainWeights(m: Math32, { n, from, how, isNative }: Axis): string {
  const count = m.float(n);
  const scaled = m.op("Div", how === "meta-offset" ? m.op("Add", count, 0.1) : count, from);
  const scale = how === "meta-offset" ? m.to.emit("Where", [isNative, m.of(1), scaled]) : scaled;
  const centre = m.op("Sub", m.op("Div", m.centres(n), scale), 0.5);
  const places = Float32Array.from({ length: from + 4 }, (_, k) => k - 2);
  const t = m.to.emit("Abs", [m.op("Sub", m.unsqueeze(centre, [1]), m.constant([1, from + 4], places))]);
  const fold = new Float32Array((from + 4) * from);
  for (const [i, k] of places.entries()) fold[i * from + Math.min(from - 1, Math.max(0, k))] = 1;
  return m.to.emit("MatMul", [m.cubic(t, -0.75), m.constant([from + 4, from], fold)]);
}

/** Weights `[n, from]` of antialiased bicubic resizing. */
function antialiasWeights(m: Math32, { n, from }: Axis): string {
  const ratio = m.op("Div", from, m.float(n));
  const centre = m.op("Mul", m.centres(n), ratio);
  const places = m.constant(
    [1, from],
    Float32Array.from({ length: from }, (_, k) => k + 0.5),
  );
  const away = m.op("Div", m.op("Sub", places, m.unsqueeze(centre, [1])), m.op("Max", ratio, 1));
  const w = m.cubic(m.to.emit("Abs", [away]), -0.5);
  return m.op("Div", w, m.to.emit("ReduceSum", [w, m.to.i64([1])], { attrs: { keepdims: { int: 1 } } }));
}

/** `interpolationMatrix` in a model: `[rows·columns, from²]`. */
function resizing({ to, sizes }: SymbolicContext, config: ViTConfig): string {
  const m = new Math32(to);
  const from = config.imageSizePx / config.patchSizePx;
  const how = config.posInterpolation;
  const [rows, columns] = [sizes.symbol("rows"), sizes.symbol("columns")];
  const same = (n: string): string => to.emit("Equal", [n, to.i64([from])]);
  const isNative = how === "meta-offset" ? to.emit("And", [same(rows), same(columns)]) : "";
  const [y, x] = [rows, columns].map((n) => (how === "size-antialias" ? antialiasWeights : plainWeights)(m, { n, from, how, isNative }));
  const product = m.op("Mul", m.unsqueeze(y ?? "", [1, 3]), m.unsqueeze(x ?? "", [0, 2]));
  return to.emit("Reshape", [product, to.i64([-1, from * from])]);
}

/** A ViT's constant that depends on the size of pictures. `first` is its first value: sines of the class token are 0, cosines 1. */
export function positionTable(context: SymbolicContext, config: ViTConfig, first: number): string {
  if (config.positions !== "rope") return resizing(context, config);
  if (first !== 0 && first !== 1) throw new InternalError(`Cannot export positions: a table begins with ${first}`);
  return rotary(context, config, first === 0 ? "Sin" : "Cos");
}
