/** @file What a model says of one picture: the same type in Node and in the browser. */
import type { Grid } from "../nn/index.ts";

/** Final-normed tokens of one layer, `d` numbers each. */
export interface LayerFeatures {
  /** Class token, `[d]`; the mean of the map where a convolutional network has none. */
  readonly cls: Float32Array;
  /** Registers `[r, d]`, empty where there are none. */
  readonly registers: Float32Array;
  /** Patch tokens `[p, d]`, row by row of the grid. */
  readonly patches: Float32Array;
}

/** Features of one picture: the last layer's tokens, and what else was asked for. */
export interface ImageFeatures extends LayerFeatures {
  /** The patches' grid: `rows · columns = p`. */
  readonly grid: Grid;
  /** Attention of the class token over the patches in the last block, `[heads, p]`; undefined unless asked for. */
  readonly attention: Float32Array | undefined;
  /** The layers asked for, in that order; undefined unless asked for. */
  readonly layers: readonly LayerFeatures[] | undefined;
}

export interface TokenLayout {
  /** Numbers in a token. */
  readonly width: number;
  /** Tokens before the patches: class token and registers. */
  readonly prefix: number;
}

/** The tokens `[prefix + p, d]` of one layer told apart, each copied. */
export function splitTokens(tokens: Float32Array, { width, prefix }: TokenLayout): LayerFeatures {
  return {
    cls: tokens.slice(0, width),
    registers: tokens.slice(width, prefix * width),
    patches: tokens.slice(prefix * width),
  };
}
