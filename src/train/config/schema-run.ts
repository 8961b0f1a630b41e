/** @file The run itself, key by key: batch and length, pictures, checkpoints, logs, probes. */
import { z } from "zod";
import type { SectionSchema } from "./schema-section.ts";
import { choice, count, countOrZero, flag, notNegative, positive, share, text, wants } from "./schema-values.ts";

export const train: SectionSchema<"train"> = z.strictObject({
  epochs: positive.nullable(),
  steps: count.nullable(),
  minutes: positive.nullable(),
  batchSize: count,
  accumulate: count,
  checkpointing: flag,
  threads: count,
  groupSize: count,
});
export const data: SectionSchema<"data"> = z.strictObject({
  path: text,
  decode: choice("python", "managed"),
  alpha: choice("drop", "white", "black"),
  workers: count,
  cacheMb: notNegative,
});
export const checkpoint: SectionSchema<"checkpoint"> = z.strictObject({
  everySteps: count,
  keepLast: count,
  milestones: z.array(share, wants("a list of numbers from 0 to 1")),
});
export const log: SectionSchema<"log"> = z.strictObject({ everySteps: count, tensorboard: flag, imagesEverySteps: countOrZero });
export const knn: SectionSchema<"knn"> = z.strictObject({
  train: text.nullable(),
  test: text.nullable(),
  everyEpochs: positive,
  k: count,
  temperature: positive,
});
export const dense: SectionSchema<"dense"> = z.strictObject({
  train: text.nullable(),
  test: text.nullable(),
  everyEpochs: positive,
  k: count,
  imageSizePx: count,
});
