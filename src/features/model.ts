/** @file Opens a trained backbone for inference: a run folder, a Hugging Face folder, a file of weights, or a model in the cache by its name. */
import { dirname, join } from "node:path";
import type { Device, OrtEnv } from "../engine/runtime/index.ts";
import { type Backbone, float32Of, readBackbone, type ReadBackboneOptions } from "../weights/index.ts";
import { resolveModelPath } from "../weights/hub/index.ts";
import { findOnnx } from "../weights/onnx/index.ts";
import { Encoder } from "./encoder.ts";
import { openOnnxModel } from "./onnx/open-onnx.ts";
import type { PictureEncoder } from "./picture-encoder.ts";
import {
  checkChannels,
  type DecodeRules,
  decodeRulesOf,
  familyPreprocessing,
  networkSizePx,
  type Preprocessing,
  readProcessorRules,
} from "./processor.ts";

/** A device that computes, and the ONNX Runtime it computes with. */
export type OrtDevice = Device & { readonly env: OrtEnv };

/** What gives features, and how it wants its pictures. */
export interface OpenEncoder {
  readonly encoder: PictureEncoder;
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

/** A network whose weights are there. */
export interface OpenModel extends OpenEncoder {
  readonly encoder: Encoder;
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
  checkChannels(preprocessing, { model: pathOrId, channels: config.channels ?? 3 });
  const params = float32Of(tensors);
  const { mean, std, imageSizePx } = preprocessing;
  const dir = dirname(file);
  return { encoder: new Encoder({ config, params, device }), imageSizePx, mean, std, preprocessing, rules: await decodeRulesOf(dir), dir };
}

export interface OpenEncoderOptions extends ReadBackboneOptions {
  /** The side of the pictures to come: with it a graph is tried that nothing describes. */
  readonly imageSizePx?: number | undefined;
}

/** Opens all that gives features: what `openModel` opens, and ONNX files and folders (`findOnnx`), which have no weights. Throws as they do. */
export async function openEncoder(pathOrId: string, device: OrtDevice, options: OpenEncoderOptions = {}): Promise<OpenEncoder> {
  const onnx = await findOnnx((await resolveModelPath(pathOrId)) ?? pathOrId);
  return onnx === undefined ? await openModel(pathOrId, device, options) : await openOnnxModel(onnx, device.env, options);
}
