/** @file Any checkpoint of the family to another format or naming: written aside, read again, compared, and only then in its place. */
import { stat, writeFile } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { ConfigError, InternalError, type JobOptions, UsageError } from "../../core/index.ts";
import { type BackboneConfig, isViT } from "../../nn/index.ts";
import type { BackboneSource, LazyTensors, OpenBackbone } from "../folder/backbone.ts";
import { convnextToHuggingFaceConfig } from "../folder/convnext-config.ts";
import { configText, huggingFaceConfigText } from "../folder/hf-config.ts";
import { openBackbone } from "../folder/read-backbone.ts";
import { resnetToTimmConfig } from "../folder/timm-config.ts";
import { convnextToTimmConfig, vitToTimmConfig } from "../folder/timm-names.ts";
import { defaultProcessor, PIXEL_NUMBERS } from "../folder/write-model.ts";
import { resolveModelPath } from "../hub/cache.ts";
import { writeFolderLookedAt, writeLookedAt } from "../looked-at.ts";
import type { Naming } from "../names/index.ts";
import { type StreamedTensor, writeSafetensors } from "../safetensors.ts";
import { checkModel, checkTensors } from "./check.ts";
import { checkOut } from "./out.ts";
import { presetNameOf } from "./preset-name.ts";
import { storedAs } from "./stored.ts";
import { plainTensors } from "./plain.ts";

/** `hf` and `timm`: a folder that the library opens; `meta`: names and buffers of Meta's classes; `safetensors`: as it is, in another file format. */
export type ConvertTarget = "hf" | "timm" | "meta" | "safetensors";
export const CONVERT_TARGETS: readonly ConvertTarget[] = ["hf", "timm", "meta", "safetensors"];

export interface ConvertOptions extends JobOptions {
  readonly to: ConvertTarget;
  /** A folder (`hf`, `timm`), or a file whose name ends in `.safetensors` (all but `hf`). */
  readonly out: string;
  /** Architecture of a bare file: a preset's name, or the configuration itself. Without it, it is inferred from the shapes. */
  readonly arch?: string | BackboneConfig | undefined;
  /** Replaces what is there: a file, or a folder that holds a model and nothing else. */
  readonly overwrite?: boolean | undefined;
}

export interface ConvertResult {
  readonly to: ConvertTarget;
  /** What was written: a folder or a file. */
  readonly out: string;
  /** The file or index that was read. */
  readonly file: string;
  /** Whose weights those are. */
  readonly source: BackboneSource;
  /** The preset of this architecture, where there is one. */
  readonly architecture: string | null;
  readonly parameters: number;
  /** Tensors that were written, and bytes of their file. */
  readonly tensors: number;
  readonly sizeBytes: number;
  /** Tensors that were read again and found equal, bit by bit. */
  readonly checked: number;
  /** Parameters that the target has no place for, by Meta's names. */
  readonly leftOut: readonly string[];
}

interface Plan {
  readonly tensors: ReadonlyMap<string, StreamedTensor>;
  readonly leftOut: readonly string[];
  /** Names and texts of the files beside the weights; undefined where a file is written. */
  readonly beside: Readonly<Record<string, string>> | undefined;
  readonly check: (path: string) => Promise<number>;
}

const NAMINGS: { readonly [K in Exclude<ConvertTarget, "safetensors">]: Naming } = { hf: "huggingface", timm: "timm", meta: "meta" };
const WEIGHTS = "model.safetensors";

const json = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;

/** The source's own processor, with what the libraries want of it besides; that of the published models where there is none. */
function processorOf({ config, processor }: OpenBackbone): object {
  if (processor === undefined) return defaultProcessor(config);
  if ("image_processor_type" in processor || "feature_extractor_type" in processor) return processor;
  return { image_processor_type: "BitImageProcessor", do_convert_rgb: true, do_center_crop: false, ...PIXEL_NUMBERS, ...processor };
}

/** The text of `config.json` for a library. Throws ConfigError for a network that it has no words for. */
function describe(config: BackboneConfig, to: "hf" | "timm", processor: object): string {
  if (isViT(config)) return to === "hf" ? huggingFaceConfigText(config) : json(vitToTimmConfig(config, processor));
  if (config.family === "convnext")
    return to === "hf" ? configText(convnextToHuggingFaceConfig(config)) : json(convnextToTimmConfig(config, processor));
  if (to === "timm") return json(resnetToTimmConfig(config, processor));
  throw new ConfigError("Cannot write a ResNet for Hugging Face: transformers has no class of DINO's; write it for timm (to: timm)", {
    keyPath: "to",
  });
}

