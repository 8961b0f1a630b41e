/** @file What `exportModel()` is told, checked before anything is read or written. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError, type JobOptions, nameHint } from "../../core/index.ts";
import { type BackboneConfig, isViT, patchSizeOf } from "../../nn/index.ts";
import { checkPictureSize } from "../fit.ts";
import type { WeightDType } from "./stored-weights.ts";

/** `onnx`: one file that ONNX Runtime runs. `safetensors`: the weights by their published names. `hf`: a folder for transformers and transformers.js. */
export type ExportFormat = "onnx" | "safetensors" | "hf";

export interface ExportOptions extends JobOptions {
  /** A run folder, a Hugging Face folder, a weight file, or the id of a model in the cache. */
  readonly model: string;
  /** The architecture of a bare weight file. */
  readonly arch?: string | undefined;
  /** A `.onnx` or `.safetensors` file, or, for `hf`, a folder. */
  readonly out: string;
  readonly format?: ExportFormat;
  /** Side of the pictures; default: the model's own. Where the size is open, the one it is checked at and the folder's processor resizes to. */
  readonly imageSizePx?: number | undefined;
  /** Pictures at once; open unless given. */
  readonly batchSize?: number | undefined;
  /** Whether height and width are open, too: any multiples of the patch (of 32 px for a ConvNeXt), for a ResNet any. */
  readonly dynamic?: boolean;
  /** How weights are stored; it computes in float32. */
  readonly dtype?: WeightDType;
  /** Whether weights go to a file beside the graph (`x.onnx` and `x.onnx_data`); so they do in any case from 2 GiB on. */
  readonly externalData?: boolean | undefined;
  /** Names of `OUTPUT_NAMES`; default `cls`, `patches`, and for `hf` `last_hidden_state`, `pooler_output`. */
  readonly outputs?: readonly string[] | undefined;
  /** Whether what was written is run against the source; on unless said. */
  readonly check?: boolean;
  readonly overwrite?: boolean;
  readonly threads?: number | undefined;
  /** Seed of the pictures it is checked with. */
  readonly seed?: number | undefined;
}

const FORMATS: { readonly [K in ExportFormat]: string } = { onnx: ".onnx", safetensors: ".safetensors", hf: "" };
const DTYPES: { readonly [K in WeightDType]: true } = { f32: true, f16: true, int8: true };

function fail(keyPath: string, state: string, todo: string): never {
  throw new ConfigError(`Cannot export: ${state}; ${todo}`, { keyPath });
}

/** Throws ConfigError for formats, types and numbers that are none, and for combinations that nothing is written for. */
export function checkExportOptions(options: ExportOptions): void {
  const { format = "onnx", dtype = "f32", batchSize, seed } = options;
  if (!Object.hasOwn(FORMATS, format)) fail("format", `there is no format "${format}"`, nameHint(format, Object.keys(FORMATS)));
  if (!Object.hasOwn(DTYPES, dtype)) fail("dtype", `there is no type "${dtype}"`, nameHint(dtype, Object.keys(DTYPES)));
  if (batchSize !== undefined && (!Number.isInteger(batchSize) || batchSize < 1))
    fail("batchSize", `the batch is ${batchSize}`, "give a whole number from 1, or leave it open");
  if (seed !== undefined && (!Number.isInteger(seed) || seed < 0)) fail("seed", `the seed is ${seed}`, "give a whole number from 0");
  checkName(options.out, format);
  if (format === "safetensors") checkPlain(options);
}

function checkName(out: string, format: ExportFormat): void {
  const suffix = FORMATS[format];
  if (!out.endsWith(suffix) || out === suffix) fail("out", `"${out}" does not end in ${suffix}`, "give such a name, or another --format");
  if (format === "hf" && /\.(onnx|safetensors)$/.test(out))
    fail("out", `"${out}" is the name of a file`, "hf writes a folder; give its name");
}

/** Weights alone have no graph. */
function checkPlain({ dtype = "f32", batchSize, dynamic = false, outputs, externalData = false }: ExportOptions): void {
  const onnxOnly = { dynamic, externalData, outputs: outputs !== undefined, batchSize: batchSize !== undefined, dtype: dtype !== "f32" };
  for (const [key, isGiven] of Object.entries(onnxOnly))
    if (isGiven)
      fail(key, `safetensors hold weights as float32 and no graph, so ${key} means nothing`, "leave it out, or use --format onnx");
}

/** The files that make a folder a model's: only such a folder, or an empty one, is replaced. */
const MODEL_FILE = "config.json";

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

/** Throws ConfigError where something is in the way. */
export async function checkOut({ out, format = "onnx", overwrite = false, externalData = false }: ExportOptions): Promise<void> {
  if (format === "onnx" && externalData && !overwrite) await checkData(out);
  const there = await stat(out).catch(() => undefined);
  if (there === undefined) return;
  if (!overwrite) fail("out", `"${out}" is there already`, "give --overwrite or another --out");
  if (there.isDirectory() !== (format === "hf"))
    fail(
      "out",
      `"${out}" is ${there.isDirectory() ? "a folder" : "a file"}`,
      `${format} is written as ${format === "hf" ? "a folder" : "a file"}; give another --out`,
    );
  if (format === "hf" && !(await isThere(join(out, MODEL_FILE))))
    fail("out", `"${out}" has no ${MODEL_FILE}, so it is no model folder`, "it is not replaced; give another --out");
}

/** The file of a graph's weights, as transformers.js looks for it. */
export function dataPath(onnx: string): string {
  return `${onnx}_data`;
}

/** Throws ConfigError where the weights of another graph may lie. */
export async function checkData(out: string): Promise<void> {
  if (await isThere(dataPath(out))) fail("out", `"${dataPath(out)}" is there already`, "give --overwrite or another --out");
}

/** Throws ConfigError for a size that the network cannot take. */
export function checkSize(config: BackboneConfig, imageSizePx: number, dynamic: boolean): void {
  const patch = patchSizeOf(config);
  const wantsSteps = isViT(config) || (dynamic && config.family === "convnext");
  if (wantsSteps) checkPictureSize(imageSizePx, patch);
  else if (!Number.isInteger(imageSizePx) || imageSizePx < patch)
    fail("imageSizePx", `${imageSizePx} px are too few`, `a convolutional network wants ${patch} or more`);
}
