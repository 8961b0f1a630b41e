/** @file `loadModel()`: a model in a Node program, from picture to tokens. */
import { availableParallelism } from "node:os";
import { ConfigError, FormatError, Owned } from "../core/index.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { backboneWidth, isViT, prefixTokens } from "../nn/index.ts";
import type { Encoded, Encoder } from "./encoder.ts";
import { checkPictureSize, checkResizePolicy, fitPicture, type FitOptions, type FittedPicture, type ResizePolicy } from "./fit.ts";
import { type ImageFeatures, type LayerFeatures, splitTokens } from "./image-features.ts";
import { openModel } from "./model.ts";
import { type Picture, readPicture } from "./picture.ts";
import type { DecodeRules } from "./processor.ts";
import { type PictureSize, resolveLayers, sidesOf } from "./trace-encoder.ts";

export interface LoadModelOptions {
  /** The architecture of a bare weight file. */
  readonly arch?: string | undefined;
  /** Default: all the machine has. */
  readonly threads?: number | undefined;
  /** Side of the pictures the network sees; default: its own. */
  readonly imageSizePx?: number | undefined;
  /** How pictures of other shapes are fitted; default: as the model's processor says. */
  readonly resize?: ResizePolicy | undefined;
  /** Default: as the model was trained, `python` for models of others. */
  readonly decode?: "python" | "managed" | undefined;
  readonly alpha?: "drop" | "white" | "black" | undefined;
}

