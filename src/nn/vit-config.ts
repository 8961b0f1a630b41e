/** @file What tells one ViT of the DINO family from another: data, never a subclass. DINO spec §1.6, §2.3, §3.1. */
import { ConfigError } from "../core/index.ts";
import type { PosInterpolation } from "./position.ts";
import { checkRope, type RopeConfig } from "./rope.ts";

export interface ViTConfig {
  /** The square size at which positions are stored. */
  readonly imageSizePx: number;
  readonly patchSizePx: number;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly mlpRatio: number;
  readonly layerNormEps: number;
  readonly posInterpolation: PosInterpolation;
  /** How learned positions start: drawn as DINO does, or as sines and cosines (still trained). */
  readonly posEmbedInit?: "normal" | "sincos";
  /** Channels of a picture, 3 unless said. */
  readonly channels?: number;
  /** Extra tokens between the class token and the patches, without positions; none unless said. */
  readonly registers?: number;
  /** Their key: DINOv2's (unless said) or DINOv3's. */
  readonly registerName?: "register_tokens" | "storage_tokens";
  /** Whether there is a token that stands in for masked patches. */
  readonly maskToken?: boolean;
  /** Standard deviation of class token and registers at the start; DINO's trunc_normal(.02) unless said. */
  readonly tokenInitStd?: number;
  /** Start value of the factors on each residual branch; no such factors unless said. */
  readonly layerScale?: number;
  /** Feed-forward layer, `mlp` unless said; `swiglu-fused` is DINOv2's (`w12`, `w3`), `swiglu` DINOv3's (`w1`, `w2`, `w3`). */
  readonly ffn?: "mlp" | "swiglu-fused" | "swiglu";
  /** Hidden width of the feed-forward layer, `mlpRatio · width` unless said. */
  readonly ffnHidden?: number;
  /** Whether queries, keys and values have biases; they have unless said. */
  readonly qkvBias?: boolean;
  /** Whether the bias of the keys counts as zero and stays untrained (DINOv3's `mask_k_bias`). */
  readonly keyBiasMask?: boolean;
  /** `layernorm` unless said; `rmsnorm` has no bias. */
  readonly norm?: "layernorm" | "rmsnorm";
  /** Learned and added to tokens (unless said), or rotary, in the attention of every block. */
  readonly positions?: "learned" | "rope";
  readonly rope?: RopeConfig;
  /** Whether class token and registers of local crops have a final norm of their own (in training). */
  readonly localClsNorm?: boolean;
  /** Whether class token and registers have a final norm of their own, apart from that of the patches. */
  readonly untieClsAndPatchNorms?: boolean;
}

/** Numbers in one head's query. */
export function headDim({ width, heads }: Pick<ViTConfig, "width" | "heads">): number {
  return width / heads;
}

/** Tokens before the patches: the class token and the registers. */
export function prefixTokens({ registers = 0 }: Pick<ViTConfig, "registers">): number {
  return 1 + registers;
}

export function ffnHidden({ ffnHidden: hidden, mlpRatio, width }: Pick<ViTConfig, "ffnHidden" | "mlpRatio" | "width">): number {
  return hidden ?? Math.round(width * mlpRatio);
}

const WHOLE = ["imageSizePx", "patchSizePx", "width", "depth", "heads", "channels", "ffnHidden"] as const;

/** Throws ConfigError for sizes that make no network. */
export function checkViT(config: ViTConfig): void {
  const fail = (key: string, state: string, todo: string): never => {
    throw new ConfigError(`Cannot build a ViT: ${key} is ${state}; ${todo}`, { keyPath: `model.${key}` });
  };
  for (const key of WHOLE) {
    const value = config[key];
    if (value !== undefined && (!Number.isInteger(value) || value < 1)) fail(key, String(value), "give a whole number from 1");
  }
  const { registers = 0, width, heads, imageSizePx, patchSizePx, positions = "learned" } = config;
  if (!Number.isInteger(registers) || registers < 0) fail("registers", String(registers), "give a whole number from 0");
  if (width % heads !== 0) fail("width", `${width} with ${heads} heads`, "give a multiple of the heads");
  if (positions === "rope") checkRope(config.rope ?? {}, headDim(config));
  else if (imageSizePx % patchSizePx !== 0)
    fail("imageSizePx", `${imageSizePx} with patches of ${patchSizePx}`, "give a multiple of the patch size");
}
