/** @file Opens the weights of a backbone, from wherever: Hugging Face folders, timm's and Meta's files, run folders. */
import { join } from "node:path";
import type { BackboneConfig } from "../../nn/index.ts";
import { openShards, openTensors, type TensorSource } from "../tensor-source.ts";
import { type Backbone, type OpenBackbone, readParams } from "./backbone.ts";
import { Contents } from "./contents.ts";
import { findWeights, type Place, readJson, readProcessor } from "./find-weights.ts";
import { type Described, openNetwork, readDescription } from "./open-network.ts";

export interface ReadBackboneOptions {
  /** Architecture of a bare file: a preset's name, or the configuration itself. Without it, it is inferred from the shapes. */
  readonly arch?: string | BackboneConfig | undefined;
}

async function describe(dir: string): Promise<Described> {
  const file = join(dir, "config.json");
  return readDescription(await readJson(file), file);
}

async function openPlace({ file }: Place): Promise<TensorSource> {
  return file.endsWith(".index.json") ? openShards(file, await readJson(file)) : openTensors(file);
}

/**
 * Opens a backbone as `readBackbone` does, all keys checked, and reads its tensors when they are asked for. Throws as that does.
 */
export async function openBackbone(path: string, { arch }: ReadBackboneOptions = {}): Promise<OpenBackbone> {
  const place = await findWeights(path);
  const described = place.dir === undefined ? {} : await describe(place.dir);
  const source = await openPlace(place);
  try {
    const contents = new Contents(source);
    const network = await openNetwork(contents, { ...described, arch, file: place.file, isRun: place.isRun });
    const processor = (await readProcessor(place.dir)) ?? described.timm?.processor;
    return { ...network, contents, processor, file: place.file, [Symbol.asyncDispose]: () => source[Symbol.asyncDispose]() };
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * Reads a backbone: a Hugging Face folder (`ViTModel`, `Dinov2Model`, `Dinov2WithRegistersModel`, `DINOv3ViTModel`, `DINOv3ConvNextModel`;
 * whole or sharded), a folder of timm's, a run folder (`exported/best`, else `exported/last`), or a file of a ViT, ConvNeXt or ResNet under
 * Meta's, Hugging Face's, timm's or torchvision's names and any prefix. Values of float32, float16, bfloat16 and float64 are given as
 * float32. Throws FormatError for damaged files and, in one message, for all keys that are missing, extra or wrongly shaped; ConfigError
 * where a bare file does not tell its architecture, or that of another family is asked for.
 */
export async function readBackbone(path: string, options: ReadBackboneOptions = {}): Promise<Backbone> {
  await using opened = await openBackbone(path, options);
  const { processor, file } = opened;
  return { ...(await readParams(opened)), processor, file };
}
