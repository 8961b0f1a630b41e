/** @file The graph that turns pictures into features: traced once a batch size and a pooling, run here, exported, or run in a browser. */
import { ConfigError } from "../core/index.ts";
import { Builder, concat, exp, log, maximum, mul, reduceMean, reshape, slice, type Tensor } from "../engine/trace/index.ts";
import {
  applyViT,
  type BackboneConfig,
  backboneDepth,
  backboneSpecs,
  finalNorm,
  type Grid,
  gridSideOf,
  isViT,
  type Params,
  traceParams,
  type ViTConfig,
} from "../nn/index.ts";

import { clsAttention, mapTokens, type Tokens, vitTokens } from "./trace-tokens.ts";

/**
 * `patch`: every patch token; `registers`: the registers; `all`: the class token, registers where there are any, then the patches.
 * `mean` and `gem` are over the patches; `gem` is the generalised mean of power 3, `(mean max(x, 1e-6)³)^⅓` (Radenović et al. 2018, eq. 3).
 */
export type Pooling = "cls" | "mean" | "cls+mean" | "gem" | "patch" | "registers" | "all";

/** Poolings that give one vector a token instead of one a picture. */
export function isTokenPooling(pool: Pooling): boolean {
  return pool === "patch" || pool === "registers" || pool === "all";
}

/** Side of a square picture, or its two sides, in pixels. */
export type PictureSize = number | { readonly height: number; readonly width: number };

/** What of which pictures: `batch` of one size. */
export interface EncoderRequest {
  readonly pool: Pooling;
  readonly batch: number;
  readonly sizePx: PictureSize;
  readonly attention: boolean;
  /** Blocks whose output is wanted, from 0, or from the end with -1 the last; only the last unless said. */
  readonly layers?: readonly number[] | undefined;
}

/** Both sides of a picture. */
export function sidesOf(size: PictureSize): { readonly height: number; readonly width: number } {
  return typeof size === "number" ? { height: size, width: size } : size;
}

/** The patches of a picture of that size: whole ones only, as a convolution without padding cuts them. */
export function gridOfSize(config: BackboneConfig, size: PictureSize): Grid {
  const { height, width } = sidesOf(size);
  return { rows: Math.floor(gridSideOf(config, height)), columns: Math.floor(gridSideOf(config, width)) };
}

/** Images `[b, c, y, x]` without the pixels at the right and at the bottom that fill no patch of a ViT; all of them for another network. */
function wholePatches(images: Tensor, config: BackboneConfig, { rows, columns }: Grid): Tensor {
  if (!isViT(config)) return images;
  const [height, width] = [rows * config.patchSizePx, columns * config.patchSizePx];
  const [, , y = height, x = width] = images.shape;
  const cut = y === height ? images : slice(images, 2, [0, height]);
  return x === width ? cut : slice(cut, 3, [0, width]);
}

/** Blocks counted from 0, in the order asked for. Throws ConfigError for a block that is not there, comes twice, or is no ViT's. */
export function resolveLayers(config: BackboneConfig, layers: readonly number[] = [-1]): readonly number[] {
  const depth = backboneDepth(config);
  const fail = (state: string, todo: string): never => {
    throw new ConfigError(`Cannot take layers ${layers.join(",")}: ${state}; ${todo}`, { keyPath: "layers" });
  };
  if (layers.length === 0) fail("none is named", "give block numbers, -1 the last");
  if (!isViT(config) && (layers.length > 1 || (layers[0] !== -1 && layers[0] !== depth - 1)))
    fail("of a convolutional network only the last map is known", "leave the layers out, or choose a vision transformer");
  const blocks = layers.map((l) => (l < 0 ? depth + l : l));
  if (!blocks.every((b) => Number.isInteger(b) && b >= 0 && b < depth))
    fail(`the network has ${depth} blocks`, `give whole numbers from ${-depth} to ${depth - 1}`);
  if (new Set(blocks).size < blocks.length) fail("one comes twice", "name each once");
  return blocks;
}