/** What will be written; everything that can be refused is refused here. */
function planOf(model: OpenBackbone, { to, out }: ConvertOptions, isFolder: boolean): Plan {
  const { config, contents } = model;
  if (to === "safetensors") {
    const { tensors, expected } = plainTensors(contents);
    return { tensors, leftOut: [], beside: undefined, check: (path) => checkTensors(path, { out, expected }) };
  }
  const { tensors, expected, leftOut } = storedAs(model, NAMINGS[to]);
  const check = (path: string): Promise<number> => checkModel(path, { out, expected, config, isFolder });
  if (!isFolder || to === "meta") return { tensors, leftOut, beside: undefined, check };
  const processor = processorOf(model);
  return {
    tensors,
    leftOut,
    beside: { "config.json": describe(config, to, processor), "preprocessor_config.json": json(processor) },
    check,
  };
}

/** Pieces that stop at Ctrl-C and say how far they are. */
function watched(tensors: Plan["tensors"], { signal, onProgress }: JobOptions): Map<string, StreamedTensor> {
  let done = 0;
  return new Map(
    [...tensors].map(([name, tensor]) => {
      async function* pieces(): AsyncGenerator<Uint8Array> {
        signal?.throwIfAborted();
        yield* tensor.pieces();
        onProgress?.({ what: "converting", done: ++done, total: tensors.size, unit: "tensors" });
      }
      return [name, { ...tensor, pieces }];
    }),
  );
}

async function writeFolder(dir: string, { beside = {} }: Plan, tensors: Plan["tensors"]): Promise<void> {
  await writeSafetensors(join(dir, WEIGHTS), tensors, { format: "pt" });
  for (const [name, text] of Object.entries(beside)) await writeFile(join(dir, name), text);
}

function countOf({ shapes }: LazyTensors): number {
  return [...shapes]
    .filter(([name]) => !/\.running_(?:mean|var)$/.test(name))
    .reduce((n, [, shape]) => n + shape.reduce((a, b) => a * b, 1), 0);
}

/** Throws UsageError where the result would take the place of what is read. */
function checkApart(file: string, out: string): void {
  const inside = relative(resolve(out), resolve(file));
  if (inside === "" || inside === basename(inside))
    throw new UsageError(`Cannot convert "${file}" into "${out}": it would replace what is read; choose another place`);
}

/**
 * Converts a backbone: whatever `readBackbone` opens, or the name of a model in the cache, to a folder that `transformers` or `timm` opens,
 * to a file under timm's names, under Meta's with its buffers, or under the names it has. Values are float32 (`safetensors`: as they are,
 * float16 as float32), made one parameter at a time, read again and compared bit by bit before the result takes its place.
 *
 * Throws UsageError for a place that cannot be or is taken, FormatError and ConfigError as `readBackbone` does, ConfigError for a network
 * that the target has no names or words for, PlatformError for a full disk.
 */
export async function convertModel(src: string, options: ConvertOptions): Promise<ConvertResult> {
  const { to, out, arch, overwrite = false } = options;
  if (!CONVERT_TARGETS.includes(to))
    throw new UsageError(`Cannot convert to "${to as string}": there is no such target; choose one of ${CONVERT_TARGETS.join(", ")}`);
  const isFolder = await checkOut(out, { to, overwrite });
  await using model = await openBackbone((await resolveModelPath(src)) ?? src, { arch });
  checkApart(model.file, out);
  const plan = planOf(model, options, isFolder);
  const tensors = watched(plan.tensors, options);
  const checked = isFolder
    ? await writeFolderLookedAt(out, { write: (dir) => writeFolder(dir, plan, tensors), look: plan.check })
    : await writeLookedAt(out, { write: (path) => writeSafetensors(path, tensors, { format: "pt" }), look: plan.check });
  const written = await stat(isFolder ? join(out, WEIGHTS) : out);
  if (checked === 0) throw new InternalError(`Cannot convert "${src}": nothing was compared`);
  return {
    to,
    out,
    file: model.file,
    source: model.source,
    architecture: presetNameOf(model.config) ?? null,
    parameters: countOf(model.params),
    tensors: plan.tensors.size,
    sizeBytes: written.size,
    checked,
    leftOut: plan.leftOut,
  };
}
