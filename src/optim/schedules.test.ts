import { describe, expect, test } from "vitest";
import {
  cosine,
  cosineToEnd,
  linear,
  perEpoch,
  scaleLr,
  teacherTemp,
  warmupThenConstant,
  type LrScaling,
  type Schedule,
} from "./schedules.ts";
import { goldenJson, hasGolden } from "./testing/golden.ts";

type Args = Readonly<Record<string, number>>;
const num = (a: Args, key: string): number => a[key] ?? 0;

const MAKERS: Readonly<Record<string, (a: Args) => Schedule>> = {
  v1_cosine: (a) =>
    cosine({
      base: num(a, "base"),
      final: num(a, "final"),
      totalSteps: num(a, "epochs") * num(a, "niter"),
      warmupSteps: num(a, "warmup_epochs") * num(a, "niter"),
      start: num(a, "start"),
    }),
  v2_cosine: (a) =>
    cosine({
      base: num(a, "base"),
      final: num(a, "final"),
      totalSteps: num(a, "total"),
      warmupSteps: num(a, "warm"),
      freezeSteps: num(a, "freeze"),
      truncExtra: num(a, "trunc"),
    }),
  teacher_temp: (a) => teacherTemp({ warm: num(a, "warm"), final: num(a, "final"), warmupEpochs: num(a, "warm_epochs") }),
  lightly_cosine: (a) => cosineToEnd({ start: num(a, "start_value"), final: num(a, "end_value"), totalSteps: num(a, "max_steps") }),
  lightly_train_linear_warmup: (a) => linear({ from: num(a, "start_value"), to: num(a, "end_value"), steps: num(a, "warmup_steps") }),
};

interface ScheduleGolden {
  readonly schedules: readonly { readonly kind: string; readonly args: Args; readonly values: readonly number[] }[];
  readonly lr_scaling: readonly { readonly rule: string; readonly base: number; readonly batch: number; readonly lr: number }[];
}

const near = (mine: number, reference: number): void =>
  expect(Math.abs(mine - reference)).toBeLessThanOrEqual(1e-9 * Math.abs(reference) + 1e-18);

describe.skipIf(!hasGolden("schedules"))("golden schedules", () => {
  const golden = hasGolden("schedules") ? goldenJson<ScheduleGolden>("schedules") : { schedules: [], lr_scaling: [] };
  const cases = golden.schedules.filter(({ kind }) => kind in MAKERS);

  test("every kind is covered but lightly's own warm-up, and DINOv3's cosine after a warm-up, which none of our runs has", () => {
    const others = new Set(golden.schedules.filter(({ kind }) => !(kind in MAKERS)).map(({ kind }) => kind));
    expect([...others].sort()).toEqual(["lightly_cosine_warmup", "v3_warmup_cosine"]);
  });

  test.each(cases.map((c) => [`${c.kind} ${JSON.stringify(c.args)}`, c] as const))("%s", (_, { kind, args, values }) => {
    const schedule = MAKERS[kind]?.(args);
    for (const [step, value] of values.entries()) near(schedule?.(step) ?? NaN, value);
  });

  test("scaleLr() meets the three published rules", () => {
    const rules: Readonly<Record<string, LrScaling>> = {
      "v1 linear /256": "linear-256",
      "v2 sqrt /1024": "sqrt-1024",
      "v3 4*sqrt /1024": "4sqrt-1024",
    };
    for (const { rule, base, batch, lr } of golden.lr_scaling) near(scaleLr(base, { batch, rule: rules[rule] ?? "linear-256" }), lr);
  });
});

test("cosine() reaches base at the last warm-up step and never quite reaches final", () => {
  const lr = cosine({ base: 1, final: 0, totalSteps: 20, warmupSteps: 5 });
  expect([lr(0), lr(4), lr(5)]).toEqual([0, 1, 1]);
  expect(lr(19)).toBeGreaterThan(0);
});

test("cosine() refuses steps outside and a warm-up longer than the run", () => {
  const lr = cosine({ base: 1, final: 0, totalSteps: 20 });
  expect(() => lr(20)).toThrow("Cannot read the schedule at step 20: it has 20 steps; ask for 0 to 19");
  expect(() => lr(-1)).toThrow(RangeError);
  expect(() => cosine({ base: 1, final: 0, totalSteps: 3, warmupSteps: 4 })).toThrow("shorten the warm-up");
  expect(() => cosine({ base: 1, final: 0, totalSteps: 2.5 })).toThrow("whole number");
});

test("warmupThenConstant() includes both ends of the line, linear() counts intervals", () => {
  expect([0, 1, 2, 3].map(warmupThenConstant({ value: 2, warmupSteps: 3 }))).toEqual([0, 1, 2, 2]);
  expect([0, 1, 2, 3].map(linear({ from: 0, to: 2, steps: 2 }))).toEqual([0, 1, 2, 2]);
});

test("perEpoch() holds an epoch's value through its steps", () => {
  const temp = perEpoch(teacherTemp({ warm: 0.04, final: 0.07, warmupEpochs: 2 }), 3);
  expect([0, 2, 3, 99].map(temp)).toEqual([0.04, 0.04, 0.07, 0.07]);
});