/**
 * Inputs `images` `[b, c, y, x]`, `backbone.*`; outputs `features` (`[b, d]` or `[b, t, d]`; of several layers `[b, l, d]` or `[b, l, t, d]`)
 * and, where asked for, `attention` `[b, h, p]` of the class token over the patches in the last block. Every layer goes through the network's
 * final norm, as DINOv2's `get_intermediate_layers(norm=True)` has it.
 */
export function traceEncoder(config: BackboneConfig, what: EncoderRequest): ReturnType<Builder["graph"]> {
  const builder = new Builder();
  const params = traceParams(builder, backboneSpecs(config), { prefix: "backbone." });
  const { height, width } = sidesOf(what.sizePx);
  const given = builder.input("images", [what.batch, config.channels ?? 3, height, width]);
  const images = wholePatches(given, config, gridOfSize(config, what.sizePx));
  const blocks = resolveLayers(config, what.layers);
  const layers = isViT(config)
    ? vitLayers(params, images, { config, what, blocks })
    : [mapTokens(params, images, { config, prefix: "backbone." })];
  const [first, ...others] = layers.map((tokens) => pooled(tokens, what)) as [Tensor, ...Tensor[]]; // there is at least one layer
  const features = others.length === 0 ? first : concat([withLayerAxis(first), ...others.map(withLayerAxis)], 1);
  builder.output("features", features);
  return builder.graph();
}

function withLayerAxis(x: Tensor): Tensor {
  const [b = 1, ...rest] = x.shape;
  return reshape(x, [b, 1, ...rest]);
}

interface ViTRequest {
  readonly config: ViTConfig;
  readonly what: EncoderRequest;
  readonly blocks: readonly number[];
}

function vitLayers(params: Params, images: Tensor, { config, what, blocks }: ViTRequest): Tokens[] {
  const { pool, attention } = what;
  const { builder } = images;
  const grid = gridOfSize(config, what.sizePx);
  const onAttention = (p: Tensor): void => builder.output("attention", clsAttention(p, config, grid));
  const hidden = new Map<number, Tensor>(); // by block; the callback's index 0 is the embedding
  const last = applyViT(params, images, {
    config,
    output: pool === "cls" ? "cls" : "tokens",
    onHidden: (index, tokens) => void hidden.set(index - 1, tokens),
    ...(attention ? { onAttention } : {}),
  });
  return blocks.map((block) => {
    const before = block === config.depth - 1 ? undefined : hidden.get(block);
    const tokens = before === undefined ? last : builder.inRegion("norm", () => normedLayer(params, before, { config, pool }));
    return vitTokens(tokens, config);
  });
}

/** The output of an earlier block as the network's end would have it: class token `[b, d]`, or all tokens `[b, t, d]`. */
function normedLayer(params: Params, tokens: Tensor, { config, pool }: { readonly config: ViTConfig; readonly pool: Pooling }): Tensor {
  if (pool !== "cls") return finalNorm(params, tokens, { config });
  return reshape(finalNorm(params, slice(tokens, 1, [0, 1]), { config }), [tokens.shape[0] ?? 1, config.width]);
}

/** `(mean max(x, 1e-6)³)^⅓` over the patches, `[b, p, d]` -> `[b, d]`. */
function generalisedMean(patches: Tensor): Tensor {
  const x = maximum(patches, 1e-6);
  const mean = reduceMean(mul(mul(x, x), x), [1]);
  return exp(mul(log(mean), 1 / 3)); // b·d numbers only, and above 1e-18
}

function pooled({ cls, patches = cls, registers, all = cls }: Tokens, { pool }: EncoderRequest): Tensor {
  if (pool === "cls") return cls;
  if (pool === "all") return all;
  if (pool === "patch") return patches;
  if (pool === "gem") return generalisedMean(patches);
  if (pool === "registers") return registers ?? noRegisters();
  const mean = reduceMean(patches, [1]);
  return pool === "mean" ? mean : concat([cls, mean], 1);
}

/** Throws ConfigError: the pooling `registers` needs a network with some. */
export function noRegisters(): never {
  throw new ConfigError("Cannot give registers: the network has none; choose another --pool, or a model with registers", {
    keyPath: "pool",
  });
}
