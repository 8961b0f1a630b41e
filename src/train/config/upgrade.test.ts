import { expect, test } from "vitest";
import { CONFIG_KEYS, flatten, parseTrainConfig, resolveConfig, type RunFacts, type TrainConfig } from "./index.ts";

const FACTS: RunFacts = { images: 1000, medianSidePx: 32, cores: 2, memoryBytes: 2 ** 34 };
const now = resolveConfig({ train: { steps: 100, batchSize: 32, groupSize: 16 } }, FACTS).config;

/** Keys that the first release had. */
const OLD = new Set(
  `seed method model.arch model.depth model.width model.heads model.mlpRatio model.patchSizePx model.imageSizePx model.dropPath
  model.posInterpolation model.posEmbedInit head.prototypes head.hidden head.bottleneck head.layers head.batchNorm head.normLastLayer
  objective.centering objective.centerMomentum objective.sinkhornIterations objective.koleoWeight objective.studentTemp
  objective.teacherTemp objective.warmupTeacherTemp objective.warmupTeacherTempEpochs optim.name optim.lr optim.betas optim.eps
  optim.weightDecay optim.weightDecayEnd optim.clipNorm optim.clipKind optim.momentum optim.freezeLastLayerEpochs optim.layerDecay
  optim.patchEmbedLrScale schedule.lrWarmupEpochs schedule.minLr schedule.momentumTeacher schedule.momentumTeacherEnd`.split(/\s+/),
);
const WHOLE = /^(crops|augment|train|data|checkpoint|log|knn)\.(?!sizes|blur$)/;

/** A configuration as the first release wrote it. */
function older(config: TrainConfig): Record<string, unknown> {
  const old: Record<string, unknown> = {};
  for (const [key, value] of flatten(config)) {
    if (!OLD.has(key) && !WHOLE.test(key)) continue;
    const [section = "", name] = key.split(".");
    old[section] = name === undefined ? value : { ...(old[section] as object | undefined), [name]: value }; // a section is a flat object
  }
  return old;
}

test("parseTrainConfig() reads what the first release wrote, with what DINO does under the later keys", () => {
  const old = older(now);
  expect(Object.keys(old)).not.toContain("mask");
  const read = parseTrainConfig(JSON.parse(JSON.stringify(old)));
  expect(
    flatten(read)
      .map(([key]) => key)
      .sort(),
  ).toEqual([...CONFIG_KEYS].sort());
  // a probe that is off
  const { dense: _, ...rest } = read;
  const { dense: __, ...wanted } = now;
  expect(rest).toEqual(wanted);
  expect(read.objective.koleoGroup).toBe(16);
  expect(read.dense).toMatchObject({ train: null, imageSizePx: now.crops.globalSizePx });
});

test("parseTrainConfig() reads what a release without distillation by features wrote", () => {
  const { clsWeight: _, patchWeight: __, ...objective } = now.objective;
  const { objective: ___, ...distill } = now.distill;
  expect(parseTrainConfig({ ...now, objective, distill })).toEqual(now);
});

test("parseTrainConfig() fills in nothing where a configuration of this release lacks a key", () => {
  const { maskToken: _, ...model } = now.model;
  expect(() => parseTrainConfig({ ...now, model })).toThrow(/"model\.maskToken".*got nothing/);
  expect(() => parseTrainConfig({ ...older(now), head: 3 })).toThrow(/"head".*got 3, wanted an object/);
  expect(() => parseTrainConfig(null)).toThrow(/got null/);
});
