/** @file The graph that turns pictures into features: traced once a batch size and a pooling, run here, exported, or run in a browser. */
import { Builder, concat, reduceMean, reshape, slice, type Tensor } from "../engine/trace/index.ts";
import {
  applyViT,
  type BackboneConfig,
  backboneFeatures,
  backboneSpecs,
  backboneState,
  gridSideOf,
  isViT,
  type Params,
  prefixTokens,
  traceParams,
  type ViTConfig,
} from "../nn/index.ts";

/** `patch`: every patch token; `all`: the class token, registers where there are any, then the patches. `mean` is over the patches. */
export type Pooling = "cls" | "mean" | "cls+mean" | "patch" | "all";

/** What of which pictures: `batch` of `sizePx` a side. */
export interface EncoderRequest {
  readonly pool: Pooling;
  readonly batch: number;
  readonly sizePx: number;
  readonly attention: boolean;
}

/** Inputs `images` `[b, c, s, s]`, `backbone.*`; outputs `features` and, where asked for, `attention` `[b, h, p]`. */
export function traceEncoder(config: BackboneConfig, what: EncoderRequest): ReturnType<Builder["graph"]> {
  const builder = new Builder();
  const params = traceParams(builder, backboneSpecs(config), { prefix: "backbone." });
  const images = builder.input("images", [what.batch, config.channels ?? 3, what.sizePx, what.sizePx]);
  const features = isViT(config) ? vitTokens(params, images, { config, what }) : mapTokens(params, images, config);
  builder.output("features", pooled(features, what));
  return builder.graph();
}

/** What a pooling is made of. */
interface Tokens {
  readonly cls: Tensor;
  /** `[b, p, d]`; `all` has what comes before the patches, too. Absent where only the class token was asked for. */
  readonly patches?: Tensor;
  readonly all?: Tensor;
}

function vitTokens(
  params: Params,
  images: Tensor,
  { config, what }: { readonly config: ViTConfig; readonly what: EncoderRequest },
): Tokens {
  const { pool, batch, sizePx, attention } = what;
  const { builder } = images;
  const patches = gridSideOf(config, sizePx) ** 2;
  const first = prefixTokens(config);
  const onAttention = (p: Tensor): void => {
    const queries = slice(p, 2, [0, 1]);
    builder.output("attention", reshape(slice(queries, 3, [first, first + patches]), [batch, config.heads, patches]));
  };
  const output = pool === "cls" ? "cls" : "tokens";
  const out = applyViT(params, images, { config, output, ...(attention ? { onAttention } : {}) });
  if (pool === "cls") return { cls: out };
  return { cls: reshape(slice(out, 1, [0, 1]), [batch, config.width]), patches: slice(out, 1, [first, first + patches]), all: out };
}

function mapTokens(params: Params, images: Tensor, config: BackboneConfig): Tokens {
  const { builder } = images;
  const running = new Map(backboneState(config).map((s) => [s.name, builder.input(`backbone.${s.name}`, s.shape, { kind: "state" })]));
  const state: Params = (name) => running.get(name) ?? params(name);
  const { cls, patches } = backboneFeatures(params, images, { config, patches: true, ...(running.size > 0 ? { state } : {}) });
  if (patches === undefined) return { cls };
  const [b = 1, d = 1] = cls.shape;
  return { cls, patches, all: concat([reshape(cls, [b, 1, d]), patches], 1) };
}

function pooled({ cls, patches = cls, all = cls }: Tokens, { pool, batch }: EncoderRequest): Tensor {
  if (pool === "cls") return cls;
  if (pool === "all") return all;
  if (pool === "patch") return patches;
  const mean = reshape(reduceMean(patches, [1]), [batch, cls.shape[1] ?? 1]);
  return pool === "mean" ? mean : concat([cls, mean], 1);
}
