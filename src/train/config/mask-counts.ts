/** @file How many patches masks take. DINOv2 spec §2.4. */
import { maskUpperBound } from "../../images/index.ts";
import type { MaskSectionConfig } from "./types.ts";

type Ratios = Pick<MaskSectionConfig, "probability" | "ratioMin" | "ratioMax">;

/** Masked patches of `images` images on average: two global crops each, a share of them masked, a share of each one's patches. */
export function expectedMasked(
  { probability, ratioMin, ratioMax }: Ratios,
  { images, patches }: { readonly images: number; readonly patches: number },
): number {
  return 2 * images * probability * ((ratioMin + ratioMax) / 2) * patches;
}

/**
 * The most masked patches that a micro-batch of `images` images can have, `accumulate` of which make a step: the rows of its padded lists.
 * 0 where the masks of a step are none, which `checkMask` refuses.
 */
export function mostMasked(
  ratios: Ratios,
  { images, accumulate, patches }: { readonly images: number; readonly accumulate: number; readonly patches: number },
): number {
  const slots = 2 * images * accumulate;
  return Math.floor(slots * ratios.probability) < 1 ? 0 : maskUpperBound({ slots, patches, taken: 2 * images, ...ratios });
}
