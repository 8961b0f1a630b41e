/** @file A model's files to its network, weights and preprocessing: what `features/model.ts` does in Node. */
import { ConfigError, FormatError, nameHint } from "../core/index.ts";
import {
  type BackboneConfig,
  CONVNEXT_PRESETS,
  type ConvNeXtConfig,
  isViT,
  RESNET_PRESETS,
  type ResNetConfig,
  VIT_PRESETS,
  type ViTConfig,
} from "../nn/index.ts";
import type { Preprocessing } from "../features/processor.ts";
import type { Asked, Opened } from "../weights/folder/backbone.ts";
import { Contents } from "../weights/folder/contents.ts";
import { convnextFromHuggingFaceConfig } from "../weights/folder/convnext-config.ts";
import { fromHuggingFaceConfig } from "../weights/folder/hf-config.ts";
import { openConvNeXt, openResNet } from "../weights/folder/open-convolution.ts";
import { openViT } from "../weights/folder/open-vit.ts";
import { readTimmConfig, type TimmFolder } from "../weights/folder/timm-config.ts";
import type { TensorSource } from "../weights/tensor-source.ts";
import { readJsonOf } from "./byte-source.ts";
import { INDEX, type ModelFiles, need } from "./model-files.ts";
import { familyPreprocessing, networkSizePx, processorSchema, toPreprocessing } from "./processor.ts";
import { joinSources, openSafetensorsOf, shardsOf } from "./tensors.ts";

/** A network with its weights in memory. */
export interface WebBackbone {
  readonly config: BackboneConfig;
  /** float32, by our names. */
  readonly params: ReadonlyMap<string, Float32Array>;
  readonly preprocessing: Preprocessing;
}

const CONFIG = "config.json";
const PROCESSOR = "preprocessor_config.json";
const WEIGHTS = "model.safetensors";

async function openWeights(files: ModelFiles): Promise<TensorSource> {
  const name = files.weights ?? WEIGHTS;
  const whole = await files.open(name);
  if (whole !== undefined) return openSafetensorsOf(whole);
  const index = await files.open(INDEX);
  if (index === undefined) return openSafetensorsOf(await need(files, name)); // says what is missing
  const shards: TensorSource[] = [];
  for (const shard of shardsOf(await readJsonOf(index), INDEX)) shards.push(await openSafetensorsOf(await need(files, shard)));
  return joinSources(INDEX, shards);
}

async function readOptional(files: ModelFiles, name: string): Promise<unknown> {
  const source = await files.open(name);
  return source === undefined ? undefined : readJsonOf(source);
}

/** What a folder says of itself; nothing, of a bare file of weights. */
interface Described {
  readonly config?: BackboneConfig;
  readonly timm?: TimmFolder;
}

async function describedBy(files: ModelFiles): Promise<Described> {
  const raw = await readOptional(files, CONFIG);
  if (raw === undefined) return {};
  const timm = readTimmConfig(raw, CONFIG);
  if (timm !== undefined) return { timm };
  const isConvNeXt = typeof raw === "object" && raw !== null && "model_type" in raw && raw.model_type === "dinov3_convnext";
  return { config: isConvNeXt ? convnextFromHuggingFaceConfig(raw, CONFIG) : fromHuggingFaceConfig(raw, CONFIG) };
}

function presetOf(name: string): BackboneConfig | undefined {
  return VIT_PRESETS.get(name) ?? CONVNEXT_PRESETS.get(name) ?? RESNET_PRESETS.get(name);
}

function presetNamed(name: string): BackboneConfig {
  const config = presetOf(name);
  if (config !== undefined) return config;
  const known = [...VIT_PRESETS.keys(), ...CONVNEXT_PRESETS.keys(), ...RESNET_PRESETS.keys()];
  throw new ConfigError(`Cannot find model "${name}": there is no such preset; ${nameHint(name, known)}`, { keyPath: "arch" });
}

interface Families {
  readonly vit: ViTConfig;
  readonly convnext: ConvNeXtConfig;
  readonly resnet: ResNetConfig;
}

function ofFamily<F extends keyof Families>(config: BackboneConfig | undefined, family: F, file: string): Families[F] | undefined {
  if (config === undefined) return undefined;
  if ((isViT(config) ? "vit" : config.family) === family) return config as Families[F]; // the family was just compared
  throw new ConfigError(`Cannot open "${file}": its tensors are of another family than its architecture; choose that of these weights`, {
    keyPath: "arch",
  });
}

async function openNetwork(source: TensorSource, { config, timm }: Described, arch: string | undefined): Promise<Opened> {
  const contents = new Contents(source);
  const file = source.path;
  const name = timm?.names.findLast((n) => presetOf(n) !== undefined) ?? arch;
  const preset = config !== undefined || name === undefined ? undefined : presetNamed(name);
  const asked = <F extends keyof Families>(family: F): Asked<Families[F]> => {
    const named = ofFamily(preset, family, file);
    // timm's folders may change the blocks of the architecture they name; the shapes of a convolutional network tell them
    const isLoose = timm !== undefined && family !== "vit";
    const owner = config === undefined ? undefined : ("huggingface" as const);
    return {
      file,
      described: ofFamily(config, family, file),
      named: isLoose ? undefined : named,
      name,
      source: timm === undefined ? owner : "timm",
    };
  };
  const { names } = contents;
  if (names.family === "vit") return await openViT(contents, names.dialect, asked("vit"));
  if (names.family === "convnext") return await openConvNeXt(contents, names.naming, asked("convnext"));
  return await openResNet(contents, asked("resnet"));
}

async function preprocessingFor(
  files: ModelFiles,
  { config, timm }: { readonly config: BackboneConfig; readonly timm: TimmFolder | undefined },
): Promise<Preprocessing> {
  const raw = (await readOptional(files, PROCESSOR)) ?? timm?.processor;
  if (raw === undefined) return familyPreprocessing(config);
  const parsed = processorSchema.safeParse(raw);
  if (parsed.success) return toPreprocessing(parsed.data, { file: PROCESSOR, imageSizePx: networkSizePx(config) });
  const [issue] = parsed.error.issues;
  throw new FormatError(
    `Cannot open model: "${PROCESSOR}" has a wrong ${issue?.path.join(".") ?? "form"} (${issue?.message ?? "unknown"}); correct it, or leave it out`,
    { file: PROCESSOR },
  );
}

/**
 * Reads a model: `config.json`, `preprocessor_config.json` and safetensors, whole or sharded; a bare file of weights tells its architecture
 * by its shapes or by `arch`. Throws FormatError for what is damaged or incomplete, ConfigError where nothing tells the architecture.
 */
export async function readModel(files: ModelFiles, { arch }: { readonly arch?: string | undefined }): Promise<WebBackbone> {
  const described = await describedBy(files);
  const { config, tensors } = await openNetwork(await openWeights(files), described, arch);
  if ((config.channels ?? 3) !== 3)
    throw new ConfigError(`Cannot open model "${files.path}": it is made for ${config.channels} channels; pictures are read in three`, {
      keyPath: "model.channels",
    });
  const preprocessing = await preprocessingFor(files, { config, timm: described.timm });
  if (preprocessing.mean.length !== 3 || preprocessing.std.length !== 3)
    throw new ConfigError(
      `Cannot open model "${files.path}": ${PROCESSOR} has ${preprocessing.mean.length} means and ${preprocessing.std.length} deviations, pictures are read in three channels; give three of each`,
      { keyPath: "image_mean" },
    );
  const params = new Map([...tensors].flatMap(([name, { data }]) => (data instanceof Float32Array ? [[name, data] as const] : [])));
  return { config, params, preprocessing };
}
