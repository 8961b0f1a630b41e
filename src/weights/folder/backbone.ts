/** @file What an opened backbone is, and what is known of its file before. */
import type { BackboneConfig } from "../../nn/index.ts";
import type { NamedTensors } from "../tensor-bytes.ts";

/** Whose weights: their positions are resized as there (contracts 18). */
export type BackboneSource = "huggingface" | "meta" | "timm" | "tricera";

/** A network, whose it is, and its tensors. */
export interface Opened {
  readonly config: BackboneConfig;
  /** float32, by our (Meta's) names; running statistics of batch norm among them. */
  readonly tensors: NamedTensors;
  readonly source: BackboneSource;
}

export interface Backbone extends Opened {
  /** What stands in `preprocessor_config.json` (or in timm's `config.json`), where there is one beside the file. */
  readonly processor: object | undefined;
  /** The file or index that the tensors were read from. */
  readonly file: string;
}

/** What is known of a file before it is opened. */
export interface Asked<C> {
  readonly file: string;
  /** By the folder's own description. */
  readonly described: C | undefined;
  /** By the caller, of a bare file, and its name if it has one. */
  readonly named: C | undefined;
  readonly name: string | undefined;
  /** Undefined for a bare file, whose names tell. */
  readonly source: BackboneSource | undefined;
}
