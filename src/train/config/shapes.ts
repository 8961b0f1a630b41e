/** @file What a run's networks see and are: everything that its step is compiled from but the batch. No rule here knows a length. */
import { type Chooser, inheriting, unused } from "./choose.ts";
import { largestBatch } from "./fit-memory.ts";
import type { Sized } from "./memory.ts";
import { settleAugment, settleCrops, settleMask } from "./rules-crops.ts";
import { settleGramSize, settleSizes } from "./rules-gram.ts";
import { settleHead } from "./rules-head.ts";
import { settleModel, viewSize } from "./rules-model.ts";
import { NO_PROTOTYPES, settleWeights } from "./rules-objective.ts";
import { settleData } from "./rules-output.ts";
import { intendedBatch, MEMORY_SHARE } from "./rules-run.ts";
import type { RunFacts, SectionName, TopName, TrainConfig, UserConfig } from "./types.ts";

/** KoLeo needs two images. */
const LEAST_BATCH = 2;

/** What all rules go by. */
export interface Settling {
  readonly user: UserConfig;
  readonly facts: RunFacts;
  readonly reasons: Record<string, string>;
  readonly chooser: <S extends SectionName>(section: S) => Chooser<TrainConfig[S]>;
}

export type Top = Pick<TrainConfig, TopName>;

export type Shapes = Pick<TrainConfig, "model" | "crops" | "augment" | "mask" | "head" | "data"> & {
  readonly weights: Pick<TrainConfig["objective"], "ibotWeight" | "gramWeight">;
  readonly gramSizePx: number;
};

/** What decides the memory that Gram anchoring takes. */
export function gramShape({ gram }: UserConfig, sizePx: number): Sized["gram"] {
  return { sizePx, useEma: gram?.useEma ?? false, level: gram?.level ?? "image" };
}

/** Settles the network, its heads and what they see; a later stage takes them over from the run before. */
export function settleShapes(settling: Settling, top: Top, distill: TrainConfig["distill"]): Shapes {
  const { user, facts, chooser } = settling;
  const { method, stage } = top;
  const byFeatures = distill.objective === "features";
  const idle = byFeatures ? NO_PROTOTYPES : undefined;
  const before = stage === "pretrain" ? undefined : facts.parent;
  const model = settleModel(chooser("model"), { user, facts, method, stage });
  const view = viewSize({ user, facts, method, stage }, model);
  const crops = settleCrops(inheriting(chooser("crops"), before?.crops), {
    model,
    students: byFeatures ? distill.students.map((student) => student.model) : [],
    matchesPictures: user.objective?.clsWeight !== 0,
    method,
    view,
  });
  const patches = Math.floor(crops.globalSizePx / model.patchSizePx) ** 2;
  const weights = settleWeights(chooser("objective"), { method, stage, model, byFeatures });
  const seen = {
    model,
    augment: settleAugment(inheriting(chooser("augment"), before?.augment), {
      crops,
      method,
      channels: model.channels,
      bands: facts.bands,
      teacher: facts.teacher,
    }),
    mask: settleMask(unused(inheriting(chooser("mask"), before?.mask), idle), { method, patches }),
    weights,
    gramSizePx: settleGramSize(chooser("gram"), { stage, facts, crops, model, gramWeight: weights.gramWeight }),
  };
  const head = settleHead(unused(inheriting(chooser("head"), before?.head), idle), {
    images: facts.images,
    model,
    batch: intendedBatch(user, crops),
    method,
    mask: seen.mask,
    patches,
  });
  const data = settleData(chooser("data"), { facts, path: user.data?.path ?? ".", channels: model.channels });
  const single = { ...seen, head, data, crops: { ...crops, sizes: [] } };
  return { ...single, crops: { ...crops, sizes: mixedSizes(settling, single, stage) } };
}

/** The mixture of sizes of which every one fits the memory with the smallest batch there can be. */
function mixedSizes({ user, facts, chooser }: Settling, shapes: Shapes, stage: TrainConfig["stage"]): TrainConfig["crops"]["sizes"] {
  const { crops, weights, gramSizePx } = shapes;
  const train = { batchSize: LEAST_BATCH, accumulate: 1, checkpointing: user.train?.checkpointing ?? false };
  return settleSizes(chooser("crops"), {
    stage,
    crops,
    model: shapes.model,
    objective: weights,
    medianSidePx: facts.medianSidePx,
    fits: (sizes) => {
      const sized = { ...shapes, crops: { ...crops, sizes }, objective: weights, gram: gramShape(user, gramSizePx), train };
      return largestBatch(sized, { from: LEAST_BATCH, bytes: MEMORY_SHARE * facts.memoryBytes }) >= LEAST_BATCH;
    },
  });
}
