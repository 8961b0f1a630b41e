import { expect, test } from "vitest";
import { resolveConfig, type ResolvedConfig, type RunFacts, type StudentModel, type UserConfig } from "./index.ts";

const FACTS: RunFacts = { images: 200_000, medianSidePx: 400, cores: 16, memoryBytes: 2 ** 36 };
const pupil = (arch: string): StudentModel => ({ name: arch, model: resolveConfig({ model: { arch } }, FACTS).config.model });
const TEACHER: RunFacts = {
  ...FACTS,
  initModel: {
    arch: "vit",
    family: "vit",
    width: 384,
    depth: 12,
    heads: 6,
    patchSizePx: 14,
    imageSizePx: 518,
    dropPath: 0,
    layerScale: 1e-5,
  },
  teacher: {
    objective: "features",
    why: "weights alone have no heads",
    method: "dinov2",
    sizePx: 224,
    mean: [0.1, 0.2, 0.3],
    std: [1, 2, 3],
  },
};

/** A distillation by features to networks of some names. */
function taught(archs: readonly string[], more: UserConfig = {}, facts: RunFacts = TEACHER): ResolvedConfig {
  return resolveConfig({ ...more, distill: { teacher: "weights", students: archs.map(pupil) } }, facts);
}

test("distillation by features has one optimizer and rate for students of all families, and what is of prototypes is not used", () => {
  const { config, reasons } = taught(["vit_tiny_patch16", "resnet18"]);
  expect(config).toMatchObject({
    method: "dinov2",
    distill: { objective: "features" },
    optim: { name: "adamw", lr: 1e-3, layerDecay: 1, patchEmbedLrScale: 1, freezeLastLayerEpochs: 0 },
    objective: { clsWeight: 1, patchWeight: 1, localWeight: 0.3, localWeightEnd: 0.3, koleoWeight: 0, ibotWeight: 0 },
    crops: { localCount: 2 },
    schedule: { kind: "cosine" },
    augment: { mean: [0.1, 0.2, 0.3], std: [1, 2, 3] },
  });
  expect(taught(["resnet18"]).config.optim.name).toBe("adamw");
  for (const key of ["head.prototypes", "head.hidden", "mask.probability", "objective.teacherTemp", "objective.centering"])
    expect(reasons[key], key).toBe("not used: students are held to features, not to prototypes");
  expect(reasons["method"]).toMatch(/those of DINOv2, whose kind the teacher is/);
  expect(taught(["vit_tiny_patch16"], { train: { batchSize: 256 } }).config.optim.lr).toBe(2e-3);
});

test("crops are whole patches of the teacher and of every student, local ones of the students, no larger than the teacher's pictures", () => {
  const sizes = (archs: readonly string[], facts = TEACHER): readonly number[] => {
    const { globalSizePx, localSizePx } = taught(archs, {}, facts).config.crops;
    return [globalSizePx, localSizePx];
  };
  expect(sizes(["vit_tiny_patch16"])).toEqual([224, 96]);
  expect(sizes(["convnext_tiny", "vit_tiny_patch16", "resnet18"])).toEqual([224, 96]);
  expect(sizes(["vit_tiny_patch14"])).toEqual([224, 98]);
  const small = { ...TEACHER, medianSidePx: 100 };
  expect(sizes(["vit_tiny_patch16"], small)[0]).toBe(112);
  expect(taught(["vit_tiny_patch16"], {}, small).reasons["crops.globalSizePx"]).toMatch(
    /patches of 14, 16 px are all whole at multiples of 112 px/,
  );
});

test("without a weight of class tokens there are no local crops", () => {
  const { config, reasons } = taught(["vit_tiny_patch16"], { objective: { clsWeight: 0 } });
  expect(config.crops.localCount).toBe(0);
  expect(reasons["crops.localCount"]).toMatch(/matched by their class token/);
});

test("a run without a teacher says so, and has the weights of features at 1, where they stay", () => {
  const { config, reasons } = resolveConfig({}, FACTS);
  expect([config.distill.objective, config.objective.clsWeight, config.objective.patchWeight]).toEqual(["prototypes", 1, 1]);
  expect([reasons["distill.objective"], reasons["objective.clsWeight"]]).toEqual([
    "no distillation",
    "not used: no distillation by features",
  ]);
});