export interface EmbedImageOptions {
  /** Whether attention of the class token is wanted; a convolutional network has none. */
  readonly attention?: boolean | undefined;
  /** Blocks whose tokens are wanted beside the last one's, from 0, or from the end with -1 the last. */
  readonly layers?: readonly number[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A model that is open. Close it by `dispose()` or `await using`. */
export interface LoadedModel extends AsyncDisposable {
  /** Numbers in a token. */
  readonly width: number;
  readonly patchSizePx: number;
  /** Attention heads; 0 for a convolutional network. */
  readonly heads: number;
  readonly imageSizePx: number;
  /**
   * Features of a picture, or of each of an array in its order. Calls wait for each other. Throws FormatError for what cannot be decoded,
   * ShapeError for pixels that do not fit their size, ConfigError for layers or attention the network does not have.
   */
  embed(image: Picture, options?: EmbedImageOptions): Promise<ImageFeatures>;
  embed(images: readonly Picture[], options?: EmbedImageOptions): Promise<ImageFeatures[]>;
  /** Gives memory back after calls under way; later calls are refused. */
  dispose(): Promise<void>;
}

/** Pictures at once; arrays are cut into powers of two up to it, so that few programs are compiled. */
const MAX_BATCH = 16;

/** Opens a model for embedding: all that `openModel` opens. Throws FormatError, ConfigError. */
export async function loadModel(pathOrId: string, options: LoadModelOptions = {}): Promise<LoadedModel> {
  const { arch, threads = availableParallelism(), resize } = options;
  checkResizePolicy(resize);
  using owned = new Owned();
  const device = owned.use(openCpu({ threads }));
  const { encoder, preprocessing: own, rules } = await openModel(pathOrId, device, { arch });
  owned.use(encoder);
  const imageSizePx = options.imageSizePx ?? own.imageSizePx;
  checkPictureSize(imageSizePx, encoder.patchSizePx);
  return new NodeModel(owned.move(), {
    encoder,
    rules: { decode: options.decode ?? rules.decode, alpha: options.alpha ?? rules.alpha },
    fit: { preprocessing: { ...own, imageSizePx }, patchSizePx: encoder.patchSizePx, resize },
  });
}

interface Parts {
  readonly encoder: Encoder;
  readonly rules: DecodeRules;
  readonly fit: FitOptions;
}

class NodeModel implements LoadedModel {
  readonly width: number;
  readonly patchSizePx: number;
  readonly heads: number;
  readonly imageSizePx: number;
  readonly #owned: Owned;
  readonly #parts: Parts;
  #busy: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(owned: Owned, parts: Parts) {
    const { encoder, fit } = parts;
    [this.#owned, this.#parts] = [owned, parts];
    this.width = backboneWidth(encoder.config);
    this.patchSizePx = encoder.patchSizePx;
    this.heads = encoder.heads;
    this.imageSizePx = fit.preprocessing.imageSizePx;
  }

  embed(image: Picture, options?: EmbedImageOptions): Promise<ImageFeatures>;
  embed(images: readonly Picture[], options?: EmbedImageOptions): Promise<ImageFeatures[]>;
  embed(images: Picture | readonly Picture[], options: EmbedImageOptions = {}): Promise<ImageFeatures | ImageFeatures[]> {
    const list: readonly Picture[] = isList(images) ? images : [images];
    const found = this.#afterOthers(() => embedAll(list, this.#parts, options));
    return isList(images) ? found : found.then(([only]) => only!); // one picture, one result
  }

  /** One call at a time uses the network's buffers. */
  #afterOthers<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new ConfigError("Cannot embed: the model is disposed of; load it again"));
    const result = this.#busy.then(work);
    this.#busy = result.catch(() => undefined); // whoever called sees the error
    return result;
  }

  async dispose(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#busy;
    this.#owned[Symbol.dispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

function isList(images: Picture | readonly Picture[]): images is readonly Picture[] {
  return Array.isArray(images);
}

async function embedAll(pictures: readonly Picture[], parts: Parts, options: EmbedImageOptions): Promise<ImageFeatures[]> {
  resolveLayers(parts.encoder.config, options.layers); // refused before anything is read
  const found: ImageFeatures[] = [];
  for (let from = 0; from < pictures.length; from += MAX_BATCH) {
    options.signal?.throwIfAborted();
    const some = pictures.slice(from, from + MAX_BATCH);
    const fitted = await Promise.all(some.map(async (p) => fitPicture(await readPicture(p, parts.rules), parts.fit)));
    for (const batch of batchesOf(fitted)) found.push(...(await embedBatch(batch, parts, options)));
  }
  return found;
}

/** Neighbours of one size together, in batches of powers of two. */
function* batchesOf(pictures: readonly FittedPicture[]): Generator<readonly [FittedPicture, ...FittedPicture[]]> {
  for (let from = 0; from < pictures.length;) {
    const first = pictures[from]!; // from < length
    const { height, width } = sidesOf(first.sizePx);
    const isSame = ({ sizePx }: FittedPicture): boolean => sidesOf(sizePx).height === height && sidesOf(sizePx).width === width;
    const other = pictures.findIndex((p, i) => i > from && !isSame(p));
    const same = (other < 0 ? pictures.length : other) - from;
    const size = 2 ** Math.floor(Math.log2(same));
    yield [first, ...pictures.slice(from + 1, from + size)];
    from += size;
  }
}

async function embedBatch(
  batch: readonly [FittedPicture, ...FittedPicture[]],
  { encoder }: Parts,
  { attention = false, layers, signal }: EmbedImageOptions,
): Promise<ImageFeatures[]> {
  const [{ sizePx, planes }] = batch;
  const images = new Float32Array(batch.length * planes.length);
  for (const [i, picture] of batch.entries()) images.set(picture.planes, i * planes.length);
  const { config } = encoder;
  const asked = layers === undefined ? undefined : resolveLayers(config, layers);
  const blocks = [...new Set([...(asked ?? []), ...resolveLayers(config)])]; // the last one is always there
  const encoded = await encoder.encode(images, { pool: "all", sizePx, attention, layers: blocks, signal });
  return batch.map((_, index) => toFeatures(encoded, { index, encoder, sizePx, blocks, asked }));
}

interface Place {
  /** Which picture of the batch. */
  readonly index: number;
  readonly encoder: Encoder;
  readonly sizePx: PictureSize;
  /** The blocks computed. */
  readonly blocks: readonly number[];
  readonly asked: readonly number[] | undefined;
}

function toFeatures(encoded: Encoded, { index, encoder, sizePx, blocks, asked }: Place): ImageFeatures {
  const { config, heads } = encoder;
  const grid = encoder.grid(sizePx);
  const layout = { width: backboneWidth(config), prefix: isViT(config) ? prefixTokens(config) : 1 };
  const patches = grid.rows * grid.columns;
  const size = (layout.prefix + patches) * layout.width;
  const layerOf = (block: number): LayerFeatures => {
    const at = (index * blocks.length + blocks.indexOf(block)) * size;
    const tokens = encoded.features.subarray(at, at + size);
    if (!tokens.every(Number.isFinite))
      throw new FormatError("Cannot embed: the features are not finite; the weights are damaged, or not of this architecture");
    return splitTokens(tokens, layout);
  };
  const [last = 0] = resolveLayers(config);
  return {
    ...layerOf(last),
    grid,
    attention: encoded.attention?.slice(index * heads * patches, (index + 1) * heads * patches),
    layers: asked?.map(layerOf),
  };
}
