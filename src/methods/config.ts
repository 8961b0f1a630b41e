/** @file What a step of a self-distilling method is made of, beside its objectives. */
import type { BackboneConfig, DinoHeadConfig } from "../nn/index.ts";

export interface StepConfig {
  readonly backbone: BackboneConfig;
  readonly head: HeadConfig;
  readonly crops: {
    readonly globalSizePx: number;
    readonly localSizePx: number;
    readonly localCount: number;
  };
  /** Largest rate of stochastic depth; block i drops with rate · i/(depth − 1). Student only. */
  readonly dropPath: number;
  /** Images of a batch and of the part of it that the student sees at once. */
  readonly batchSize: number;
  readonly microBatchSize: number;
  /** KoLeo looks for neighbours inside groups of this many images; the micro-batch by default. */
  readonly groupSize?: number;
}

export type HeadConfig = DinoHeadConfig & { readonly normLastLayer: boolean };

/** Targets from the teacher's logits. */
export interface TargetConfig {
  readonly centering: "ema" | "sinkhorn";
  readonly centerMomentum: number;
  readonly sinkhornIterations: number;
}
