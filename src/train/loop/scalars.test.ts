import { describe, expect, test } from "vitest";
import { resolveConfig, type TrainConfig, type UserConfig } from "../config/index.ts";
import { scheduleScalars } from "./scalars.ts";

const FACTS = { images: 100_000, medianSidePx: 400, cores: 2, memoryBytes: 64 * 2 ** 30 };
const LENGTH = { stepsPerEpoch: 10, totalSteps: 100 };
const USER: UserConfig = { model: { arch: "vit_nano_patch8", imageSizePx: 64 }, train: { steps: 100, batchSize: 32 } };

function configOf(user: UserConfig, more: Partial<TrainConfig["objective"]> = {}): TrainConfig {
  const { config } = resolveConfig({ ...USER, ...user }, FACTS);
  return { ...config, objective: { ...config.objective, ...more } };
}

const WARM = { warmupTeacherTemp: 0.04, teacherTemp: 0.07, warmupTeacherTempEpochs: 4 };
const temps = (method: "dino" | "dinov2" | "dinov3"): number[] => {
  const at = scheduleScalars(configOf({ method }, WARM), LENGTH);
  return Array.from({ length: 100 }, (_, step) => at(step).teacherTemp);
};

describe("scheduleScalars()", () => {
  test("warms the teacher's temperature up epoch by epoch in DINO", () => {
    const dino = temps("dino");
    for (const [step, temp] of dino.entries()) expect(temp).toBeCloseTo([0.04, 0.05, 0.06, 0.07][Math.floor(step / 10)] ?? 0.07, 12);
  });

  test.each(["dinov2", "dinov3"] as const)(
    "warms the teacher's temperature up step by step in %s: lin(warm, final, n), then final",
    (method) => {
      for (const [step, temp] of temps(method).entries()) expect(temp).toBeCloseTo(step < 40 ? 0.04 + (0.03 * step) / 39 : 0.07, 12);
    },
  );

  test("holds the backbone and the last layer for their first steps", () => {
    const config = configOf({ method: "dinov2" });
    const at = scheduleScalars(
      { ...config, init: { ...config.init, headWarmupSteps: 7 }, optim: { ...config.optim, freezeLastLayerEpochs: 1 } },
      LENGTH,
    );
    expect([6, 7].map((step) => at(step).freezeBackbone)).toEqual([true, false]);
    expect([9, 10].map((step) => at(step).freezeLastLayer)).toEqual([true, false]);
  });

  test("weighs local crops by a cosine, and the Gram loss by a line that starts with its teacher", () => {
    const weights = { localWeight: 1, localWeightEnd: 0.5, gramWeight: 2, gramWeightWarmupSteps: 4 };
    const gram = { teacher: "a", updateEverySteps: 0, maxUpdates: 0 };
    const given = scheduleScalars(configOf({ method: "dinov3", objective: weights, gram }), LENGTH);
    expect([0, 1, 2, 4, 99].map((step) => given(step).inputs?.["gramWeight"])).toEqual([0, 0.5, 1, 2, 2]);
    expect([0, 50].map((step) => given(step).inputs?.["localWeight"])).toEqual([1, 0.75]);
    const copied = { firstUpdateStep: 25, updateEverySteps: 10, maxUpdates: 2 };
    const late = scheduleScalars(configOf({ method: "dinov3", objective: weights, gram: copied }), LENGTH);
    expect([29, 30, 31, 34].map((step) => late(step).inputs?.["gramWeight"])).toEqual([0, 0, 0.5, 2]);
  });
});
