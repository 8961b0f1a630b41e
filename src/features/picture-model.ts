/** @file A model that is open, from pictures to tokens: the same class in Node and in the browser, which differ in how pictures are read. Needs no Node. */
import { ConfigError, FormatError, type Owned } from "../core/index.ts";
import type { Encoded } from "./encoder.ts";
import { type AnyImage, checkResizePolicy, fitPicture, type FitOptions, type FittedPicture, type ResizePolicy } from "./fit.ts";
import { type ImageFeatures, type LayerFeatures, splitTokens } from "./image-features.ts";
import type { PictureEncoder } from "./picture-encoder.ts";
import type { DecodeRules, Preprocessing } from "./processor-rules.ts";
import { type PictureSize, sidesOf } from "./trace-encoder.ts";

/** What a caller says of pictures. */
export interface PictureOptions {
  /** Side of the pictures the network sees; default: its own. */
  readonly imageSizePx?: number | undefined;
  /** How pictures of other shapes are fitted; default: as the model's processor says. */
  readonly resize?: ResizePolicy | undefined;
  /** Default: as the model was trained, `python` (pixels as stored) for models of others. */
  readonly decode?: DecodeRules["decode"] | undefined;
  /** What becomes of transparency; default: as the model was trained, `drop` for models of others. */
  readonly alpha?: DecodeRules["alpha"] | undefined;
}

export interface EmbedImageOptions {
  /** Whether attention of the class token is wanted; a convolutional network has none. */
  readonly attention?: boolean | undefined;
  /** Blocks whose tokens are wanted beside the last one's, from 0, or from the end with -1 the last. */
  readonly layers?: readonly number[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A model that is open, for pictures of type `P`. Close it by `dispose()` or `await using`. */
export interface OpenPictureModel<P, Device extends string> extends AsyncDisposable {
  /** Numbers in a token. */
  readonly width: number;
  readonly patchSizePx: number;
  /** Attention heads; 0 for a convolutional network. */
  readonly heads: number;
  readonly imageSizePx: number;
  /** What it runs on. */
  readonly device: Device;
  /**
   * Features of a picture, or of each of an array in its order. Calls wait for each other. Throws FormatError for what cannot be decoded,
   * ShapeError for pixels that do not fit their size, ConfigError for layers or attention the network does not have, the signal's reason
   * when aborted.
   */
  embed(image: P, options?: EmbedImageOptions): Promise<ImageFeatures>;
  embed(images: readonly P[], options?: EmbedImageOptions): Promise<ImageFeatures[]>;
  /** Gives memory back after calls under way; later calls are refused. */
  dispose(): Promise<void>;
}

export interface PictureModelParts<P, Device extends string> {
  readonly encoder: PictureEncoder;
  readonly device: Device;
  readonly preprocessing: Preprocessing;
  /** How the model's own pictures were read. */
  readonly rules: DecodeRules;
  readonly options: PictureOptions;
  readonly readPicture: (picture: P, rules: DecodeRules, signal?: AbortSignal) => Promise<AnyImage>;
  /** Pictures at once; arrays are cut into powers of two up to it, so that few programs are compiled. */
  readonly maxBatch: number;
}

interface Work<P> {
  readonly encoder: PictureEncoder;
  readonly fit: FitOptions;
  readonly maxBatch: number;
  readonly read: (picture: P, signal: AbortSignal | undefined) => Promise<AnyImage>;
}

/** Takes what is owned, the encoder among it. Throws ConfigError for a policy or size that cannot be. */
export class PictureModel<P, Device extends string> implements OpenPictureModel<P, Device> {
  readonly width: number;
  readonly patchSizePx: number;
  readonly heads: number;
  readonly imageSizePx: number;
  readonly device: Device;
  readonly #owned: Owned;
  readonly #work: Work<P>;
  #busy: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(owned: Owned, parts: PictureModelParts<P, Device>) {
    const { encoder, options, rules, readPicture, maxBatch } = parts;
    const { decode = rules.decode, alpha = rules.alpha, resize, imageSizePx = parts.preprocessing.imageSizePx } = options;
    checkResizePolicy(resize);
    encoder.checkSize(imageSizePx);
    const fit = { preprocessing: { ...parts.preprocessing, imageSizePx }, patchSizePx: encoder.patchSizePx, resize };
    this.width = encoder.width;
    this.patchSizePx = encoder.patchSizePx;
    this.heads = encoder.heads;
    this.imageSizePx = imageSizePx;
    this.device = parts.device;
    this.#work = { encoder, fit, maxBatch, read: (picture, signal) => readPicture(picture, { decode, alpha }, signal) };
    this.#owned = owned.move();
  }

  embed(image: P, options?: EmbedImageOptions): Promise<ImageFeatures>;
  embed(images: readonly P[], options?: EmbedImageOptions): Promise<ImageFeatures[]>;
  embed(images: P | readonly P[], options: EmbedImageOptions = {}): Promise<ImageFeatures | ImageFeatures[]> {
    const list = isList(images) ? images : [images];
    const found = this.#afterOthers(() => embedAll(list, this.#work, options));
    return isList(images) ? found : found.then(([only]) => only!); // one picture, one result
  }

  /** One call at a time uses the network's buffers. */
  #afterOthers<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) return Promise.reject(new ConfigError("Cannot embed: the model is disposed of; load it again"));
    const result = this.#busy.then(work);
    this.#busy = result.catch(() => undefined); // whoever called sees the error
    return result;
  }

