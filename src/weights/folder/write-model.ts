/** @file Writes a backbone as a folder that `transformers` opens; a ResNet as one that `timm` opens. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type BackboneConfig, isViT, type ViTConfig } from "../../nn/index.ts";
import { replaceDirAtomic } from "../atomic-file.ts";
import { convnextTo, resnetFrom, toHuggingFace } from "../names/index.ts";
import { writeSafetensors } from "../safetensors.ts";
import type { NamedTensors } from "../tensor-bytes.ts";
import { convnextToHuggingFaceConfig } from "./convnext-config.ts";
import { resnetToTimmConfig } from "./timm-config.ts";
import { configText, type HuggingFaceClass, huggingFaceClass, huggingFaceConfigText } from "./hf-config.ts";

/** Networks that can be written: all. */
export type WritableConfig = BackboneConfig;

export interface WriteModelOptions {
  readonly config: WritableConfig;
  /** By our (Meta's) names, all of this network's; running statistics of a ResNet among them. */
  readonly tensors: NamedTensors;
  /** `preprocessor_config.json`; that of the published models of this class unless given. */
  readonly processor?: object | undefined;
  /** The text of the model card, `README.md`; none unless given. */
  readonly card?: string | undefined;
}

const IMAGENET = { image_mean: [0.485, 0.456, 0.406], image_std: [0.229, 0.224, 0.225] } as const;
const NUMBERS = { do_resize: true, do_rescale: true, rescale_factor: 1 / 255, do_normalize: true, ...IMAGENET } as const;

/** How every processor of the family makes numbers of pixels. */
export const PIXEL_NUMBERS: object = NUMBERS;

/** Published models of positions for 518 px are given pictures of 224 px. */
function inputPx({ imageSizePx }: ViTConfig): number {
  return imageSizePx === 518 ? 224 : imageSizePx;
}

const PROCESSORS: { readonly [K in HuggingFaceClass]: (sizePx: number) => object } = {
  ViTModel: (px) => ({ image_processor_type: "ViTImageProcessor", ...NUMBERS, size: { height: px, width: px }, resample: 3 }),
  Dinov2Model: bitProcessor,
  Dinov2WithRegistersModel: bitProcessor,
  DINOv3ViTModel: dinov3Processor,
};

function dinov3Processor(px: number): object {
  return { image_processor_type: "DINOv3ViTImageProcessor", ...NUMBERS, size: { height: px, width: px }, resample: 2 };
}

/** Short side at 256/224 of the size, bicubic; the centre. */
function bitProcessor(px: number): object {
  return {
    image_processor_type: "BitImageProcessor",
    do_convert_rgb: true,
    ...NUMBERS,
    size: { shortest_edge: Math.round((px * 256) / 224) },
    resample: 3,
    do_center_crop: true,
    crop_size: { height: px, width: px },
  };
}

/** `preprocessor_config.json` of the published models of this network's class, at this network's size. Throws ConfigError for no class. */
export function defaultProcessor(config: WritableConfig): object {
  if (!isViT(config)) return config.family === "convnext" ? dinov3Processor(224) : bitProcessor(224); // DINO §1.9
  return PROCESSORS[huggingFaceClass(config)](inputPx(config));
}

const json = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;

/** The text of `config.json`, and the tensors by the names that go with it. */
function describe(
  config: WritableConfig,
  tensors: NamedTensors,
  processor: object,
): { readonly text: string; readonly stored: NamedTensors } {
  if (isViT(config)) return { text: huggingFaceConfigText(config), stored: toHuggingFace(tensors, config) };
  if (config.family === "resnet") return { text: json(resnetToTimmConfig(config, processor)), stored: resnetFrom(tensors, config) };
  return { text: configText(convnextToHuggingFaceConfig(config)), stored: convnextTo(tensors, config, "huggingface") };
}

/**
 * Writes `model.safetensors` (names in order, as transformers writes them), `config.json`, `preprocessor_config.json` and the card into a
 * folder that is there: for transformers, and of a ResNet for timm (`timm.create_model("local-dir:DIR")`). Throws FormatError for tensors
 * that are not this network's, ConfigError for a network that no class computes.
 */
export async function writeModelInto(dir: string, options: WriteModelOptions): Promise<void> {
  const { config, tensors, processor = defaultProcessor(config), card } = options;
  const { text, stored } = describe(config, tensors, processor);
  const named = [...stored].toSorted(([a], [b]) => (a < b ? -1 : 1));
  await writeSafetensors(join(dir, "model.safetensors"), new Map(named), { format: "pt" });
  await writeFile(join(dir, "config.json"), text);
  await writeFile(join(dir, "preprocessor_config.json"), json(processor));
  if (card !== undefined) await writeFile(join(dir, "README.md"), card);
}

/** `writeModelInto` a folder that is there whole or not at all; an older one of that name is replaced. */
export async function writeModelFolder(dir: string, options: WriteModelOptions): Promise<void> {
  await replaceDirAtomic(dir, (into) => writeModelInto(into, options));
}
