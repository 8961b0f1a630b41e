import { expect, test } from "vitest";
import {
  CONFIG_KEYS,
  flatten,
  formatConfig,
  mergeConfigs,
  parseSet,
  planSteps,
  resolveConfig,
  type RunFacts,
  type UserConfig,
} from "./index.ts";

const GB = 2 ** 30;
const CIFAR: RunFacts = { images: 10_000, medianSidePx: 32, cores: 2, memoryBytes: 16 * GB };
const IMAGENET: RunFacts = {
  images: 1_281_167,
  medianSidePx: 375,
  cores: 64,
  memoryBytes: 256 * GB,
};

test("resolveConfig() picks for small pictures what learned at small scale", () => {
  const { config, reasons } = resolveConfig({ train: { minutes: 4 } }, CIFAR);
  expect(config.model).toMatchObject({
    width: 96,
    depth: 4,
    heads: 3,
    patchSizePx: 4,
    imageSizePx: 32,
    dropPath: 0,
    posEmbedInit: "sincos",
  });
  expect(config.head.prototypes).toBe(512);
  expect(config.train).toMatchObject({
    batchSize: 128,
    accumulate: 1,
    epochs: null,
    steps: null,
    minutes: 4,
  });
  expect(config.objective).toMatchObject({
    centering: "sinkhorn",
    koleoWeight: 0.1,
    teacherTemp: 0.05,
    warmupTeacherTempEpochs: 0,
  });
  expect(config.crops).toMatchObject({ globalSizePx: 32, localSizePx: 16, localCount: 4 });
  expect(reasons["objective.centering"]).toContain("10,000 images are few");
});

test("resolveConfig() asks for no more prototypes than a step can feed", () => {
  const many = { ...CIFAR, images: 50_000 };
  expect(resolveConfig({}, many).config.head.prototypes).toBe(512);
  const small = resolveConfig({ train: { batchSize: 64 } }, many);
  expect(small.config.head.prototypes).toBe(256);
  expect(small.reasons["head.prototypes"]).toContain("what a step of 64 images can feed");
  expect(resolveConfig({ train: { batchSize: 64, accumulate: 8 } }, many).config.head.prototypes).toBe(2048);
  expect(resolveConfig({ head: { prototypes: 4096 } }, many).config.head.prototypes).toBe(4096);
});

test("resolveConfig() gives DINO's published values for data and a machine of that size", () => {
  const { config } = resolveConfig({ model: { arch: "vit_small_patch16" } }, IMAGENET);
  expect(config.model).toMatchObject({
    width: 384,
    depth: 12,
    heads: 6,
    patchSizePx: 16,
    imageSizePx: 224,
    dropPath: 0.1,
    posEmbedInit: "normal",
  });
  expect(config.head).toEqual({
    prototypes: 65_536,
    hidden: 2048,
    bottleneck: 256,
    layers: 3,
    batchNorm: false,
    normLastLayer: true,
    lastLayer: "weight-norm",
    ibotSeparate: false,
    ibotPrototypes: 65_536,
    ibotHidden: 2048,
    ibotBottleneck: 256,
  });
  expect(config.crops).toMatchObject({
    globalSizePx: 224,
    localSizePx: 96,
    localCount: 8,
    globalScaleRange: [0.4, 1],
    localScaleRange: [0.05, 0.4],
  });
  expect(config.train).toMatchObject({ epochs: 100, batchSize: 64 });
  expect(config.optim).toMatchObject({
    name: "adamw",
    lr: 1.25e-4,
    weightDecay: 0.04,
    weightDecayEnd: 0.4,
    clipNorm: 3,
    freezeLastLayerEpochs: 1,
  });
  expect(config.schedule).toMatchObject({ lrWarmupEpochs: 10, minLr: 1e-6, momentumTeacherEnd: 1 });
  const big = resolveConfig({ model: { arch: "dino_vits16" }, train: { batchSize: 64, accumulate: 16 } }, IMAGENET).config;
  expect(big.objective).toMatchObject({
    centering: "ema",
    koleoWeight: 0,
    teacherTemp: 0.04,
    centerMomentum: 0.9,
  });
  expect(big.schedule.momentumTeacher).toBe(0.996);
});

