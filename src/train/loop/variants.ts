/** @file The sizes of a run's crops: its own, those of a mixed-resolution stage, and which of them a step takes. DINOv3 spec §3.8. */
import { Rng } from "../../core/index.ts";
import type { CropsConfig } from "../../images/index.ts";
import type { CropSizes, TrainConfig } from "../config/index.ts";

/** One resolution of a run. */
export type Sizes = Pick<CropSizes, "globalSizePx" | "localSizePx" | "gramSizePx">;

/** The single sizes of a run. */
export function ownSizes({ crops, gram }: Pick<TrainConfig, "crops" | "gram">): Sizes {
  return { globalSizePx: crops.globalSizePx, localSizePx: crops.localSizePx, gramSizePx: gram.sizePx };
}

/** The crops at the run's own sizes, then at those of its variants. */
export function cropsOf(config: TrainConfig): [CropsConfig, ...CropsConfig[]] {
  const { sizes, ...crops } = config.crops;
  const wantsGram = config.method === "dinov3" && config.objective.gramWeight > 0 && !config.gram.useEma;
  const at = ({ globalSizePx, localSizePx, gramSizePx }: Sizes): CropsConfig => ({
    ...crops,
    globalSizePx,
    localSizePx,
    ...(wantsGram ? { gramSizePx: gramSizePx === 0 ? globalSizePx : gramSizePx } : {}),
  });
  return [at(ownSizes(config)), ...sizes.map(at)];
}

/** Which of the variants a step takes, drawn by their ratios; undefined where there are none. */
export function variantOfStep({ crops, seed }: Pick<TrainConfig, "crops" | "seed">, step: number): number | undefined {
  if (crops.sizes.length === 0) return undefined;
  let left = new Rng(seed).split(`sizes/${step}`).uniform(
    0,
    crops.sizes.reduce((sum, { ratio }) => sum + ratio, 0),
  );
  const at = crops.sizes.findIndex(({ ratio }) => (left -= ratio) < 0);
  return at < 0 ? crops.sizes.length - 1 : at;
}

/** Images of one optimizer step. */
export function imagesOfStep({ train }: Pick<TrainConfig, "train">): number {
  return train.batchSize * train.accumulate;
}
