/** @file What is learned and how, key by key: objective, Gram anchoring, optimizer, schedules, weights to begin with, distillation. */
import { z } from "zod";
import { model } from "./schema-networks.ts";
import type { SectionSchema } from "./schema-section.ts";
import { choice, count, countOrZero, flag, notNegative, positive, rateBelow1, share, text, wants } from "./schema-values.ts";

export const objective: SectionSchema<"objective"> = z.strictObject({
  centering: choice("ema", "sinkhorn"),
  centerMomentum: share,
  sinkhornIterations: count,
  koleoWeight: notNegative,
  koleoGroup: count,
  koleoTopK: count,
  ibotWeight: notNegative,
  localWeight: notNegative,
  localWeightEnd: notNegative,
  clsWeight: notNegative,
  patchWeight: notNegative,
  gramWeight: notNegative,
  gramWeightWarmupSteps: countOrZero,
  studentTemp: positive,
  teacherTemp: positive,
  warmupTeacherTemp: positive,
  warmupTeacherTempEpochs: notNegative,
});
export const gram: SectionSchema<"gram"> = z.strictObject({
  teacher: text.nullable(),
  sizePx: countOrZero,
  useEma: flag,
  firstUpdateStep: countOrZero,
  updateEverySteps: countOrZero,
  maxUpdates: countOrZero,
  normalize: flag,
  level: choice("image", "batch"),
  removeNegative: flag,
  removeOnlyTeacherNegative: flag,
  tokens: choice("all", "masked", "unmasked"),
});
export const optim: SectionSchema<"optim"> = z.strictObject({
  name: choice("adamw", "sgd", "lars"),
  lr: positive,
  betas: z.tuple([rateBelow1, rateBelow1], wants("two numbers, each from 0 to below 1")),
  eps: positive,
  weightDecay: notNegative,
  weightDecayEnd: notNegative,
  decayRule: choice("dino", "dinov2"),
  clipNorm: positive,
  clipKind: choice("none", "per-parameter", "global", "per-module"),
  momentum: rateBelow1,
  freezeLastLayerEpochs: notNegative,
  layerDecay: positive.max(1, wants("a number above 0 and up to 1")),
  patchEmbedLrScale: notNegative,
});
export const schedule: SectionSchema<"schedule"> = z.strictObject({
  kind: choice("cosine", "constant"),
  lrWarmupEpochs: notNegative,
  minLr: notNegative,
  momentumTeacher: share,
  momentumTeacherEnd: share,
});
export const init: SectionSchema<"init"> = z.strictObject({
  from: text.nullable(),
  allowPartial: flag,
  loraRank: countOrZero,
  loraAlpha: positive,
  headWarmupSteps: countOrZero,
});
export const distill: SectionSchema<"distill"> = z.strictObject({
  teacher: text.nullable(),
  objective: choice("prototypes", "features"),
  students: z.array(z.strictObject({ name: text, model })),
});
