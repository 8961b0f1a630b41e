/** @file The vision transformer of tests: theirs are it with other sizes and parts. */
import type { ViTConfig } from "../index.ts";

/** As DINO's, of 4 x 4 patches; float64 loops run it in a moment. */
export const SMALL_VIT: ViTConfig = {
  imageSizePx: 16,
  patchSizePx: 4,
  width: 16,
  depth: 2,
  heads: 2,
  mlpRatio: 2,
  layerNormEps: 1e-6,
  posInterpolation: "size",
};
