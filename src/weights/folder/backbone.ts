/** @file What an opened backbone is, and what is known of its file before. */
import type { HostTensor, Shape } from "../../core/index.ts";
import type { BackboneConfig } from "../../nn/index.ts";
import type { NamedTensors } from "../tensor-bytes.ts";
import type { Contents } from "./contents.ts";

/** Whose weights: their positions are resized as there (contracts 18). */
export type BackboneSource = "huggingface" | "meta" | "timm" | "tricera";

/** Tensors that are read when asked for: float32, by our (Meta's) names; running statistics of batch norm among them. */
export interface LazyTensors {
  readonly shapes: ReadonlyMap<string, Shape>;
  readonly read: (name: string) => Promise<HostTensor>;
}

/** A network and whose it is. */
interface Network {
  readonly config: BackboneConfig;
  readonly source: BackboneSource;
}

/** A network whose keys are checked; no more is read than asked for. */
export interface OpenNetwork extends Network {
  readonly params: LazyTensors;
}

/** A network whose tensors are in memory. */
export interface Opened extends Network {
  /** float32, by our (Meta's) names; running statistics of batch norm among them. */
  readonly tensors: NamedTensors;
}

/** Reads a network's tensors one after the other: with them, no more is held than the stored parts of one. */
export async function readParams({ config, source, params }: OpenNetwork): Promise<Opened> {
  const tensors = new Map<string, HostTensor>();
  for (const name of params.shapes.keys()) tensors.set(name, await params.read(name));
  return { config, source, tensors };
}

/** The float32 tensors of a network as what `Encoder` takes. */
export function float32Of(tensors: ReadonlyMap<string, HostTensor>): Map<string, Float32Array> {
  return new Map([...tensors].flatMap(([name, { data }]) => (data instanceof Float32Array ? [[name, data] as const] : [])));
}

/** Where a backbone came from. */
interface Origin {
  /** What stands in `preprocessor_config.json` (or in timm's `config.json`), where there is one beside the file. */
  readonly processor: object | undefined;
  /** The file or index that the tensors were read from. */
  readonly file: string;
}

/** A backbone whose tensors are in memory. */
export interface Backbone extends Opened, Origin {}

/** A backbone whose tensors are read when asked for. Owns its files. */
export interface OpenBackbone extends OpenNetwork, Origin, AsyncDisposable {
  /** The same tensors as they are stored. */
  readonly contents: Contents;
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
