/** @file What the networks of DINO, DINOv2 and DINOv3 are made of, beside their sizes. DINO family spec §1.6, 2.3, 3.1, 3.3. */
import type { MethodName, ModelConfig } from "./types.ts";

/** Red, green and blue. */
export const COLOURS = 3;

/** A line of networks that share their ingredients. */
export type ArchLine = "dino" | "dinov2" | "dinov3" | "convnext" | "resnet";

export type Ingredients = Pick<
  ModelConfig,
  | "family"
  | "channels"
  | "mlpRatio"
  | "dropPathKind"
  | "dropPathUniform"
  | "posInterpolation"
  | "registers"
  | "layerScale"
  | "ffn"
  | "ffnHidden"
  | "qkvBias"
  | "keyBiasMask"
  | "norm"
  | "layerNormEps"
  | "positions"
  | "ropeBase"
  | "ropeShift"
  | "ropeJitter"
  | "ropeRescale"
  | "maskToken"
  | "localClsNorm"
>;

const DINO: Ingredients = {
  family: "vit",
  channels: COLOURS,
  mlpRatio: 4,
  dropPathKind: "per-sample",
  dropPathUniform: false,
  posInterpolation: "size",
  registers: 0,
  layerScale: 0,
  ffn: "mlp",
  ffnHidden: 0,
  qkvBias: true,
  keyBiasMask: false,
  norm: "layernorm",
  layerNormEps: 1e-6,
  positions: "learned",
  ropeBase: 100,
  ropeShift: 0,
  ropeJitter: 1,
  ropeRescale: 1,
  maskToken: false,
  localClsNorm: false,
};
const DINOV2: Ingredients = { ...DINO, dropPathKind: "subset", dropPathUniform: true, layerScale: 1e-5, maskToken: true };
const DINOV3: Ingredients = { ...DINOV2, registers: 4, keyBiasMask: true, layerNormEps: 1e-5, positions: "rope", ropeRescale: 2 };

export const INGREDIENTS: { readonly [L in ArchLine]: Ingredients } = {
  dino: DINO,
  dinov2: DINOV2,
  dinov3: DINOV3,
  convnext: { ...DINO, family: "convnext", layerScale: 1e-6 },
  resnet: { ...DINO, family: "resnet", mlpRatio: 1 },
};

export const LINE_TITLES: { readonly [L in ArchLine]: string } = {
  dino: "DINO's ViT",
  dinov2: "DINOv2's ViT",
  dinov3: "DINOv3's ViT",
  convnext: "DINOv3's ConvNeXt",
  resnet: "the ResNet of torchvision",
};

/** The ingredients that a method gives a ViT which is none of the published ones. */
export function lineOf(method: MethodName): ArchLine {
  return method === "simclr" ? "dino" : method;
}

/** Hidden width of a SwiGLU: ⌊2/3 · 4d⌋ rounded up to a multiple of 8 (DINOv2 spec §2.3). */
export function swigluHidden(width: number): number {
  return 8 * Math.floor((Math.floor((2 * 4 * width) / 3) + 7) / 8);
}
