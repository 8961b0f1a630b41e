/** @file What no single key can tell: values that contradict each other, the data or the patch grid. */
import { ConfigError } from "../../core/index.ts";
import type { TrainConfig } from "./types.ts";

function sizesAround(value: number, step: number): string {
  const below = Math.floor(value / step) * step;
  const near = below >= step ? [below, below + step] : [step, 2 * step];
  return `${near.join(" or ")} (any multiple of ${step})`;
}

function checkPatches({ model, crops }: TrainConfig): void {
  const p = model.patchSizePx;
  const sizes: readonly (readonly [string, number])[] = [
    ["model.imageSizePx", model.imageSizePx],
    ["crops.globalSizePx", crops.globalSizePx],
    ...(crops.localCount > 0 ? [["crops.localSizePx", crops.localSizePx] as const] : []),
  ];
  for (const [keyPath, size] of sizes)
    if (size % p !== 0)
      throw new ConfigError(`Cannot use ${keyPath} ${size}: it is not a multiple of the patch size ${p}; use ${sizesAround(size, p)}`, {
        keyPath,
      });
}

function checkModel({ model }: TrainConfig): void {
  if (model.posEmbedInit === "sincos" && model.width % 4 !== 0)
    throw new ConfigError(
      `Cannot use model.posEmbedInit "sincos": width ${model.width} is not a multiple of 4; use ${Math.ceil(model.width / 4) * 4} or "normal"`,
      { keyPath: "model.posEmbedInit" },
    );
  if (model.width % model.heads === 0) return;
  const good = Array.from({ length: model.width }, (_, i) => i + 1).filter((h) => model.width % h === 0 && model.width / h >= 16);
  throw new ConfigError(
    `Cannot use model.heads ${model.heads}: width ${model.width} does not divide into ${model.heads} heads; use ${good.length > 0 ? good.join(", ") : "1"}`,
    { keyPath: "model.heads" },
  );
}

function checkBatch({ train, objective }: TrainConfig, images: number): void {
  const total = train.batchSize * train.accumulate;
  if (total > images) {
    const sum =
      train.accumulate > 1
        ? `train.batchSize ${train.batchSize} x train.accumulate ${train.accumulate}`
        : `train.batchSize ${train.batchSize}`;
    throw new ConfigError(
      `Cannot use ${sum}: one step needs ${total} images and the data has ${images}; use ${images} or fewer, or add images`,
      {
        keyPath: "train.batchSize",
      },
    );
  }
  if (train.batchSize % train.groupSize !== 0)
    throw new ConfigError(
      `Cannot use train.groupSize ${train.groupSize}: a micro-batch of ${train.batchSize} does not divide into it; use ${train.batchSize} or a divisor`,
      {
        keyPath: "train.groupSize",
      },
    );
  if (objective.koleoWeight > 0 && train.groupSize < 2)
    throw new ConfigError(
      "Cannot use objective.koleoWeight above 0: KoLeo compares the images of a group and there is one image; set train.batchSize=2 or more, or objective.koleoWeight=0",
      { keyPath: "objective.koleoWeight" },
    );
}

function checkLengths(config: TrainConfig, epochs: number): void {
  const lengths = {
    "schedule.lrWarmupEpochs": config.schedule.lrWarmupEpochs,
    "objective.warmupTeacherTempEpochs": config.objective.warmupTeacherTempEpochs,
    "optim.freezeLastLayerEpochs": config.optim.freezeLastLayerEpochs,
  };
  for (const [keyPath, value] of Object.entries(lengths))
    if (value > epochs)
      throw new ConfigError(
        `Cannot use ${keyPath} ${value}: the run has ${Number(epochs.toPrecision(3))} epochs; shorten it or train longer`,
        { keyPath },
      );
}

/** Throws ConfigError for a configuration whose values do not go together. */
export function checkConsistent(config: TrainConfig, options: { readonly images: number; readonly epochs: number }): void {
  checkPatches(config);
  checkModel(config);
  checkBatch(config, options.images);
  // before a run in minutes knows its steps its epochs are a guess
  if (config.train.minutes === null || config.train.steps !== null) checkLengths(config, options.epochs);
}
