/** @file Parameter groups: which parameters are decayed, how fast each layer learns, which are frozen. */
import type { ParamSpec } from "./layout.ts";

/** How the optimizer treats one parameter. */
export interface ParamGroup {
  readonly weightDecay: boolean;
  /** Multiplies the learning rate (1 = as scheduled). */
  readonly lrScale: number;
  /** Never trained: no gradient, no decay, no moments; its teacher still follows by EMA. */
  readonly frozen: boolean;
  /** The sub-module it is clipped with under "per-module": the first part of its name. */
  readonly module: string;
}

/** `dino`: all but biases and 1-D tensors (spec §1.5). `dinov2`: all but biases, norms and LayerScale gammas (spec §2.6). */
export type DecayRule = "dino" | "dinov2";

const DECAYED: { readonly [K in DecayRule]: (param: ParamSpec) => boolean } = {
  dino: ({ name, shape }) => !name.endsWith(".bias") && shape.length !== 1,
  dinov2: ({ name }) => !name.endsWith(".bias") && !name.includes("norm") && !name.includes("gamma"),
};

/** True when weight decay applies to the parameter. Tokens and position embeddings are decayed, as in the published code. */
export function isDecayed(param: ParamSpec, rule: DecayRule = "dino"): boolean {
  return DECAYED[rule](param);
}

const EMBEDDING = /^(cls_token|pos_embed|mask_token|register_tokens|storage_tokens|patch_embed\.)/;
const BLOCK = /^blocks\.(\d+)\./;

/** Layer of a backbone parameter: 0 for embeddings, i + 1 for block i, depth + 1 for the rest and for heads. */
export function layerOf(name: string, depth: number): number {
  const inner = name.replace(/^backbone\./, "");
  if (EMBEDDING.test(inner)) return 0;
  const block = BLOCK.exec(inner)?.[1];
  return block === undefined ? depth + 1 : Number(block) + 1;
}

export interface LrScaleOptions {
  readonly depth: number;
  /** 1 = every layer learns alike. */
  readonly layerDecay?: number;
  readonly patchEmbedLrScale?: number;
}

/** Learning-rate multiplier (spec §2.6): layerDecay^(depth + 1 − layer), times `patchEmbedLrScale` on the patch embedding. */
export function lrScaleOf(name: string, options: LrScaleOptions): number {
  const { depth, layerDecay = 1, patchEmbedLrScale = 1 } = options;
  const patch = name.includes("patch_embed") ? patchEmbedLrScale : 1;
  return layerDecay ** (depth + 1 - layerOf(name, depth)) * patch;
}

export interface ParamGroupOptions extends LrScaleOptions {
  readonly decayRule?: DecayRule;
  readonly isFrozen?: (name: string) => boolean;
}

/** The group of every parameter, in the order given. */
export function makeParamGroups(params: readonly ParamSpec[], options: ParamGroupOptions): ParamGroup[] {
  const { decayRule = "dino", isFrozen = () => false } = options;
  return params.map((param) => ({
    weightDecay: isDecayed(param, decayRule),
    lrScale: lrScaleOf(param.name, options),
    frozen: isFrozen(param.name),
    module: param.name.split(".", 1)[0] ?? "",
  }));
}

/** Names that contain `part`; DINO freezes those with "last_layer" during the first epoch. */
export function namesContaining(params: readonly ParamSpec[], part: string): Set<string> {
  return new Set(params.filter(({ name }) => name.includes(part)).map(({ name }) => name));
}
