/** @file Opens a trained backbone for inference: a run folder, a Hugging Face folder, a file of weights, or a model in the cache by its name. */
import { dirname, join } from "node:path";
import { ConfigError } from "../core/index.ts";
import type { Device } from "../engine/runtime/index.ts";
import { type Backbone, readBackbone, type ReadBackboneOptions } from "../weights/index.ts";
import { resolveModelPath } from "../weights/hub/index.ts";
import { Encoder } from "./encoder.ts";
import {
  type DecodeRules,
  decodeRulesOf,
  familyPreprocessing,
  networkSizePx,
  type Preprocessing,
  readProcessorRules,
} from "./processor.ts";

export interface OpenModel {
  readonly encoder: Encoder;
  /** The size it wants its pictures in. */
  readonly imageSizePx: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** How its pictures are resized and cropped; mean and std as above. */
  readonly preprocessing: Preprocessing;
  readonly rules: DecodeRules;
  /** The folder the weights came from. */
  readonly dir: string;
}

/** By the model's own processor file; by its family's evaluation transform where weights come as a file. */
function preprocessingOf({ processor, config, file }: Backbone): Preprocessing {
  if (processor === undefined) return familyPreprocessing(config);
  const at = join(dirname(file), "preprocessor_config.json");
  const todo = `correct it, or take it away beside "${file}"`;
  return readProcessorRules(processor, { file: at, imageSizePx: networkSizePx(config), todo });
}

/**
 * Opens a model for inference on a device: a path (see `readBackbone` for what can be opened; `arch` names the architecture of a bare file),
 * or the name of a released model that was pulled (`facebook/dinov2-small`, `dinov2_vits14`): a path that exists wins, and nothing is
 * downloaded. Throws FormatError for a path that is no model, and for missing, extra or wrongly shaped weights; ConfigError, which says
 * what to pull, for a model that is not in the cache.
 */
export async function openModel(pathOrId: string, device: Device, options: ReadBackboneOptions = {}): Promise<OpenModel> {
  const path = (await resolveModelPath(pathOrId)) ?? pathOrId;
  const backbone = await readBackbone(path, options);
  const { config, tensors, file } = backbone;
  const preprocessing = preprocessingOf(backbone);
  const { channels = 3 } = config;
  if (preprocessing.mean.length !== channels || preprocessing.std.length !== channels)
    throw new ConfigError(
      `Cannot open model "${pathOrId}": it takes ${channels} channels and there are ${preprocessing.mean.length} means and ${preprocessing.std.length} deviations; give image_mean and image_std of ${channels} numbers in a preprocessor_config.json beside the weights`,
      { keyPath: "model.channels" },
    );
  const params = new Map([...tensors].flatMap(([name, { data }]) => (data instanceof Float32Array ? [[name, data] as const] : [])));
  const { mean, std, imageSizePx } = preprocessing;
  const dir = dirname(file);
  return { encoder: new Encoder({ config, params, device }), imageSizePx, mean, std, preprocessing, rules: await decodeRulesOf(dir), dir };
}
