import { expect, test } from "vitest";
import { CONFIG_KEYS, estimateMemory, resolveConfig, type RunFacts, sizesOf, type UserConfig } from "./index.ts";

const GB = 2 ** 30;
const FACTS: RunFacts = { images: 10_000, medianSidePx: 400, cores: 2, memoryBytes: 32 * GB };
const SMALL: UserConfig = { method: "dinov3", model: { arch: "vit_nano_patch8", imageSizePx: 64 }, train: { steps: 2000 } };
const PARENT = resolveConfig(SMALL, FACTS).config;
const GRAM: UserConfig = { method: "dinov3", stage: "gram", init: { from: "runs/v3" } };
const AFTER = { ...FACTS, parent: PARENT, parentSteps: 2000 };
const HIGHRES: UserConfig = { method: "dinov3", stage: "highres", init: { from: "runs/v3-gram" } };
const GRAM_RUN = resolveConfig(GRAM, AFTER).config;
const LATER = { ...FACTS, parent: GRAM_RUN, parentSteps: 400 };

test("stage gram takes network, heads, crops and masks of the run before, and anchors with weight 2", () => {
  const { config, reasons, warnings } = resolveConfig(GRAM, AFTER);
  for (const section of ["model", "head", "crops", "augment", "mask"] as const) expect(config[section]).toEqual(PARENT[section]);
  expect(reasons["model.width"]).toBe("as in the run it goes on from");
  expect(config.objective).toMatchObject({ gramWeight: 2, gramWeightWarmupSteps: 2, localWeight: 0.5, localWeightEnd: 0.5, ibotWeight: 1 });
  expect(config.objective).toMatchObject({ teacherTemp: PARENT.objective.teacherTemp, warmupTeacherTempEpochs: 0 });
  expect(config.gram).toEqual({
    teacher: null,
    sizePx: 128,
    useEma: false,
    firstUpdateStep: 20,
    updateEverySteps: 20,
    maxUpdates: 3,
    normalize: true,
    level: "image",
    removeNegative: false,
    removeOnlyTeacherNegative: false,
    tokens: "all",
  });
  expect(config.train).toMatchObject({ steps: 400, batchSize: PARENT.train.batchSize });
  expect(config.init.headWarmupSteps).toBe(0);
  expect(config.optim.freezeLastLayerEpochs).toBe(0);
  expect(warnings).toEqual([]);
  expect(Object.keys(reasons).sort()).toEqual([...CONFIG_KEYS].sort());
});

test("stage gram keeps the late rate of the run before: its constant one, or a tenth of a cosine's peak", () => {
  const { config, reasons } = resolveConfig(GRAM, AFTER);
  expect(config.schedule).toMatchObject({ kind: "constant", momentumTeacher: 0.975 });
  expect(config.optim.lr).toBeCloseTo(PARENT.optim.lr / 10, 9);
  expect(reasons["optim.lr"]).toContain("whose cosine has run out");
  const constant = resolveConfig({ ...SMALL, schedule: { kind: "constant" } }, FACTS).config;
  expect(resolveConfig(GRAM, { ...AFTER, parent: constant }).config.optim.lr).toBe(constant.optim.lr);
  const quarter = resolveConfig({ ...GRAM, train: { batchSize: 32 } }, { ...AFTER, parent: constant });
  expect(quarter.config.optim.lr).toBeCloseTo(constant.optim.lr / 2, 5);
  expect(quarter.reasons["optim.lr"]).toContain("x sqrt(32 / 128 images a step)");
});

