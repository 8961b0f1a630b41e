/** @file Masks that select no patch or all of them. DINOv2 spec §2.4. */
import { ConfigError } from "../../core/index.ts";
import { sizesOf } from "./memory.ts";
import type { TrainConfig } from "./types.ts";

function checkGrid({ mask, model }: TrainConfig, globalSizePx: number): void {
  const { ratioMin, ratioMax } = mask;
  const side = Math.floor(globalSizePx / model.patchSizePx);
  const patches = side * side;
  const what = `mask.ratioMin ${ratioMin} and mask.ratioMax ${ratioMax}`;
  const grid = `of the ${side} x ${side} patches of a ${globalSizePx} px crop`;
  const most = Math.floor(patches * ratioMax);
  if (most < 1)
    throw new ConfigError(
      `Cannot mask by ${what}: they select no patch ${grid}; set mask.ratioMax to ${Math.min(1, Number((1 / patches + 0.0005).toFixed(3)))} or more, or use larger crops`,
      { keyPath: "mask.ratioMax" },
    );
  if (most >= patches)
    throw new ConfigError(
      `Cannot mask by ${what}: they select all ${grid}, and nothing is left to see; set mask.ratioMax below 1, 0.5 by default`,
      { keyPath: "mask.ratioMax" },
    );
}

/** Throws ConfigError where iBOT masks no patch or every one. */
export function checkMask(config: TrainConfig): void {
  const { mask, objective, train, model } = config;
  if (objective.ibotWeight === 0) return;
  if (mask.ratioMin > mask.ratioMax)
    throw new ConfigError(`Cannot use mask.ratioMin ${mask.ratioMin}: it is above mask.ratioMax ${mask.ratioMax}; exchange the two`, {
      keyPath: "mask.ratioMin",
    });
  const crops = 2 * train.batchSize * train.accumulate;
  if (Math.floor(crops * mask.probability) < 1)
    throw new ConfigError(
      `Cannot use mask.probability ${mask.probability}: it masks none of the ${crops} global crops of a step; set ${Number((1 / crops).toPrecision(3))} or more, or objective.ibotWeight=0`,
      { keyPath: "mask.probability" },
    );
  if (model.family === "vit" && !model.maskToken)
    throw new ConfigError(
      `Cannot use objective.ibotWeight ${objective.ibotWeight}: the network has no mask token (model.maskToken); set model.maskToken=true or objective.ibotWeight=0`,
      { keyPath: "model.maskToken" },
    );
  for (const { globalSizePx } of sizesOf(config)) checkGrid(config, globalSizePx);
}
