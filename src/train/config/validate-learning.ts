/** @file Objectives, schedules and weights to begin with that contradict each other or the method. */
import { ConfigError } from "../../core/index.ts";
import { METHOD_TITLES } from "./choose.ts";
import type { TrainConfig } from "./types.ts";

function checkKoleo({ train, objective }: TrainConfig): void {
  const { koleoWeight, koleoGroup, koleoTopK } = objective;
  if (koleoWeight === 0) return;
  if (koleoGroup < 2)
    throw new ConfigError(
      "Cannot use objective.koleoWeight above 0: KoLeo compares the images of a group and there is one image; set train.batchSize=2 or more, or objective.koleoWeight=0",
      { keyPath: "objective.koleoWeight" },
    );
  if (train.batchSize % koleoGroup !== 0)
    throw new ConfigError(
      `Cannot use objective.koleoGroup ${koleoGroup}: a micro-batch of ${train.batchSize} does not divide into it; use ${train.batchSize} or a divisor of at least 2`,
      { keyPath: "objective.koleoGroup" },
    );
  if (koleoTopK >= koleoGroup)
    throw new ConfigError(
      `Cannot use objective.koleoTopK ${koleoTopK}: a group of ${koleoGroup} images has ${koleoGroup - 1} neighbours; use ${koleoGroup - 1} or fewer`,
      { keyPath: "objective.koleoTopK" },
    );
}

/** Parts of the loss that a method does not have. */
function checkMethod({ method, objective, model, head }: TrainConfig): void {
  const v3 = method === "dinov3";
  const lacking: readonly (readonly [keyPath: string, value: number, usual: number, what: string, has: boolean])[] = [
    ["objective.ibotWeight", objective.ibotWeight, 0, "iBOT", v3 || method === "dinov2"],
    ["objective.gramWeight", objective.gramWeight, 0, "Gram anchoring", v3],
    ["objective.localWeight", objective.localWeight, 1, "weight of local crops", v3],
    ["objective.localWeightEnd", objective.localWeightEnd, 1, "weight of local crops", v3],
  ];
  for (const [keyPath, value, usual, what, has] of lacking)
    if (!has && value !== usual)
      throw new ConfigError(
        `Cannot use ${keyPath} ${value}: ${METHOD_TITLES[method]} has no ${what}; leave it at ${usual}, or set method to "${what === "iBOT" ? "dinov2" : "dinov3"}"`,
        { keyPath },
      );
  if (objective.ibotWeight > 0 && model.family !== "vit")
    throw new ConfigError(
      `Cannot use objective.ibotWeight ${objective.ibotWeight}: a ${model.family} takes no masked patches; set objective.ibotWeight=0, or use a ViT`,
      { keyPath: "objective.ibotWeight" },
    );
  if (objective.ibotWeight > 0 && head.batchNorm)
    throw new ConfigError(
      "Cannot use head.batchNorm with iBOT: lists of masked patches are padded, and padding would count in the statistics; set head.batchNorm=false or objective.ibotWeight=0",
      { keyPath: "head.batchNorm" },
    );
  if (objective.ibotWeight > 0 && !head.ibotSeparate)
    for (const [key, own] of [
      ["ibotPrototypes", "prototypes"],
      ["ibotHidden", "hidden"],
      ["ibotBottleneck", "bottleneck"],
    ] as const)
      if (head[key] !== head[own])
        throw new ConfigError(
          `Cannot use head.${key} ${head[key]}: the DINO head with its ${head[own]} sees the patches too; set head.ibotSeparate=true, or leave head.${key} out`,
          { keyPath: `head.${key}` },
        );
}

/** With constant rates the values at the end are the first ones. */
function checkConstant({ schedule, optim }: TrainConfig): void {
  if (schedule.kind !== "constant") return;
  const ends = [
    ["optim.weightDecayEnd", optim.weightDecayEnd, optim.weightDecay, "optim.weightDecay"],
    ["schedule.momentumTeacherEnd", schedule.momentumTeacherEnd, schedule.momentumTeacher, "schedule.momentumTeacher"],
    ["schedule.minLr", schedule.minLr, optim.lr, "optim.lr"],
  ] as const;
  for (const [keyPath, end, first, other] of ends)
    if (end !== first)
      throw new ConfigError(
        `Cannot use ${keyPath} ${end}: schedule.kind is "constant" and ${other} is ${first}; leave it out, or set schedule.kind to "cosine"`,
        { keyPath },
      );
}

/** Adapters and frozen first steps belong to weights that are given; adapters to a ViT. */
function checkInit({ init, model }: TrainConfig): void {
  if (init.from === null && init.loraRank > 0)
    throw new ConfigError(`Cannot use init.loraRank ${init.loraRank}: adapters need weights to adapt; name some by --init (init.from)`, {
      keyPath: "init.loraRank",
    });
  if (init.loraRank > 0 && model.family !== "vit")
    throw new ConfigError(`Cannot use init.loraRank ${init.loraRank}: a ${model.family} has no attention to adapt; set init.loraRank=0`, {
      keyPath: "init.loraRank",
    });
  if (init.loraRank > model.width)
    throw new ConfigError(
      `Cannot use init.loraRank ${init.loraRank}: the network has width ${model.width}; use a rank below it, 4 to 16 by custom`,
      { keyPath: "init.loraRank" },
    );
}

/** Throws ConfigError for learning that contradicts itself or its method. */
export function checkLearning(config: TrainConfig): void {
  checkKoleo(config);
  checkMethod(config);
  checkConstant(config);
  checkInit(config);
}
