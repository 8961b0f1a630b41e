/** @file Parameters: a model says which it has, their shapes and how they start; values live elsewhere. */
import { InternalError, type Rng, type Shape, sizeOf } from "../core/index.ts";
import type { Builder, Tensor } from "../engine/trace/index.ts";

/** How a parameter starts. */
export type Init =
  | { readonly kind: "zeros" }
  | { readonly kind: "ones" }
  | { readonly kind: "constant"; readonly value: number }
  /** N(0, std) cut at ±2 (absolute), as the reference's `trunc_normal_`. */
  | { readonly kind: "truncNormal"; readonly std: number }
  /** N(0, std). */
  | { readonly kind: "normal"; readonly std: number }
  /** U(−bound, bound). */
  | { readonly kind: "uniform"; readonly bound: number }
  /** Sines and cosines of a square grid's columns, then rows, laid out as in MAE; the class position is 0. */
  | { readonly kind: "sincos"; readonly side: number; readonly width: number };

export interface ParamSpec {
  readonly name: string;
  readonly shape: Shape;
  readonly init: Init;
}

/** A low-rank addition to a linear layer: `scale · up · down`, down `[r, in]`, up `[out, r]`. */
export interface LowRank {
  readonly down: Tensor;
  readonly up: Tensor;
  readonly scale: number;
}

/** Gives the traced tensor of a parameter by name. */
export interface Params {
  (name: string): Tensor;
  /** The addition to the linear layer whose parameters are `linear + "weight"` and so on, if it is adapted. */
  readonly lowRank?: (linear: string) => LowRank | undefined;
}

const FILL: {
  readonly [K in Init["kind"]]: (init: Extract<Init, { kind: K }>, rng: Rng) => () => number;
} = {
  zeros: () => () => 0,
  ones: () => () => 1,
  constant:
    ({ value }) =>
    () =>
      value,
  truncNormal:
    ({ std }, rng) =>
    () =>
      rng.truncNormal(std),
  normal:
    ({ std }, rng) =>
    () =>
      rng.normal(0, std),
  uniform:
    ({ bound }, rng) =>
    () =>
      rng.uniform(-bound, bound),
  sincos: ({ side, width }) => {
    let at = 0;
    return () => sincosAt(at++, side, width);
  },
};

/** Value `flat` of `[1 + side², width]`: a quarter of the width each for sin x, cos x, sin y, cos y. */
function sincosAt(flat: number, side: number, width: number): number {
  const [token, i] = [Math.floor(flat / width) - 1, flat % width];
  if (token < 0) return 0;
  const quarter = width / 4;
  const position = i < 2 * quarter ? token % side : Math.floor(token / side);
  const angle = position / 10_000 ** ((i % quarter) / quarter);
  return Math.floor(i / quarter) % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
}

/** Writes a parameter's start values; each parameter draws from its own stream, so adding one does not change the others. */
export function initParam(spec: ParamSpec, out: Float32Array, rng: Rng): void {
  if (out.length !== sizeOf(spec.shape)) throw new InternalError(`Cannot start "${spec.name}": its buffer has ${out.length} values`);
  const make: (init: never, rng: Rng) => () => number = FILL[spec.init.kind];
  const next = make(spec.init as never, rng.split(`init/${spec.name}`)); // the table is keyed by the same kind
  for (let i = 0; i < out.length; i++) out[i] = next();
}

/** Adds every parameter as a graph input under `prefix` and gives the lookup. */
export function traceParams(builder: Builder, specs: readonly ParamSpec[], { prefix = "" }: { readonly prefix?: string } = {}): Params {
  const tensors = new Map(specs.map((s) => [s.name, builder.input(`${prefix}${s.name}`, s.shape, { kind: "param" })]));
  return (name) => {
    const t = tensors.get(name);
    if (t === undefined) throw new InternalError(`Cannot find parameter "${name}": the model has none of that name`);
    return t;
  };
}

/** A lookup below a prefix: `scoped(params, "blocks.3.")("norm1.weight")`. */
export function scoped(params: Params, prefix: string): Params {
  const { lowRank } = params;
  const inner = (name: string): Tensor => params(prefix + name);
  return lowRank === undefined ? inner : Object.assign(inner, { lowRank: (linear: string) => lowRank(prefix + linear) });
}

/** The same specs under a prefix. */
export function prefixed(specs: readonly ParamSpec[], prefix: string): ParamSpec[] {
  return specs.map((s) => ({ ...s, name: prefix + s.name }));
}

/** Weight `[out, in]` and bias (unless `bias: false`) of a linear layer, started as the reference does: trunc_normal(.02) and 0. */
export function linearSpecs(name: string, width: { readonly in: number; readonly out: number; readonly bias?: boolean }): ParamSpec[] {
  const weight: ParamSpec = { name: `${name}.weight`, shape: [width.out, width.in], init: { kind: "truncNormal", std: 0.02 } };
  return width.bias === false ? [weight] : [weight, { name: `${name}.bias`, shape: [width.out], init: { kind: "zeros" } }];
}

export function normSpecs(name: string, width: number): ParamSpec[] {
  return [
    { name: `${name}.weight`, shape: [width], init: { kind: "ones" } },
    { name: `${name}.bias`, shape: [width], init: { kind: "zeros" } },
  ];
}
