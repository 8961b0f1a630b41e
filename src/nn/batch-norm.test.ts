import { describe, expect, test } from "vitest";
import { Rng } from "../core/index.ts";
import { expectClose } from "../core/testing/golden.ts";
import { Builder, type Tensor } from "../engine/trace/index.ts";
import { batchNorm, batchNormSpecs, batchNormState } from "./batch-norm.ts";
import { traceParams } from "./params.ts";
import { runBoth } from "./testing/run-both.ts";

const draw = (name: string, n: number, [lo, hi]: readonly [number, number]): Float32Array => {
  const rng = new Rng(3, name);
  return Float32Array.from({ length: n }, () => rng.uniform(lo, hi));
};

const CHANNELS = 3;
const VALUES = {
  "bn.weight": draw("weight", CHANNELS, [0.5, 1.5]),
  "bn.bias": draw("bias", CHANNELS, [-1, 1]),
  "bn.running_mean": draw("mean", CHANNELS, [-1, 1]),
  "bn.running_var": draw("var", CHANNELS, [0.5, 2]),
};

/** The values of each channel of x, whose channels lie along axis 1. */
function byChannel(x: ArrayLike<number>, shape: readonly number[]): number[][] {
  const inner = shape.slice(2).reduce((a, b) => a * b, 1);
  return Array.from({ length: CHANNELS }, (_, c) => Array.from(x).filter((_value, i) => Math.floor(i / inner) % CHANNELS === c));
}

const meanOf = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0) / xs.length;
const squares = (xs: readonly number[]): number => xs.reduce((a, b) => a + (b - meanOf(xs)) ** 2, 0);

function trace(shape: readonly number[], training: boolean): Builder {
  const builder = new Builder();
  const params = traceParams(builder, batchNormSpecs("bn", CHANNELS));
  const states = new Map(batchNormState("bn", CHANNELS).map((s) => [s.name, builder.input(s.name, s.shape, { kind: "state" })]));
  const x = builder.input("x", shape);
  const y = batchNorm(params, x, {
    name: "bn",
    state: (name) => states.get(name) ?? x,
    ...(training ? { onState: (name: string, next: Tensor) => builder.output(`next.${name}`, next) } : {}),
  });
  builder.output("y", y);
  return builder;
}

const TOLERANCE = { atol: 2e-6, rtol: 1e-5 };

describe.each([[[5, CHANNELS]], [[2, CHANNELS, 3, 2]]])("batchNorm() of [%s]", (shape) => {
  const x = draw(
    "x",
    shape.reduce((a, b) => a * b, 1),
    [-2, 3],
  );
  const channels = byChannel(x, shape);
  const normed = (means: readonly number[], variances: readonly number[]) => (value: number, c: number) =>
    ((value - (means[c] ?? NaN)) / Math.sqrt((variances[c] ?? NaN) + 1e-5)) * (VALUES["bn.weight"][c] ?? NaN) +
    (VALUES["bn.bias"][c] ?? NaN);

  test("uses the running statistics where it does not train", async () => {
    const apply = normed(Array.from(VALUES["bn.running_mean"]), Array.from(VALUES["bn.running_var"]));
    for (const [where, y] of await runBoth(trace(shape, false), new Map(Object.entries({ ...VALUES, x }))))
      byChannel(y.get("y") ?? [], shape).forEach((got, c) =>
        expectClose(
          got,
          (channels[c] ?? []).map((v) => apply(v, c)),
          { ...TOLERANCE, what: `${where}, channel ${c}` },
        ),
      );
  });

  test("trains on the batch: biased variance normalises, the unbiased one moves the running one by a tenth", async () => {
    const means = channels.map(meanOf);
    const apply = normed(
      means,
      channels.map((xs) => squares(xs) / xs.length),
    );
    for (const [where, y] of await runBoth(trace(shape, true), new Map(Object.entries({ ...VALUES, x })))) {
      byChannel(y.get("y") ?? [], shape).forEach((got, c) =>
        expectClose(
          got,
          (channels[c] ?? []).map((v) => apply(v, c)),
          { ...TOLERANCE, what: `${where}, channel ${c}` },
        ),
      );
      const moved = (old: Float32Array, now: (xs: readonly number[]) => number): number[] =>
        channels.map((xs, c) => 0.9 * (old[c] ?? NaN) + 0.1 * now(xs));
      expectClose(y.get("next.bn.running_mean") ?? [], moved(VALUES["bn.running_mean"], meanOf), { ...TOLERANCE, what: "mean" });
      const unbiased = (xs: readonly number[]): number => squares(xs) / (xs.length - 1);
      expectClose(y.get("next.bn.running_var") ?? [], moved(VALUES["bn.running_var"], unbiased), { ...TOLERANCE, what: "variance" });
    }
  });
});

describe("batchNorm()", () => {
  test("refuses a single value a channel in training, and to work without state", () => {
    expect(() => trace([1, CHANNELS], true)).toThrow("Cannot train batch norm on float32[1,3]: a channel has 1 value; give more images");
    expect(() => trace([1, CHANNELS], false)).not.toThrow();
    const builder = new Builder();
    const params = traceParams(builder, batchNormSpecs("bn", CHANNELS));
    expect(() => batchNorm(params, builder.input("x", [2, CHANNELS]), { name: "bn" })).toThrow(
      'Cannot apply batch norm "bn": it has no running statistics; pass the state of the network',
    );
  });
});
