/** @file Opens the weights of a backbone, from wherever: Hugging Face folders, timm's and Meta's files, run folders. */
import { join } from "node:path";
import { ConfigError, nameHint } from "../../core/index.ts";
import {
  type BackboneConfig,
  CONVNEXT_PRESETS,
  type ConvNeXtConfig,
  isViT,
  RESNET_PRESETS,
  type ResNetConfig,
  VIT_PRESETS,
  type ViTConfig,
} from "../../nn/index.ts";
import { openShards, openTensors, type TensorSource } from "../tensor-source.ts";
import { type Asked, type Backbone, type BackboneSource, type OpenBackbone, type OpenNetwork, readParams } from "./backbone.ts";
import { Contents } from "./contents.ts";
import { convnextFromHuggingFaceConfig } from "./convnext-config.ts";
import { findWeights, type Place, readJson, readProcessor } from "./find-weights.ts";
import { fromHuggingFaceConfig } from "./hf-config.ts";
import { lazyConvNeXt, lazyResNet } from "./open-convolution.ts";
import { lazyViT } from "./open-vit.ts";
import { readTimmConfig, type TimmFolder } from "./timm-config.ts";

export interface ReadBackboneOptions {
  /** Architecture of a bare file: a preset's name, or the configuration itself. Without it, it is inferred from the shapes. */
  readonly arch?: string | BackboneConfig | undefined;
}

/** What a folder says of itself. */
interface Described {
  readonly config?: BackboneConfig;
  readonly timm?: TimmFolder;
}

function isConvNeXt(raw: unknown): boolean {
  return typeof raw === "object" && raw !== null && "model_type" in raw && raw.model_type === "dinov3_convnext";
}

/** What a folder's `config.json` says, ours to resize positions as Hugging Face does. */
async function describe(dir: string): Promise<Described> {
  const file = join(dir, "config.json");
  const raw = await readJson(file);
  const timm = readTimmConfig(raw, file);
  if (timm !== undefined) return { timm };
  return { config: isConvNeXt(raw) ? convnextFromHuggingFaceConfig(raw, file) : fromHuggingFaceConfig(raw, file) };
}

function presetOf(name: string): BackboneConfig | undefined {
  return VIT_PRESETS.get(name) ?? CONVNEXT_PRESETS.get(name) ?? RESNET_PRESETS.get(name);
}

/** A preset of any family. Throws ConfigError with the nearest name. */
function namedConfig(name: string): BackboneConfig {
  const known = [...VIT_PRESETS.keys(), ...CONVNEXT_PRESETS.keys(), ...RESNET_PRESETS.keys()];
  const config = presetOf(name);
  if (config !== undefined) return config;
  throw new ConfigError(`Cannot find model "${name}": there is no such preset; ${nameHint(name, known)}`, { keyPath: "model.arch" });
}

interface Families {
  readonly vit: ViTConfig;
  readonly convnext: ConvNeXtConfig;
  readonly resnet: ResNetConfig;
}
const TITLES = { vit: "vision transformer", convnext: "ConvNeXt", resnet: "ResNet" } as const;

/** A configuration as one of the family that the file's names are of. Throws ConfigError for another family. */
function ofFamily<F extends keyof Families>(config: BackboneConfig | undefined, family: F, file: string): Families[F] | undefined {
  if (config === undefined) return undefined;
  const said = isViT(config) ? "vit" : config.family;
  if (said === family) return config as Families[F]; // the family was just compared
  throw new ConfigError(
    `Cannot open "${file}": its tensors are of a ${TITLES[family]}, the architecture is a ${TITLES[said]}; choose the architecture of these weights`,
    { keyPath: "arch" },
  );
}

interface Said extends Described {
  readonly place: Place;
  readonly arch: ReadBackboneOptions["arch"];
}

function sourceOf({ config, timm, place: { isRun } }: Said): BackboneSource | undefined {
  if (isRun) return "tricera";
  if (timm !== undefined) return "timm";
  return config === undefined ? undefined : "huggingface";
}

async function openNetwork(contents: Contents, said: Said): Promise<OpenNetwork> {
  const { file } = said.place;
  const name = said.timm?.names.findLast((n) => presetOf(n) !== undefined) ?? (typeof said.arch === "string" ? said.arch : undefined);
  const arch = name !== undefined ? namedConfig(name) : typeof said.arch === "object" ? said.arch : undefined;
  const asked = <F extends keyof Families>(family: F): Asked<Families[F]> => {
    const named = said.config === undefined ? ofFamily(arch, family, file) : undefined;
    // timm's folders may change the blocks of the architecture they name; the shapes of a convolutional network tell them
    const isLoose = said.timm !== undefined && family !== "vit";
    return { file, described: ofFamily(said.config, family, file), named: isLoose ? undefined : named, name, source: sourceOf(said) };
  };
  const { names } = contents;
  if (names.family === "vit") return await lazyViT(contents, names.dialect, asked("vit"));
  if (names.family === "convnext") return await lazyConvNeXt(contents, names.naming, asked("convnext"));
  return lazyResNet(contents, asked("resnet"));
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
    const network = await openNetwork(contents, { ...described, arch, place });
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
