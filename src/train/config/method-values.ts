/** @file The published values of each method where they differ. DINO family spec §1.2, 2.4, 2.6, 3.7, 3.8; SimCLR (Chen et al. 2020), appendix. */
import { type AugmentConfig, type CropsConfig, DINO_AUGMENT, DINO_CROPS } from "../../images/index.ts";
import type { LrScaling } from "../../optim/index.ts";
import type { MaskSectionConfig, MethodName, OptimConfig } from "./types.ts";

export interface MethodValues {
  readonly crops: Pick<CropsConfig, "localCount" | "globalScaleRange" | "localScaleRange" | "interpolation">;
  readonly augment: AugmentConfig;
  /** The blur of the paper, where the published code has another. */
  readonly intendedBlur: AugmentConfig["blurProb"];
  readonly mask: MaskSectionConfig;
  /** 0 = no iBOT. */
  readonly ibotWeight: number;
  readonly ibotSeparate: boolean;
  readonly lastLayer: "weight-norm" | "plain";
  readonly normLastLayer: boolean;
  readonly lr: { readonly base: number; readonly rule: LrScaling };
  readonly momentumTeacher: number;
  readonly temps: { readonly warm: number; readonly final: number };
  readonly optim: Pick<OptimConfig, "clipKind" | "decayRule" | "layerDecay" | "patchEmbedLrScale">;
}

const DINO: MethodValues = {
  crops: DINO_CROPS,
  augment: DINO_AUGMENT,
  intendedBlur: DINO_AUGMENT.blurProb,
  mask: { probability: 0.5, ratioMin: 0.1, ratioMax: 0.5, fill: "under", shift: false },
  ibotWeight: 0,
  ibotSeparate: false,
  lastLayer: "weight-norm",
  normLastLayer: true,
  lr: { base: 5e-4, rule: "linear-256" },
  momentumTeacher: 0.996,
  temps: { warm: 0.04, final: 0.04 },
  optim: { clipKind: "per-parameter", decayRule: "dino", layerDecay: 1, patchEmbedLrScale: 1 },
};

const DINOV2: MethodValues = {
  ...DINO,
  crops: { ...DINO_CROPS, globalScaleRange: [0.32, 1], localScaleRange: [0.05, 0.32] },
  // the code gives 1 - p where p is wanted (spec §6.1): no blur on the first global crop, nearly always on the second
  augment: { ...DINO_AUGMENT, blurProb: [0, 0.9, 0.5] },
  ibotWeight: 1,
  normLastLayer: false,
  lr: { base: 4e-3, rule: "sqrt-1024" },
  momentumTeacher: 0.992,
  temps: { warm: 0.04, final: 0.07 },
  optim: { clipKind: "per-module", decayRule: "dinov2", layerDecay: 0.9, patchEmbedLrScale: 0.2 },
};

const DINOV3: MethodValues = {
  ...DINOV2,
  mask: { ...DINO.mask, fill: "exact" },
  ibotSeparate: true,
  lastLayer: "plain",
  lr: { base: 1e-3, rule: "4sqrt-1024" },
};

const SIMCLR: MethodValues = {
  ...DINO,
  crops: { ...DINO_CROPS, localCount: 0, globalScaleRange: [0.08, 1] },
  augment: {
    ...DINO_AUGMENT,
    brightness: 0.8,
    contrast: 0.8,
    saturation: 0.8,
    hue: 0.2,
    blurProb: [0.5, 0.5, 0.5],
    solarizeProb: [0, 0, 0],
  },
  intendedBlur: [0.5, 0.5, 0.5],
  normLastLayer: false,
};

export const METHOD_VALUES: { readonly [M in MethodName]: MethodValues } = { dino: DINO, dinov2: DINOV2, dinov3: DINOV3, simclr: SIMCLR };
