/** @file Objectives, schedules and weights to begin with that contradict each other or the method. */
import { ConfigError } from "../../core/index.ts";
import { METHOD_TITLES } from "./choose.ts";
import type { TrainConfig } from "./types.ts";
import { checkDistill } from "./validate-distill.ts";

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
function checkMethod({ method, objective, distill }: TrainConfig): void {
  const byFeatures = distill.objective === "features";
  const v3 = method === "dinov3";
  const lacking: readonly (readonly [keyPath: string, value: number, usual: number, what: string, has: boolean])[] = [
    ["objective.ibotWeight", objective.ibotWeight, 0, "iBOT", v3 || method === "dinov2"],
    ["objective.gramWeight", objective.gramWeight, 0, "Gram anchoring", v3],
    ["objective.localWeight", objective.localWeight, 1, "weight of local crops", v3 || byFeatures],
    ["objective.localWeightEnd", objective.localWeightEnd, 1, "weight of local crops", v3 || byFeatures],
  ];
  for (const [keyPath, value, usual, what, has] of lacking)
    if (!has && value !== usual)
      throw new ConfigError(
        `Cannot use ${keyPath} ${value}: ${METHOD_TITLES[method]} has no ${what}; leave it at ${usual}, or set method to "${what === "iBOT" ? "dinov2" : "dinov3"}"`,
        { keyPath },
      );
}

/** Masked patches want a ViT, a head without batch norm, and sizes of their own head where it is one. */
function checkIbot({ objective, model, head }: TrainConfig): void {
  if (objective.ibotWeight === 0) return;
  if (model.family !== "vit")
    throw new ConfigError(
      `Cannot use objective.ibotWeight ${objective.ibotWeight}: a ${model.family} takes no masked patches; set objective.ibotWeight=0, or use a ViT`,
      { keyPath: "objective.ibotWeight" },
    );
  if (head.batchNorm)
    throw new ConfigError(
      "Cannot use head.batchNorm with iBOT: lists of masked patches are padded, and padding would count in the statistics; set head.batchNorm=false or objective.ibotWeight=0",
      { keyPath: "head.batchNorm" },
    );
  if (!head.ibotSeparate)
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

/** A rate by layer is for a ViT's blocks. */
function checkLayers({ optim, model }: TrainConfig): void {
  if (model.family === "vit" || optim.layerDecay === 1) return;
  throw new ConfigError(
    `Cannot use optim.layerDecay ${optim.layerDecay}: the stages of a ${model.family} all learn at one rate; set optim.layerDecay=1`,
    { keyPath: "optim.layerDecay" },
  );
}

/** Where adapters cannot be, and why. */
function whyNoAdapters({ init, model, stage, distill, objective, gram }: TrainConfig): string | undefined {
  if (init.from === null) return "adapters need weights to adapt; name some by --init (init.from)";
  if (model.family !== "vit") return `a ${model.family} has no attention to adapt; set init.loraRank=0`;
  if (init.loraRank > model.width) return `the network has width ${model.width}; use a rank below it, 4 to 16 by custom`;
  if (stage !== "pretrain") return `stage ${stage} goes on with all weights of the run before; set init.loraRank=0`;
  if (distill.students.length > 0) return "a distilled student has no weights to adapt; set init.loraRank=0";
  if (objective.gramWeight > 0 && !gram.useEma && gram.updateEverySteps > 0)
    return "copies for the Gram teacher would lack the adapters; set gram.updateEverySteps=0 or gram.useEma=true";
  return undefined;
}

function checkAdapters(config: TrainConfig): void {
  const { loraRank } = config.init;
  const why = loraRank > 0 ? whyNoAdapters(config) : undefined;
  if (why !== undefined) throw new ConfigError(`Cannot use init.loraRank ${loraRank}: ${why}`, { keyPath: "init.loraRank" });
}

/** Throws ConfigError for learning that contradicts itself or its method. */
export function checkLearning(config: TrainConfig): void {
  checkKoleo(config);
  checkMethod(config);
  checkIbot(config);
  checkConstant(config);
  checkLayers(config);
  checkAdapters(config);
  checkDistill(config);
}
