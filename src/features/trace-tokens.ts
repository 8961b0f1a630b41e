/** @file The tokens of a network and their parts, as tensors: what the encoder pools, and what an export gives out. */
import { concat, reshape, slice, type Tensor } from "../engine/trace/index.ts";
import { type BackboneConfig, backboneFeatures, backboneState, type Grid, type Params, prefixTokens, type ViTConfig } from "../nn/index.ts";

/** Final-normed tokens. */
export interface Tokens {
  /** `[b, d]`. */
  readonly cls: Tensor;
  /** `[b, p, d]`; `all` has what comes before the patches, too. Absent where only the class token was asked for. */
  readonly patches?: Tensor;
  readonly registers?: Tensor;
  readonly all?: Tensor;
}

/** The parts of a ViT's tokens: all `[b, t, d]`, or of the class token alone `[b, d]`. */
export function vitTokens(tokens: Tensor, config: ViTConfig): Tokens {
  if (tokens.shape.length === 2) return { cls: tokens };
  const [b = 1, t = 1, d = 1] = tokens.shape;
  const first = prefixTokens(config);
  return {
    cls: reshape(slice(tokens, 1, [0, 1]), [b, d]),
    patches: slice(tokens, 1, [first, t]),
    ...(first > 1 ? { registers: slice(tokens, 1, [1, first]) } : {}),
    all: tokens,
  };
}

/** The class token's attention over the patches `[b, h, p]`, from a block's `[b, h, t, t]` (or of the class token's row alone). */
export function clsAttention(probabilities: Tensor, config: ViTConfig, { rows, columns }: Grid): Tensor {
  const [first, patches] = [prefixTokens(config), rows * columns];
  const queries = slice(probabilities, 2, [0, 1]);
  return reshape(slice(queries, 3, [first, first + patches]), [probabilities.shape[0] ?? 1, config.heads, patches]);
}

interface MapOptions {
  readonly config: BackboneConfig;
  /** Before the names of running statistics. */
  readonly prefix: string;
}

/** A convolutional network's last map as tokens; its mean stands for the class token. */
export function mapTokens(params: Params, images: Tensor, { config, prefix }: MapOptions): Tokens {
  const { builder } = images;
  const running = new Map(backboneState(config).map((s) => [s.name, builder.input(prefix + s.name, s.shape, { kind: "state" })]));
  const state: Params = (name) => running.get(name) ?? params(name);
  const { cls, patches } = backboneFeatures(params, images, { config, patches: true, ...(running.size > 0 ? { state } : {}) });
  if (patches === undefined) return { cls };
  const [b = 1, d = 1] = cls.shape;
  return { cls, patches, all: concat([reshape(cls, [b, 1, d]), patches], 1) };
}
