/** @file What the networks see, as plain data: crops, their augmentation, masked patches. */
import type { AugmentConfig, CropsConfig } from "../../images/index.ts";

/** One of the size triples of a mixed-resolution stage (DINOv3 spec §3.8). */
export interface CropSizes {
  readonly globalSizePx: number;
  readonly localSizePx: number;
  /** Crop of the Gram teacher; 0 = the global size. */
  readonly gramSizePx: number;
  /** Share of the steps that use this triple. */
  readonly ratio: number;
}

export interface CropsSectionConfig extends CropsConfig {
  /** Size triples of which each step uses one; empty = the single sizes above. Probes and k-NN look at the single sizes in either case. */
  readonly sizes: readonly CropSizes[];
}

export interface AugmentSectionConfig extends AugmentConfig {
  /** `published`: the blur that the method's code applies; `intended`: what its paper says (spec §6.1). It decides the default of `blurProb`, which is what is used. */
  readonly blur: "published" | "intended";
}

/** Masked patches of the student's global crops (DINOv2 spec §2.4). */
export interface MaskSectionConfig {
  /** Share of the global crops that are masked. */
  readonly probability: number;
  /** Shares of a masked crop's patches, from the least masked crop of a batch to the most. */
  readonly ratioMin: number;
  readonly ratioMax: number;
  /** `under`: blocks until the target is nearly met (DINOv2); `exact`: single patches fill the rest (DINOv3). */
  readonly fill: "under" | "exact";
  /** Masks are rolled around the grid by a random shift. */
  readonly shift: boolean;
}
