/** @file A model's files to its network, weights and preprocessing: what `features/model.ts` does in Node, over files that a page can read. */
import type { BackboneConfig } from "../nn/index.ts";
import {
  checkChannels,
  type DecodeRules,
  familyPreprocessing,
  FOREIGN_RULES,
  networkSizePx,
  type Preprocessing,
  readProcessorRules,
  runDecodeRules,
} from "../features/processor-rules.ts";
import { float32Of, readParams } from "../weights/folder/backbone.ts";
import { Contents } from "../weights/folder/contents.ts";
import { type Described, openNetwork, readDescription } from "../weights/folder/open-network.ts";
import { openIndexed } from "../weights/shards.ts";
import type { TensorSource } from "../weights/tensor-source.ts";
import { readJsonOf } from "./byte-source.ts";
import { INDEX, type ModelFiles, need, WEIGHTS } from "./model-files.ts";
import { openSafetensorsOf } from "./tensors.ts";

/** A network with its weights in memory. */
export interface WebBackbone {
  readonly config: BackboneConfig;
  /** float32, by our names. */
  readonly params: ReadonlyMap<string, Float32Array>;
  readonly preprocessing: Preprocessing;
  /** How the pictures of its training were read. */
  readonly rules: DecodeRules;
}

const CONFIG = "config.json";
const PROCESSOR = "preprocessor_config.json";

async function openWeights(files: ModelFiles): Promise<TensorSource> {
  const name = files.weights ?? WEIGHTS;
  const whole = await files.open(name);
  if (whole !== undefined) return openSafetensorsOf(whole);
  const index = await files.open(INDEX);
  if (index === undefined) return openSafetensorsOf(await need(files, name)); // says what is missing
  return openIndexed(INDEX, await readJsonOf(index), async (shard) => openSafetensorsOf(await need(files, shard)));
}

async function readOptional(files: ModelFiles, name: string): Promise<unknown> {
  const source = await files.open(name);
  return source === undefined ? undefined : readJsonOf(source);
}

async function describe(files: ModelFiles): Promise<Described> {
  const raw = await readOptional(files, CONFIG);
  return raw === undefined ? {} : readDescription(raw, CONFIG);
}

function preprocessingOf(raw: unknown, config: BackboneConfig, { path }: ModelFiles): Preprocessing {
  const place = { file: PROCESSOR, imageSizePx: networkSizePx(config), todo: "correct it, or leave it out" };
  const preprocessing = raw === undefined ? familyPreprocessing(config) : readProcessorRules(raw, place);
  checkChannels(preprocessing, { model: path, channels: config.channels ?? 3, place: `its ${PROCESSOR}` });
  return preprocessing;
}

async function rulesFor(files: ModelFiles): Promise<DecodeRules> {
  const run = await files.openRun();
  return run === undefined ? FOREIGN_RULES : runDecodeRules(await readJsonOf(run).catch(() => undefined)); // as Node: no run's
}

/**
 * Reads a model: `config.json`, `preprocessor_config.json` and safetensors, whole or sharded; a bare file of weights tells its architecture
 * by its shapes or by `arch`. Throws FormatError for what is damaged or incomplete, ConfigError where nothing tells the architecture.
 */
export async function readModel(files: ModelFiles, { arch }: { readonly arch?: string | undefined }): Promise<WebBackbone> {
  const described = await describe(files);
  const processor = (await readOptional(files, PROCESSOR)) ?? described.timm?.processor;
  const rules = await rulesFor(files);
  const source = await openWeights(files); // the large ones last, so that a small one that is wrong is told at once
  const network = await openNetwork(new Contents(source), { ...described, arch, file: source.path, isRun: false });
  const { config } = network;
  const preprocessing = preprocessingOf(processor, config, files);
  const { tensors } = await readParams(network);
  const params = float32Of(tensors);
  return { config, params, preprocessing, rules };
}
