/** @file What a step of a self-distilling method is made of, beside its objectives. */
import type { BackboneConfig, DinoHeadConfig, LoraConfig } from "../nn/index.ts";

export interface StepConfig {
  readonly backbone: BackboneConfig;
  /** Low-rank adapters, which then are all of the backbone that learns. */
  readonly lora?: LoraConfig;
  readonly crops: {
    readonly globalSizePx: number;
    readonly localSizePx: number;
    readonly localCount: number;
  };
  /** Largest rate of stochastic depth, student only; block i drops with rate · i/(depth − 1), or all alike where it is uniform. */
  readonly dropPath: number;
  readonly dropPathUniform?: boolean;
  /** Each row by itself, or the branch on a random part of the rows (DINOv2). */
  readonly dropPathKind?: "per-sample" | "subset";
  /** Patches along a side of the grid that masks are drawn on: the teacher's, for a student of another; the backbone's own by default. */
  readonly gridSide?: number;
  /** Goes before the names of random inputs: students of one run draw their own. */
  readonly drawPrefix?: string;
  /** Images of a batch and of the part of it that the student sees at once. */
  readonly batchSize: number;
  readonly microBatchSize: number;
  /** KoLeo's neighbours and drop path's subsets stay inside groups of this many images; the micro-batch by default. */
  readonly groupSize?: number;
}

/** A step of networks with a DINO head. */
export interface HeadedConfig extends StepConfig {
  readonly head: HeadConfig;
}

export type HeadConfig = DinoHeadConfig & { readonly normLastLayer: boolean };

/** Targets from the teacher's logits. */
export interface TargetConfig {
  readonly centering: "ema" | "sinkhorn";
  readonly centerMomentum: number;
  readonly sinkhornIterations: number;
}
