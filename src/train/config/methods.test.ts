import { expect, test } from "vitest";
import { CONFIG_KEYS, flatten, formatConfig, type MethodName, parseSet, planSteps, resolveConfig, type RunFacts } from "./index.ts";

const GB = 2 ** 30;
const CIFAR: RunFacts = { images: 10_000, medianSidePx: 32, cores: 2, memoryBytes: 16 * GB };
const IMAGENET: RunFacts = { images: 1_281_167, medianSidePx: 375, cores: 64, memoryBytes: 1024 * GB };
const BIG = { train: { batchSize: 64, accumulate: 32 } };
const METHODS: readonly MethodName[] = ["dino", "dinov2", "dinov3", "simclr"];

test("resolveConfig() gives DINOv2's published values for data and a batch of that size", () => {
  const { config, warnings } = resolveConfig({ method: "dinov2", model: { arch: "dinov2_vitl14" }, ...BIG }, IMAGENET);
  expect(config.crops).toMatchObject({
    globalSizePx: 224,
    localSizePx: 98,
    localCount: 8,
    globalScaleRange: [0.32, 1],
    localScaleRange: [0.05, 0.32],
  });
  expect(config.mask).toEqual({ probability: 0.5, ratioMin: 0.1, ratioMax: 0.5, fill: "under", shift: false });
  expect(config.head).toMatchObject({
    prototypes: 65_536,
    ibotSeparate: false,
    ibotPrototypes: 65_536,
    normLastLayer: false,
    lastLayer: "weight-norm",
  });
  expect(config.objective).toMatchObject({
    centering: "sinkhorn",
    ibotWeight: 1,
    koleoWeight: 0.1,
    koleoGroup: 64,
    koleoTopK: 1,
    localWeight: 1,
    localWeightEnd: 1,
    gramWeight: 0,
    warmupTeacherTemp: 0.04,
    teacherTemp: 0.07,
    warmupTeacherTempEpochs: 30,
  });
  // 4e-3 x sqrt(2048 / 1024)
  expect(config.optim).toMatchObject({
    lr: 5.66e-3,
    weightDecay: 0.04,
    weightDecayEnd: 0.4,
    decayRule: "dinov2",
    clipKind: "per-module",
    clipNorm: 3,
    layerDecay: 0.9,
    patchEmbedLrScale: 0.2,
    freezeLastLayerEpochs: 1,
  });
  expect(config.schedule).toMatchObject({ kind: "cosine", lrWarmupEpochs: 10, minLr: 1e-6, momentumTeacher: 0.992, momentumTeacherEnd: 1 });
  expect(config.model.dropPath).toBe(0.3);
  expect(warnings).toEqual([]);
});

test("resolveConfig() gives DINOv3 its own head, exact masks, groups of 16 and constant rates in a long run", () => {
  const { config, reasons } = resolveConfig({ method: "dinov3", model: { arch: "dinov3_vits16" }, ...BIG }, IMAGENET);
  expect(config.mask.fill).toBe("exact");
  expect(config.head).toMatchObject({ lastLayer: "plain", ibotSeparate: true, ibotPrototypes: 65_536 });
  expect(config.objective).toMatchObject({ koleoGroup: 16, gramWeight: 0 });
  expect(config.schedule).toMatchObject({ kind: "constant", momentumTeacher: 0.994, momentumTeacherEnd: 0.994, minLr: config.optim.lr });
  // 4 x 1e-3 x sqrt(2048 / 1024)
  expect(config.optim).toMatchObject({ lr: 5.66e-3, weightDecay: 0.04, weightDecayEnd: 0.04 });
  expect(reasons["schedule.kind"]).toMatch(/keeps its rates/);
  const short = resolveConfig({ method: "dinov3", train: { steps: 500 } }, CIFAR);
  expect(short.config.schedule.kind).toBe("cosine");
  expect(short.reasons["schedule.kind"]).toMatch(/500 steps are few/);
});

