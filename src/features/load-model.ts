/** @file `loadModel()`: a model in a Node program, from picture to tokens. */
import { availableParallelism } from "node:os";
import { Owned } from "../core/index.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { type AnyImage, checkResizePolicy } from "./fit.ts";
import { openEncoder } from "./model.ts";
import { type Picture, readPicture } from "./picture.ts";
import type { DecodeRules } from "./processor.ts";
import { type OpenPictureModel, PictureModel, type PictureOptions } from "./picture-model.ts";

export type { EmbedImageOptions } from "./picture-model.ts";

export interface LoadModelOptions extends PictureOptions {
  /** The architecture of a bare weight file. */
  readonly arch?: string | undefined;
  /** Default: all the machine has. */
  readonly threads?: number | undefined;
}

/** A model that is open. Close it by `dispose()` or `await using`. */
export interface LoadedModel extends OpenPictureModel<Picture, "cpu"> {}

const MAX_BATCH = 16;

/** Opens a model for embedding: all that `openEncoder` opens. Throws FormatError, ConfigError. */
export async function loadModel(pathOrId: string, options: LoadModelOptions = {}): Promise<LoadedModel> {
  const { arch, threads = availableParallelism() } = options;
  checkResizePolicy(options.resize); // refused before anything is read
  using owned = new Owned();
  const device = owned.use(openCpu({ threads }));
  const { encoder, preprocessing, rules } = await openEncoder(pathOrId, device, { arch, imageSizePx: options.imageSizePx });
  owned.use(encoder);
  const channels = preprocessing.mean.length;
  const read = (picture: Picture, how: DecodeRules): Promise<AnyImage> => readPicture(picture, { ...how, channels });
  return new PictureModel(owned, { encoder, device: "cpu", preprocessing, rules, options, readPicture: read, maxBatch: MAX_BATCH });
}
