/** @file Options that several commands share, with one wording. */
import { choice, flag, type Option, text } from "../options.ts";

export type Decode = "python" | "managed";
export type Alpha = "drop" | "white" | "black";
export type Pool = "cls" | "mean" | "cls+mean" | "patch" | "all";

/** How pictures are read. */
export const IMAGES: {
  readonly decode: Option<Decode>;
  readonly alpha: Option<Alpha>;
  readonly "skip-broken": Option<true>;
  readonly labels: Option<string>;
} = {
  decode: choice(["python", "managed"], "how files become pixels: as PIL does, or with EXIF orientation and colour profiles applied"),
  alpha: choice(["drop", "white", "black"], "what transparent pictures are laid on"),
  "skip-broken": flag("leave out files that cannot be read, and say which"),
  labels: text("folder|FILE|none", "where the classes come from; default: the first folder level"),
};

/** Where it computes. */
export const DEVICE: {
  readonly device: Option<"auto" | "cpu" | "openvino" | "webgpu" | "xla">;
  readonly precision: Option<"f32" | "bf16">;
} = {
  device: choice(["auto", "cpu", "openvino", "webgpu", "xla"], "where to compute; this release: the CPU"),
  precision: choice(["f32", "bf16"], "arithmetic; this release: f32"),
};

export const MODEL: { readonly model: Option<string>; readonly arch: Option<string> } = {
  model: text("MODEL", "a run folder, a Hugging Face model folder, a file of weights, an .onnx file, or the id of a model in the cache"),
  arch: text("PRESET", "the architecture of a bare weight file"),
};

export const POOL: Option<Pool> = choice(["cls", "mean", "cls+mean", "patch", "all"], "which tokens make the feature; default: cls");

const DATA_HELP = "a folder (searched through, class = first folder level), a glob, a manifest (.txt, .csv, .jsonl) or tar shards";

/** An option that names images. */
export function dataOption(what: string): Option<string> {
  return text("DATA", `${what}: ${DATA_HELP}`);
}
