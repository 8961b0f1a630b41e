/** @file What the pool and its workers say to each other. */
import type { AugmentConfig, CropsConfig } from "../crops.ts";
import type { EvalCropConfig } from "../eval-crop.ts";
import type { AlphaPolicy, DecodePolicy, ImageRef } from "./decode.ts";

/** What every job of a worker shares; sent once, at its start. Pictures have as many channels as there are means. */
export interface WorkerSetup {
  readonly decode: DecodePolicy;
  readonly alpha: AlphaPolicy;
  readonly maxPixels: number;
  readonly cacheBytes: number;
  readonly render: CropSetup | EvalSetup;
}

export interface CropSetup {
  readonly kind: "crop";
  readonly seed: number;
  /** The pool's crops, then its variants. */
  readonly crops: readonly [CropsConfig, ...CropsConfig[]];
  readonly augment: AugmentConfig;
}

export interface EvalSetup {
  readonly kind: "eval";
  readonly crop: EvalCropConfig;
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** A picture and the row of the batch it goes to. */
export interface Item {
  readonly ref: ImageRef;
  readonly slot: number;
}

/** Where the rows go. `first` holds the globals or the evaluated pictures, `second` the locals, `third` the Gram teacher's crops; all are shared memory. */
export interface BatchTarget {
  readonly epoch: number;
  /** Which of the set-up's crops. */
  readonly cropsIndex: number;
  readonly batch: number;
  readonly first: Float32Array;
  readonly second: Float32Array;
  readonly third?: Float32Array;
}

export interface Chunk {
  readonly id: number;
  readonly items: readonly Item[];
  readonly target: BatchTarget;
}

export interface FailedItem {
  readonly item: Item;
  readonly reason: string;
}

export interface ChunkDone {
  readonly id: number;
  readonly failed: readonly FailedItem[];
  /** The machine lacks something, or we broke an invariant: no picture is to blame. */
  readonly fatal?: { readonly name: string; readonly message: string };
}