test("stage gram lets its teacher see larger crops only where the pictures have them", () => {
  const { config, reasons } = resolveConfig(GRAM, { ...AFTER, medianSidePx: 100 });
  expect(config.gram.sizePx).toBe(0);
  expect(reasons["gram.sizePx"]).toBe("the pictures' median side is 100 px: a crop of 128 px would show no more");
  expect(resolveConfig({ ...GRAM, gram: { sizePx: 128 } }, { ...AFTER, medianSidePx: 100 }).warnings).toEqual([
    expect.stringMatching(/^crops of 128 px: the pictures' median side is 100 px/),
  ]);
});

test("stage gram with the moving teacher has no updates and no crops of its own", () => {
  const { config } = resolveConfig({ ...GRAM, gram: { useEma: true, sizePx: 0 } }, AFTER);
  expect(config.gram).toMatchObject({ useEma: true, updateEverySteps: 0, maxUpdates: 0, firstUpdateStep: 0, teacher: null });
});

test("stage highres mixes two and three times the sizes before, as DINOv3 does", () => {
  const { config, reasons } = resolveConfig(HIGHRES, LATER);
  // 64 and 32 px in whole patches of 8
  expect(config.crops.sizes).toEqual([
    { globalSizePx: 128, localSizePx: 32, gramSizePx: 192, ratio: 0.3 },
    { globalSizePx: 192, localSizePx: 32, gramSizePx: 288, ratio: 0.3 },
    { globalSizePx: 192, localSizePx: 48, gramSizePx: 288, ratio: 0.3 },
    { globalSizePx: 192, localSizePx: 64, gramSizePx: 288, ratio: 0.05 },
    { globalSizePx: 192, localSizePx: 96, gramSizePx: 288, ratio: 0.05 },
  ]);
  expect(reasons["crops.sizes"]).toBe("DINOv3's mixture of two and three times 64 px");
  expect(config.crops).toMatchObject({ globalSizePx: 64, localSizePx: 32 });
  expect(config.objective).toMatchObject({ gramWeight: 1.5, gramWeightWarmupSteps: 0, localWeight: 0.5 });
  expect(config.gram).toMatchObject({ updateEverySteps: 0, maxUpdates: 0 });
  expect(config.train).toMatchObject({ batchSize: 128, steps: 100 });
  expect(reasons["train.batchSize"]).toContain("fewer could not feed its 512 prototypes");
  expect(config.optim.lr / GRAM_RUN.optim.lr).toBeCloseTo(1.25 / 3, 2);
  expect(config.schedule.lrWarmupEpochs).toBeCloseTo(100 / 78 / 3, 3);
});

test("stage highres leaves out sizes that the pictures do not have, with ratios that still sum to 1", () => {
  const { config, reasons } = resolveConfig(HIGHRES, { ...LATER, medianSidePx: 150 });
  expect(config.crops.sizes).toEqual([{ globalSizePx: 128, localSizePx: 32, gramSizePx: 0, ratio: 1 }]);
  expect(reasons["crops.sizes"]).toContain("as far as pictures of 150 px and the memory reach");
  const small = resolveConfig(HIGHRES, { ...LATER, medianSidePx: 64 });
  expect(small.config.crops.sizes).toHaveLength(1);
  expect(small.warnings[0]).toMatch(/^crops of 128 px: the pictures' median side is 64 px, so that they are enlarged/);
});

test("stage highres leaves out sizes that do not fit the memory, and fits the batch to the rest", () => {
  const big: UserConfig = { method: "dinov3", model: { arch: "dinov3_vits16" }, train: { steps: 2000 } };
  const facts = { ...FACTS, medianSidePx: 2000 };
  const run = resolveConfig({ ...big, stage: "gram", init: { from: "a" } }, { ...facts, parent: resolveConfig(big, facts).config }).config;
  const at = (gb: number): ReturnType<typeof resolveConfig> => resolveConfig(HIGHRES, { ...facts, parent: run, memoryBytes: gb * GB });
  const [much, little] = [at(256).config, at(6).config];
  expect(much.crops.sizes).toHaveLength(5);
  expect(little.crops.sizes).toEqual([{ globalSizePx: 448, localSizePx: 96, gramSizePx: 672, ratio: 1 }]);
  // half of the 64 before, with its rate
  for (const { train, optim } of [much, little]) {
    expect(train.batchSize * train.accumulate).toBe(32);
    expect(optim.lr / run.optim.lr).toBeCloseTo((1.25 / 3) * Math.SQRT1_2, 2);
  }
  expect(estimateMemory(little).totalBytes).toBeLessThan(6 * GB);
  expect(sizesOf(little)).toEqual(little.crops.sizes);
  expect(() => at(2)).toThrow(/Cannot start training: 2 images with 10 crops each, globals up to 448 px, need about 3\.\d GB of memory/);
});

test("stage highres after a first stage says that dense features are repaired before", () => {
  expect(resolveConfig(HIGHRES, AFTER).warnings.join()).toMatch(
    /stage highres after stage pretrain: DINOv3 repairs dense features in a Gram stage first/,
  );
});

const REFUSED: readonly (readonly [string, UserConfig, RunFacts, RegExp])[] = [
  [
    "stage gram of another method",
    { method: "dinov2", stage: "gram", init: { from: "a" } },
    AFTER,
    /Cannot use stage "gram" with method "dinov2": only DINOv3 has it/,
  ],
  ["stage highres of DINO", { stage: "highres" }, AFTER, /Cannot use stage "highres" with method "dino"/],
  [
    "stage gram without a run before",
    { method: "dinov3", stage: "gram" },
    FACTS,
    /Cannot start stage "gram": there is no run to go on from; name a run of DINOv3 by --init/,
  ],
  ["stage gram after another method", GRAM, { ...AFTER, parent: { ...PARENT, method: "dinov2" } }, /was trained by method "dinov2"/],
  [
    "another patch size",
    { ...GRAM, model: { patchSizePx: 16 } },
    AFTER,
    /Cannot use model\.patchSizePx 16 in stage "gram": the run it goes on from has 8/,
  ],
  [
    "another width",
    { ...GRAM, model: { width: 192 } },
    AFTER,
    /Cannot use model\.width 192 in stage "gram": the run it goes on from has 96/,
  ],
  ["another number of registers", { ...GRAM, model: { registers: 0 } }, AFTER, /Cannot use model\.registers 0 .* has 4/],
  [
    "other prototypes",
    { ...HIGHRES, head: { prototypes: 300 } },
    LATER,
    /Cannot use head\.prototypes 300 in stage "highres": the run it goes on from has 512/,
  ],
  [
    "sizes off the grid",
    { ...HIGHRES, crops: { sizes: [{ globalSizePx: 100, localSizePx: 32, gramSizePx: 0, ratio: 1 }] } },
    LATER,
    /crops\.sizes 100: it is not a multiple of the patch size 8; use 96 or 104/,
  ],
  [
    "ratios that do not sum to 1",
    { ...HIGHRES, crops: { sizes: [{ globalSizePx: 96, localSizePx: 32, gramSizePx: 0, ratio: 0.7 }] } },
    LATER,
    /crops\.sizes: the ratios sum to 0\.7/,
  ],
  [
    "locals larger than globals",
    { ...HIGHRES, crops: { sizes: [{ globalSizePx: 96, localSizePx: 104, gramSizePx: 0, ratio: 1 }] } },
    LATER,
    /crops\.sizes with local crops of 104 px: they are larger than the global crops of 96 px/,
  ],
  [
    "a Gram teacher that sees less",
    { ...HIGHRES, crops: { sizes: [{ globalSizePx: 96, localSizePx: 32, gramSizePx: 64, ratio: 1 }] } },
    LATER,
    /gramSizePx 64: the Gram teacher would see less than the global crops of 96 px/,
  ],
  [
    "sizes that do not fit the memory",
    { ...HIGHRES, crops: { sizes: [{ globalSizePx: 4096, localSizePx: 32, gramSizePx: 0, ratio: 1 }] } },
    { ...LATER, memoryBytes: 4 * GB },
    /Cannot start training: \d+ images with \d+ crops each, globals up to 4096 px, need about \d+\.\d GB of memory and this machine has 4\.0 GB; set crops\.sizes to smaller crops/,
  ],
];
test.each(REFUSED)("resolveConfig() refuses %s", (_, user, facts, message) => {
  expect(() => resolveConfig(user, facts)).toThrow(message);
});

test("a later stage keeps the network: another preset is refused, the same one may be named", () => {
  const named = (arch: string): UserConfig => ({ ...GRAM, model: { arch } });
  expect(() => resolveConfig(named("vit_tiny_patch8"), AFTER)).toThrow(
    /^Cannot start stage "gram" with the network "vit_tiny_patch8": the run it goes on from has "vit_nano_patch8"; leave --model/,
  );
  expect(resolveConfig(named("vit_nano_patch8"), AFTER).config.model).toEqual(PARENT.model);
});