  /** Called again, it waits for the first call. */
  dispose(): Promise<void> {
    this.#closing ??= this.#busy.then(() => this.#owned[Symbol.dispose]());
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

function isList<P>(images: P | readonly P[]): images is readonly P[] {
  return Array.isArray(images);
}

async function embedAll<P>(pictures: readonly P[], work: Work<P>, options: EmbedImageOptions): Promise<ImageFeatures[]> {
  const { encoder, maxBatch } = work;
  encoder.blocks(options.layers); // refused before anything is read
  encoder.checkAttention(options.attention ?? false);
  const found: ImageFeatures[] = [];
  for (let from = 0; from < pictures.length; from += maxBatch) {
    options.signal?.throwIfAborted();
    const some = pictures.slice(from, from + maxBatch);
    const fitted = await Promise.all(some.map(async (p) => fitPicture(await work.read(p, options.signal), work.fit)));
    for (const batch of batchesOf(fitted)) found.push(...(await embedBatch(batch, encoder, options)));
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
  encoder: PictureEncoder,
  { attention = false, layers, signal }: EmbedImageOptions,
): Promise<ImageFeatures[]> {
  const [{ sizePx, planes }] = batch;
  const images = new Float32Array(batch.length * planes.length);
  for (const [i, picture] of batch.entries()) images.set(picture.planes, i * planes.length);
  const asked = layers === undefined ? undefined : encoder.blocks(layers);
  const blocks = [...new Set([...(asked ?? []), ...encoder.blocks()])]; // the last one is always there
  const encoded = await encoder.encode(images, { pool: "all", sizePx, attention, layers: blocks, signal });
  return batch.map((_, index) => toFeatures(encoded, { index, encoder, sizePx, blocks, asked }));
}

interface Place {
  /** Which picture of the batch. */
  readonly index: number;
  readonly encoder: PictureEncoder;
  readonly sizePx: PictureSize;
  /** The blocks computed. */
  readonly blocks: readonly number[];
  readonly asked: readonly number[] | undefined;
}

function toFeatures(encoded: Encoded, { index, encoder, sizePx, blocks, asked }: Place): ImageFeatures {
  const { heads, width, prefix } = encoder;
  const grid = encoder.grid(sizePx);
  const layout = { width, prefix };
  const patches = grid.rows * grid.columns;
  const size = (layout.prefix + patches) * layout.width;
  const layerOf = (block: number): LayerFeatures => {
    const at = (index * blocks.length + blocks.indexOf(block)) * size;
    const tokens = encoded.features.subarray(at, at + size);
    if (!tokens.every(Number.isFinite))
      throw new FormatError("Cannot embed: the features are not finite; the weights are damaged, or not of this architecture");
    return splitTokens(tokens, layout);
  };
  const [last = 0] = encoder.blocks();
  return {
    ...layerOf(last),
    grid,
    attention: encoded.attention?.slice(index * heads * patches, (index + 1) * heads * patches),
    layers: asked?.map(layerOf),
  };
}
