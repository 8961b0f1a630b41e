/** @file Masks that select no patch or all of them. DINOv2 spec §2.4. */
import { ConfigError } from "../../core/index.ts";
import { checkMaskRatios } from "../../images/index.ts";
import { sizesOf } from "./memory.ts";
import type { TrainConfig } from "./types.ts";

/** Throws ConfigError where iBOT masks no crop, or no patch of a crop, or every one. */
export function checkMask(config: TrainConfig): void {
  const { mask, objective, train, model } = config;
  if (objective.ibotWeight === 0) return;
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
  for (const { globalSizePx } of sizesOf(config)) {
    const side = globalSizePx / model.patchSizePx;
    checkMaskRatios(mask, { rows: side, columns: side });
  }
}