test("resolveConfig() keeps small networks and batches sane under the root rules", () => {
  for (const method of ["dinov2", "dinov3"] as const) {
    const { config, reasons } = resolveConfig({ method, train: { minutes: 10 } }, { ...CIFAR, measuredSteps: 1500 });
    expect(config.optim).toMatchObject({ lr: 1.41e-3, layerDecay: 1, patchEmbedLrScale: 1, weightDecayEnd: 0.04 });
    expect(config.head).toMatchObject({ prototypes: 512, ibotPrototypes: 512, hidden: 512, ibotHidden: 512, bottleneck: 128 });
    expect(config.objective).toMatchObject({ teacherTemp: 0.05, warmupTeacherTempEpochs: 0 });
    expect(config.schedule.momentumTeacher).toBeCloseTo(1 - 1 / 150, 3);
    expect(config.schedule.lrWarmupEpochs).toBeCloseTo(0.1 * (1500 / 78), 1);
    expect(config.train).toMatchObject({ minutes: 10, steps: 1500 });
    expect(reasons["optim.layerDecay"]).toMatch(/4 blocks are too few/);
    expect(resolveConfig({ method, train: { batchSize: 8, steps: 100 } }, CIFAR).config.optim.lr).toBe(3.54e-4);
  }
});

test("resolveConfig() feeds the iBOT head by masked patches, and warns of more prototypes than a step can feed", () => {
  const few = resolveConfig(
    { method: "dinov3", train: { batchSize: 8, steps: 100 }, crops: { globalSizePx: 32 }, model: { patchSizePx: 8, imageSizePx: 32 } },
    { ...CIFAR, images: 90_000 },
  );
  // 2 x 8 crops, half of them masked by 0.3 of 16 patches on average: 38 rows
  expect(few.config.head.ibotPrototypes).toBe(256);
  expect(few.reasons["head.ibotPrototypes"]).toContain("about 38 masked patches");
  expect(few.warnings).toEqual([]);
  const many = resolveConfig({ method: "dinov2", head: { prototypes: 8192 }, train: { batchSize: 64 } }, CIFAR);
  expect(many.config.head.ibotPrototypes).toBe(8192);
  expect(many.warnings).toEqual([
    "head.prototypes 8,192: a step of 64 images can feed about 256; lower it, or raise train.batchSize or train.accumulate",
  ]);
  const patches = resolveConfig({ method: "dinov3", head: { ibotPrototypes: 65_536 }, train: { batchSize: 16 } }, CIFAR);
  expect(patches.warnings).toEqual([
    expect.stringMatching(/^head\.ibotPrototypes 65,536: about 307 masked patches a step can feed about 512; lower it/),
  ]);
  expect(formatConfig(many)).toMatch(/\n# Warning: head\.prototypes 8,192: /);
  expect(resolveConfig({ ...BIG, head: { prototypes: 65_536 } }, IMAGENET).warnings).toEqual([]);
});

test("resolveConfig() gives SimCLR two crops, its colours and temperature, and no teacher", () => {
  const { config } = resolveConfig({ method: "simclr", model: { arch: "vit_small_patch16" } }, IMAGENET);
  expect(config.crops).toMatchObject({ localCount: 0, globalScaleRange: [0.08, 1] });
  expect(config.augment).toMatchObject({ brightness: 0.8, hue: 0.2, blurProb: [0.5, 0.5, 0.5], solarizeProb: [0, 0, 0] });
  expect(config.head).toMatchObject({ layers: 2, bottleneck: 128 });
  expect(config.objective).toMatchObject({ studentTemp: 0.1, ibotWeight: 0, koleoWeight: 0 });
  expect(config.schedule).toMatchObject({ momentumTeacher: 0, momentumTeacherEnd: 0 });
  expect(resolveConfig({ method: "simclr" }, CIFAR).config.objective.studentTemp).toBe(0.5);
});

test("resolveConfig() trains ResNets with SGD, and takes pictures off any grid for them", () => {
  const { config } = resolveConfig({ model: { arch: "resnet18", imageSizePx: 40 }, crops: { localSizePx: 20 } }, CIFAR);
  expect(config.optim).toMatchObject({ name: "sgd", lr: 0.015, weightDecay: 1e-4, weightDecayEnd: 1e-4 });
  expect(config.crops).toMatchObject({ globalSizePx: 40, localSizePx: 20 });
  expect(resolveConfig({ method: "simclr", model: { arch: "resnet18" } }, CIFAR).config.optim).toMatchObject({
    name: "lars",
    weightDecay: 1e-6,
  });
});

test("resolveConfig() leaves out iBOT where the network takes no masks", () => {
  const { config, reasons } = resolveConfig({ method: "dinov3", model: { arch: "convnext_tiny" } }, IMAGENET);
  expect(config.objective.ibotWeight).toBe(0);
  expect(reasons["objective.ibotWeight"]).toContain("takes no masked patches");
  expect(config.optim.layerDecay).toBe(1);
});

test("resolveConfig() blurs as the published code does, or as the paper means it", () => {
  const blur = (method: MethodName, how: "published" | "intended"): object =>
    resolveConfig({ method, augment: { blur: how }, model: { arch: "vit_small_patch16" } }, IMAGENET).config.augment.blurProb;
  expect(blur("dinov2", "published")).toEqual([0, 0.9, 0.5]);
  expect(blur("dinov3", "published")).toEqual([0, 0.9, 0.5]);
  expect(blur("dinov2", "intended")).toEqual([1, 0.1, 0.5]);
  for (const how of ["published", "intended"] as const) expect(blur("dino", how)).toEqual([1, 0.1, 0.5]);
  expect(resolveConfig(parseSet("augment.blurProb=[0.2, 0.2, 0.2]"), IMAGENET).config.augment.blurProb).toEqual([0.2, 0.2, 0.2]);
});

test("resolveConfig() has a reason for every key of every method", () => {
  for (const method of METHODS) {
    const resolved = resolveConfig({ method }, CIFAR);
    expect(Object.keys(resolved.reasons).sort()).toEqual([...CONFIG_KEYS].sort());
    expect(
      flatten(resolved.config)
        .map(([key]) => key)
        .sort(),
    ).toEqual([...CONFIG_KEYS].sort());
    expect(Object.values(resolved.reasons).every((reason) => reason.length > 3)).toBe(true);
    const printed = formatConfig(resolved);
    for (const key of CONFIG_KEYS) expect(printed).toContain(`${key} = `);
  }
});

test("resolveConfig() works for every method from one picture to a million, any side", () => {
  for (const method of METHODS)
    for (const images of [1, 3, 100, 5000, 400_000, 2_000_000])
      for (const medianSidePx of [1, 28, 48, 100, 224, 3000])
        for (const cores of [1, 64]) {
          const { config } = resolveConfig({ method }, { images, medianSidePx, cores, memoryBytes: 8 * GB });
          expect(config.train.batchSize * config.train.accumulate).toBeLessThanOrEqual(images);
          expect(planSteps(config, images).totalSteps).toBeGreaterThanOrEqual(2000);
        }
});

test("resolveConfig() of a run in minutes keeps its shapes once the speed is measured, for every method", () => {
  for (const method of METHODS) {
    const user = { method, train: { minutes: 2 } };
    const before = resolveConfig(user, CIFAR).config;
    const after = resolveConfig(user, { ...CIFAR, measuredSteps: 77 }).config;
    for (const section of ["model", "crops", "head", "augment", "mask"] as const) expect(after[section]).toEqual(before[section]);
    expect(after.train.batchSize).toBe(before.train.batchSize);
  }
});

test("resolveConfig() lowers the rate of weights that are given, and lets new heads settle first", () => {
  const fresh = resolveConfig({ method: "dinov2", train: { steps: 1000 } }, CIFAR).config;
  const { config, reasons } = resolveConfig({ method: "dinov2", init: { from: "weights" }, train: { steps: 1000 } }, CIFAR);
  expect(config.optim.lr).toBeCloseTo(fresh.optim.lr / 10, 9);
  expect(reasons["optim.lr"]).toMatch(/a tenth of the usual .* would undo what the weights know/);
  expect(config.init).toMatchObject({ from: "weights", headWarmupSteps: 100, loraRank: 0 });
  const lora = resolveConfig({ method: "dinov2", init: { from: "weights", loraRank: 8 }, train: { steps: 1000 } }, CIFAR).config;
  expect(lora.optim.lr).toBe(fresh.optim.lr);
  expect(lora.init.loraAlpha).toBe(8);
  const known = resolveConfig({ method: "dinov2", init: { from: "run" } }, { ...CIFAR, parent: fresh });
  expect(known.config.init.headWarmupSteps).toBe(0);
  expect(known.reasons["model.width"]).toBe("as in the run it goes on from");
});

test("resolveConfig() takes the network of foreign weights, and crops by the pictures", () => {
  const initModel = { arch: "dinov2_vits14", width: 384, depth: 12, heads: 6, patchSizePx: 14, imageSizePx: 518, layerScale: 1 };
  const { config, reasons } = resolveConfig({ method: "dinov2", init: { from: "facebook-dinov2-small" } }, { ...IMAGENET, initModel });
  expect(config.model).toMatchObject({ ...initModel, maskToken: true });
  expect(reasons["model.layerScale"]).toBe("as the weights to begin with have it");
  expect(config.crops).toMatchObject({ globalSizePx: 224, localSizePx: 98 });
});
