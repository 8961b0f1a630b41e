/** @file How a model wants its pictures: Hugging Face's `preprocessor_config.json` as rules, the family's own rules, those of a run. Needs no Node. */
import { z } from "zod";
import { ConfigError, FormatError } from "../core/index.ts";
import { type EvalCropConfig, IMAGENET_MEAN, IMAGENET_STD, type Kernel } from "../images/index.ts";
import { type BackboneConfig, isViT } from "../nn/index.ts";

/** From file to pixels to numbers. */
export interface Preprocessing extends EvalCropConfig {
  /** One number a channel. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** How files become pixels (contracts 22). */
export interface DecodeRules {
  readonly decode: "python" | "managed";
  readonly alpha: "drop" | "white" | "black";
}

const perChannel = z.array(z.number()).min(1);
const px = z.int().min(1);
type Sides = number | { readonly height: number; readonly width: number };
const sides: z.ZodType<Sides> = z.union([px, z.object({ height: px, width: px })]);

/** The part of a processor's file that is used. */
interface ProcessorFile {
  readonly image_processor_type?: string | undefined;
  readonly image_mean: readonly number[];
  readonly image_std: readonly number[];
  readonly do_normalize: boolean;
  readonly resample: number;
  readonly size?: Sides | { readonly shortest_edge: number } | undefined;
  readonly do_center_crop: boolean;
  readonly crop_size?: Sides | undefined;
}

const processorSchema: z.ZodType<ProcessorFile> = z.object({
  image_processor_type: z.string().optional(),
  image_mean: perChannel.default([...IMAGENET_MEAN]),
  image_std: perChannel.default([...IMAGENET_STD]),
  do_normalize: z.boolean().default(true),
  resample: z.int().min(0).max(5).default(2),
  size: z.union([sides, z.object({ shortest_edge: px })]).optional(),
  do_center_crop: z.boolean().default(false),
  crop_size: sides.optional(),
});

/** Pillow's numbers. */
const KERNELS: readonly Kernel[] = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"];

function squareSide(size: Sides, file: string): number {
  if (typeof size === "number") return size;
  if (size.height === size.width) return size.height;
  throw new FormatError(`Cannot open model: "${file}" wants ${size.height}x${size.width} px; only squares are known`, { file });
}

/** DINOv3's processor rescales before it resizes, so that it resizes floats (contracts 23). */
function isDinoV3({ image_processor_type: type = "" }: ProcessorFile): boolean {
  return type.startsWith("DINOv3ViT");
}

/** What a processor does, `imageSizePx` being the network's own where the file names none. */
function toPreprocessing(p: ProcessorFile, { file, imageSizePx }: { readonly file: string; readonly imageSizePx: number }): Preprocessing {
  const { size = imageSizePx, crop_size: crop, resample } = p;
  const kernel = KERNELS[resample] ?? "bilinear";
  const numbers = p.do_normalize
    ? { mean: p.image_mean, std: p.image_std }
    : { mean: p.image_mean.map(() => 0), std: p.image_std.map(() => 1) };
  const cropOffset = "floor"; // as Hugging Face's processors
  const floats = isDinoV3(p) ? { arithmetic: "float" as const } : {};
  if (typeof size === "object" && "shortest_edge" in size) {
    const side = p.do_center_crop && crop !== undefined ? squareSide(crop, file) : size.shortest_edge;
    return {
      imageSizePx: side,
      resize: "short-side",
      cropRatio: Math.min(1, side / size.shortest_edge),
      cropOffset,
      kernel,
      ...floats,
      ...numbers,
    };
  }
  return { imageSizePx: squareSide(size, file), resize: "square", kernel, ...floats, ...numbers };
}

interface ProcessorPlace {
  /** For error messages. */
  readonly file: string;
  /** The network's own, for a file that names none. */
  readonly imageSizePx: number;
  /** What to do about a wrong file; default "correct it". */
  readonly todo?: string | undefined;
}

/** What the content of a `preprocessor_config.json` does. Throws FormatError for a wrong one. */
export function readProcessorRules(raw: unknown, { file, imageSizePx, todo = "correct it" }: ProcessorPlace): Preprocessing {
  const parsed = processorSchema.safeParse(raw);
  if (parsed.success) return toPreprocessing(parsed.data, { file, imageSizePx });
  const [issue] = parsed.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? "form" : issue.path.join(".");
  throw new FormatError(`Cannot open model: "${file}" has a wrong ${where} (${issue?.message ?? "unknown"}); ${todo}`, { file });
}

interface ChannelPlace {
  readonly model: string;
  readonly channels: number;
  /** Where means and deviations stand. */
  readonly place?: string | undefined;
}

/** Throws ConfigError unless there are means and deviations for each channel. */
export function checkChannels(
  { mean, std }: Preprocessing,
  { model, channels, place = "a preprocessor_config.json beside the weights" }: ChannelPlace,
): void {
  if (mean.length === channels && std.length === channels) return;
  throw new ConfigError(
    `Cannot open model "${model}": it takes ${channels} channels and there are ${mean.length} means and ${std.length} deviations; give image_mean and image_std of ${channels} numbers in ${place}`,
    { keyPath: "model.channels" },
  );
}

/** Side of the pictures that a network's positions are for; of those a convolutional network is published for. */
export function networkSizePx(config: BackboneConfig): number {
  return isViT(config) ? config.imageSizePx : 224;
}

/**
 * The evaluation transform of the family, for weights that come without a processor. DINO (its ResNet, too) and DINOv2: short side 256 px,
 * centre 224 px, bicubic, in proportion (§1.9, §2.7); DINOv3 (its ConvNeXt, too): a square of 224 px, bilinear, in floats (§3.11).
 */
export function familyPreprocessing(config: BackboneConfig): Preprocessing {
  const numbers = { mean: IMAGENET_MEAN, std: IMAGENET_STD };
  const stored = networkSizePx(config);
  const imageSizePx = stored === 518 ? 224 : stored; // DINOv2 stores positions for 518 px and is given 224
  const isV3 = isViT(config) ? config.positions === "rope" : config.family === "convnext";
  if (isV3) return { imageSizePx, resize: "square", kernel: "bilinear", arithmetic: "float", ...numbers };
  return { imageSizePx, resize: "short-side", cropRatio: 224 / 256, kernel: "bicubic", ...numbers };
}

const runSchema = z.object({
  config: z.object({ data: z.object({ decode: z.enum(["python", "managed"]), alpha: z.enum(["drop", "white", "black"]) }) }),
});

/** Models of others are met as Pillow reads files. */
export const FOREIGN_RULES: DecodeRules = { decode: "python", alpha: "drop" };

/** The rules that stand in a run's `config.json`; those of others where it is no run's. */
export function runDecodeRules(raw: unknown): DecodeRules {
  const parsed = runSchema.safeParse(raw);
  if (!parsed.success) return FOREIGN_RULES;
  const { decode, alpha } = parsed.data.config.data;
  return { decode, alpha };
}
