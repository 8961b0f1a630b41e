/**
 * @file What the peers' DINOv2 and DINOv3 steps have in common, as configurations of our methods.
 *
 * lightly's `DINOProjectionHead(d, 2048, 256, outputs)` twice (weight-normed last layer, its length fixed), `DINOLoss` and `IBOTPatchLoss`
 * with their defaults (centres by moving average, momentum .9, temperatures .04 and .1, no Sinkhorn-Knopp), `KoLeoLoss` times .1 over each
 * global crop of the whole batch, `random_block_mask` with its defaults (half of the crops, .1 to .5 of the patches), no drop path, all
 * losses of weight 1. `AdamW(lr=1e-4, weight_decay=0.04)`, one clip of all gradients at 3, average with momentum .992.
 *
 * Ours differs in this: lists of masked patches are padded to the most that masks can have (the peers' are as long as they come out), and
 * biases and norms are not decayed (the same work).
 */
import type { Dinov2Config, Dinov3Config, GramConfig } from "../../src/methods/index.ts";
import { vitPreset, VIT_SIZES, type ViTConfig } from "../../src/nn/index.ts";
import type { StepScalars } from "../../src/train/stepper.ts";

export const PEER_MODELS = ["small", "tiny"] as const;

export interface PeerOptions {
  /** The peers have `small`. */
  readonly model: (typeof PEER_MODELS)[number];
  readonly batch: number;
  /** Prototypes of either head. */
  readonly outputs: number;
}

export const PEER_SCALARS: StepScalars = {
  lr: 1e-4,
  weightDecay: 0.04,
  emaMomentum: 0.992,
  teacherTemp: 0.04,
  clip: { kind: "global", norm: 3 },
  freezeLastLayer: false,
  inputs: { gramWeight: 2 },
};

const GLOBAL_SIZE_PX = 224;

function stepConfig(backbone: ViTConfig, localSizePx: number, { model, batch, outputs: prototypes }: PeerOptions): Dinov2Config {
  const size = VIT_SIZES[model];
  const head = {
    width: size.width,
    hidden: 2048,
    bottleneck: 256,
    prototypes,
    layers: 3,
    batchNorm: false,
    normLastLayer: true,
    lastLayer: "weight-norm",
  } as const;
  return {
    backbone: { ...backbone, ...size, imageSizePx: GLOBAL_SIZE_PX },
    head,
    ibotHead: head,
    mask: { probability: 0.5, ratioMin: 0.1, ratioMax: 0.5, fill: "under", shift: false },
    crops: { globalSizePx: GLOBAL_SIZE_PX, localSizePx, localCount: 8 },
    objective: { centering: "ema", centerMomentum: 0.9, sinkhornIterations: 3, koleoWeight: 0.1, ibotWeight: 1, studentTemp: 0.1 },
    dropPath: 0,
    batchSize: batch,
    microBatchSize: batch,
  };
}

/** timm's `vit_small_patch14_dinov2`, or its `reg4` form, made for 224 px; 2×224 + 8×98 crops. Positions are resized as lightly does. */
export function dinov2Peer({ registers, ...options }: PeerOptions & { readonly registers: boolean }): Dinov2Config {
  const backbone = vitPreset(registers ? "vit_small_patch14_reg4_dinov2" : "vit_small_patch14_dinov2");
  return stepConfig({ ...backbone, posInterpolation: "size-antialias" }, 98, options);
}

/** The Gram teacher sees the global crops themselves; the mean over all patches of each crop, masked or not. */
const GRAM: GramConfig = { sizePx: GLOBAL_SIZE_PX, useEma: false, normalize: true, level: "image", tokens: "all" };

/** timm's `vit_small_patch16_dinov3` (no biases of queries, keys and values, positions not augmented); 2×224 + 8×96 crops. */
export function dinov3Peer({ gram, ...options }: PeerOptions & { readonly gram: boolean }): Dinov3Config {
  const backbone = vitPreset("vit_small_patch16_dinov3");
  const config = stepConfig({ ...backbone, rope: { base: 100, normalize: "separate" } }, 96, options);
  return gram ? { ...config, gram: GRAM } : config;
}
