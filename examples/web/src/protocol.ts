/** @file What the page asks of its worker, and what the worker answers. */
import type { Progress } from "tricera/web";

/** The two pictures. */
export type Slot = "a" | "b";
export const SLOTS = ["a", "b"] as const;

export interface ModelRequest {
  /** Id of the hub, URL of a folder, or chosen files. */
  readonly source: string | readonly File[];
  readonly device: "auto" | "wasm" | "webgpu";
  /** Short side in pixels; the model's own where undefined. */
  readonly imageSizePx: number | undefined;
}

export interface ModelInfo {
  readonly width: number;
  readonly heads: number;
  readonly patchSizePx: number;
  readonly imageSizePx: number;
  readonly device: "wasm" | "webgpu";
}

export interface Grid {
  readonly rows: number;
  readonly columns: number;
}

/** What the page needs of a picture; the tokens stay in the worker. */
export interface Embedded {
  readonly grid: Grid;
  /** `[heads, p]`; empty for a convolutional network. */
  readonly attention: Float32Array;
  readonly ms: number;
}

/** Cosines with one patch, of every patch in a picture. */
export interface Similar {
  readonly values: Float32Array;
  readonly best: number;
}

export interface Methods {
  load(request: ModelRequest): ModelInfo;
  embed(request: { readonly slot: Slot; readonly picture: Blob }): Embedded;
  forget(slot: Slot): void;
  /** Principal components of all patches together, as RGB a patch. */
  colours(request: undefined): Partial<Record<Slot, Uint8Array>>;
  similar(request: { readonly slot: Slot; readonly patch: number }): Partial<Record<Slot, Similar>>;
}

export type Method = keyof Methods;
export type Argument<M extends Method> = Parameters<Methods[M]>[0];
export type Result<M extends Method> = ReturnType<Methods[M]>;

export type ToWorker =
  | { readonly [M in Method]: { readonly kind: "call"; readonly id: number; readonly method: M; readonly argument: Argument<M> } }[Method]
  | { readonly kind: "abort"; readonly id: number };

export type FromWorker =
  | { readonly kind: "result"; readonly id: number; readonly value: unknown }
  | { readonly kind: "error"; readonly id: number; readonly message: string; readonly isAbort: boolean }
  | { readonly kind: "progress"; readonly progress: Progress };