test("resolveConfig() has a reason for every key, and marks the user's values", () => {
  const user: UserConfig = {
    seed: 3,
    head: { prototypes: 100 },
    optim: { lr: 0.002 },
    train: { steps: 24 },
  };
  const { config, reasons } = resolveConfig(user, CIFAR);
  expect(Object.keys(reasons).sort()).toEqual([...CONFIG_KEYS].sort());
  expect(
    flatten(config)
      .map(([key]) => key)
      .sort(),
  ).toEqual([...CONFIG_KEYS].sort());
  const own = Object.keys(reasons).filter((key) => reasons[key] === "set by you");
  expect(own.sort()).toEqual(["head.prototypes", "optim.lr", "seed", "train.steps"]);
  expect([config.head.prototypes, config.optim.lr, config.seed]).toEqual([100, 0.002, 3]);
  expect(formatConfig({ config, reasons })).toMatch(/^train\.steps = 24 +# set by you$/m);
});

test("resolveConfig() shortens warm-ups and the teacher's memory in short runs", () => {
  const { config } = resolveConfig({ train: { epochs: 10 } }, CIFAR);
  expect(config.schedule.lrWarmupEpochs).toBe(1);
  expect(config.optim.freezeLastLayerEpochs).toBe(0.5);
  expect(config.schedule.momentumTeacher).toBeCloseTo(1 - 1 / 78, 3);
});

test("resolveConfig() of a run in minutes keeps its shapes once the speed is measured", () => {
  const user: UserConfig = { train: { minutes: 2 } };
  const before = resolveConfig(user, CIFAR).config;
  const after = resolveConfig(user, { ...CIFAR, measuredSteps: 300 });
  expect(after.config.train).toMatchObject({ minutes: 2, steps: 300, epochs: null });
  expect(after.reasons["train.steps"]).toBe("what 2 minutes came to at the speed measured");
  for (const section of ["model", "crops", "head", "augment"] as const) expect(after.config[section]).toEqual(before[section]);
  expect(after.config.train.batchSize).toBe(before.train.batchSize);
  expect(planSteps(before, CIFAR.images)).toEqual({ stepsPerEpoch: 78, totalSteps: undefined });
  expect(planSteps(after.config, CIFAR.images).totalSteps).toBe(300);
});

test("resolveConfig() shrinks the batch to the memory and accumulates the rest", () => {
  const { config, reasons } = resolveConfig({ model: { arch: "vit_small_patch16" } }, { ...IMAGENET, memoryBytes: 8 * GB });
  expect(config.train.batchSize).toBeLessThan(64);
  expect(config.train.batchSize * config.train.accumulate).toBe(64);
  expect(reasons["train.batchSize"]).toContain("memory");
});

test("resolveConfig() takes patch and sizes from a preset, and free sizes over it", () => {
  const { config } = resolveConfig({ model: { arch: "dino_vitt8", depth: 6 } }, { ...CIFAR, medianSidePx: 100 });
  expect(config.model).toMatchObject({
    arch: "dino_vitt8",
    width: 192,
    heads: 3,
    depth: 6,
    patchSizePx: 8,
    imageSizePx: 96,
  });
  const wide = resolveConfig({ model: { width: 128 } }, CIFAR).config.model;
  expect(wide).toMatchObject({ arch: "vit", width: 128, heads: 4, depth: 4 });
});

const REFUSED: readonly (readonly [string, UserConfig, RunFacts, RegExp])[] = [
  [
    "an image size off the patch grid",
    { model: { imageSizePx: 100, patchSizePx: 16 } },
    CIFAR,
    /model\.imageSizePx 100: .* patch size 16; use 96 or 112 \(any multiple of 16\)/,
  ],
  ["a local crop off the patch grid", { crops: { localSizePx: 18 } }, CIFAR, /crops\.localSizePx 18: .*use 16 or 20/],
  ["a batch larger than the data", { train: { batchSize: 20_000 } }, CIFAR, /one step needs 20000 images and the data has 10000/],
  [
    "accumulation larger than the data",
    { train: { batchSize: 100, accumulate: 101 } },
    CIFAR,
    /train\.batchSize 100 x train\.accumulate 101/,
  ],
  ["heads that do not divide the width", { model: { heads: 5 } }, CIFAR, /width 96 does not divide into 5 heads; use 1, 2, 3, 4, 6/],
  ["two lengths", { train: { epochs: 3, steps: 10 } }, CIFAR, /train\.epochs and train\.steps are both set; keep one/],
  [
    "a warm-up longer than the run",
    { train: { epochs: 2 }, schedule: { lrWarmupEpochs: 5 } },
    CIFAR,
    /schedule\.lrWarmupEpochs 5: the run has 2 epochs/,
  ],
  ["an unknown preset", { model: { arch: "vit_smal_patch16" } }, CIFAR, /did you mean "vit_small_patch16"\?/],
  ["no images", {}, { ...CIFAR, images: 0 }, /there are no images/],
];
test.each(REFUSED)("resolveConfig() refuses %s", (_, user, facts, message) => {
  expect(() => resolveConfig(user, facts)).toThrow(message);
});

test("resolveConfig() works from one picture to a million, any side", () => {
  for (const images of [1, 3, 100, 5000, 60_000, 400_000, 2_000_000])
    for (const medianSidePx of [1, 28, 48, 100, 224, 3000])
      for (const cores of [1, 64]) {
        const { config } = resolveConfig({}, { images, medianSidePx, cores, memoryBytes: 8 * GB });
        expect(config.train.batchSize * config.train.accumulate).toBeLessThanOrEqual(images);
        expect(planSteps(config, images).totalSteps).toBeGreaterThanOrEqual(2000);
      }
});

test("mergeConfigs() lays later values over earlier ones, and a length over another", () => {
  const merged = mergeConfigs({ seed: 1, train: { epochs: 5, batchSize: 8 } }, parseSet("train.steps=24"), { seed: 2 });
  expect(merged.seed).toBe(2);
  expect(merged.train).toEqual({ epochs: null, minutes: null, steps: 24, batchSize: 8 });
  expect(resolveConfig(merged, CIFAR).config.train.steps).toBe(24);
});
