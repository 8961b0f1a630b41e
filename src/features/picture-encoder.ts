/** @file What gives features of pictures, whatever runs: a network of ours, or a graph that others can run, too. */
import type { Grid } from "../nn/index.ts";
import type { Encoded, EncodeRequest } from "./encoder.ts";
import type { PictureSize, Pooling } from "./trace-encoder.ts";

/** A hash under way. */
export interface IdentitySink {
  update(data: string | Uint8Array): unknown;
}

/** An `Encoder`, or an `OnnxEncoder`. */
export interface PictureEncoder extends Disposable {
  /** Numbers in a token. */
  readonly width: number;
  /** Tokens before the patches: class token and registers; 1 of a convolutional network. */
  readonly prefix: number;
  /** Attention heads; 0 where there is no attention. */
  readonly heads: number;
  /** Side of a patch, or the stride of the last map. */
  readonly patchSizePx: number;
  /** Vectors of one picture and layer: 1, or its tokens. Throws ConfigError for registers where there are none. */
  tokens(pool: Pooling, sizePx: PictureSize): number;
  /** The patches of a picture. */
  grid(sizePx: PictureSize): Grid;
  /** Numbers in one vector. */
  dim(pool: Pooling): number;
  /** Blocks by their numbers; the last one where none are named. Throws ConfigError for those that cannot be given. */
  blocks(layers?: readonly number[]): readonly number[];
  /** Whether `encode` takes pictures that are no whole number of patches: pixels left over at the right and at the bottom are not seen. */
  readonly takesPartialPatches: boolean;
  /** Throws ConfigError for a square that is not taken, or not seen to its edges. */
  checkSize(sizePx: number): void;
  /** Throws ConfigError where attention is wanted and there is none. */
  checkAttention(isWanted: boolean): void;
  /** Writes what tells the network from others. */
  writeIdentity(to: IdentitySink): void;
  /** Images `[b, c, y, x]`, normalised, -> features. Throws ConfigError for what cannot be given. */
  encode(images: Float32Array, request: EncodeRequest): Promise<Encoded>;
}
