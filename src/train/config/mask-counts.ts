/** @file How many patches masks take. DINOv2 spec §2.4. */
import type { MaskSectionConfig } from "./types.ts";

type Ratios = Pick<MaskSectionConfig, "probability" | "ratioMin" | "ratioMax">;

/** Masked patches of `images` images on average: two global crops each, a share of them masked, a share of each one's patches. */
export function expectedMasked(
  { probability, ratioMin, ratioMax }: Ratios,
  { images, patches }: { readonly images: number; readonly patches: number },
): number {
  return 2 * images * probability * ((ratioMin + ratioMax) / 2) * patches;
}

/** The most masked patches that `images` images can have: every masked crop at the end of its part of the range (spec §2.4). */
export function mostMasked(
  { probability, ratioMin, ratioMax }: Ratios,
  { images, patches }: { readonly images: number; readonly patches: number },
): number {
  const n = Math.floor(2 * images * probability);
  const top = (i: number): number => ratioMin + ((ratioMax - ratioMin) * (i + 1)) / Math.max(1, n);
  return Array.from({ length: n }, (_, i) => Math.floor(patches * top(i))).reduce((a, b) => a + b, 0);
}
