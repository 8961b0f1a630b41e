/** @file `loadModel()` of `tricera/web`: a model in a page or a worker, from picture to tokens. The same names as in Node. */
import { ConfigError, FormatError, Owned, PlatformError } from "../core/index.ts";
import { openWeb, type WebBackend } from "../engine/runtime/web/index.ts";
import { Encoder } from "../features/encoder.ts";
import { checkPictureSize, checkResizePolicy, fitPicture, type FitOptions, type ResizePolicy } from "../features/fit.ts";
import { type ImageFeatures, type LayerFeatures, splitTokens } from "../features/image-features.ts";
import type { DecodeRules } from "../features/processor.ts";
import { type PictureSize, resolveLayers } from "../features/trace-encoder.ts";
import { backboneWidth, isViT, prefixTokens } from "../nn/index.ts";
import { browser } from "./browser.ts";
import { chosenFiles, type ModelFiles, type NamedBlob, remoteFiles, type RemoteOptions } from "./model-files.ts";
import { readModel } from "./open-model.ts";
import { readWebPicture, type WebPicture } from "./read-picture.ts";

export interface LoadModelOptions extends RemoteOptions {
  /** The architecture of a bare weight file. */
  readonly arch?: string | undefined;
  /** `wasm` (default); `webgpu`, an error where the browser has none; `auto`: WebGPU where there is one, WebAssembly elsewhere. */
  readonly device?: WebBackend | "auto" | undefined;
  /** Threads of WebAssembly; a page has more than one only when it is cross-origin isolated. Default: onnxruntime-web's. */
  readonly threads?: number | undefined;
  /** Folder or URL of onnxruntime-web's `.wasm` files; by default where the bundler put them. */
  readonly wasmPaths?: string | undefined;
  /** Side of the pictures the network sees; default: its own. */
  readonly imageSizePx?: number | undefined;
  /** How pictures of other shapes are fitted; default: as the model's processor says. */
  readonly resize?: ResizePolicy | undefined;
  /** Default: `python`, pixels as stored. */
  readonly decode?: DecodeRules["decode"] | undefined;
  readonly alpha?: DecodeRules["alpha"] | undefined;
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
  /** What it runs on. */
  readonly device: WebBackend;
  /**
   * Features of a picture, or of each of an array in its order. Calls wait for each other. Throws FormatError for what cannot be decoded,
   * ShapeError for pixels that do not fit their size, ConfigError for layers or attention the network does not have.
   */
  embed(image: WebPicture, options?: EmbedImageOptions): Promise<ImageFeatures>;
  embed(images: readonly WebPicture[], options?: EmbedImageOptions): Promise<ImageFeatures[]>;
  /** Gives memory back after calls under way; later calls are refused. */
  dispose(): Promise<void>;
}

/**
 * Opens a model for embedding: the URL of a folder with `config.json`, `preprocessor_config.json` and safetensors, an id of the Hugging Face
 * Hub, or chosen files (`FileList`, `File[]`). Fetched weights stay in Cache Storage; a load that was cut off or aborted goes on where it
 * stopped. Throws FormatError, ConfigError, PlatformError, and the signal's reason when aborted.
 */
export async function loadModel(model: string | Iterable<NamedBlob>, options: LoadModelOptions = {}): Promise<LoadedModel> {
  const { arch, threads, wasmPaths, resize, signal, decode = "python", alpha = "drop" } = options;
  checkResizePolicy(resize);
  const backend = await chooseBackend(options.device);
  const { config, params, preprocessing: own } = await readModel(await filesOf(model, options), { arch });
  signal?.throwIfAborted();
  using owned = new Owned();
  const device = owned.use(await openWeb({ backend, threads, wasmPaths }));
  const encoder = owned.use(new Encoder({ config, params, device }));
  const imageSizePx = options.imageSizePx ?? own.imageSizePx;
  checkPictureSize(imageSizePx, encoder.patchSizePx);
  signal?.throwIfAborted();
  const fit = { preprocessing: { ...own, imageSizePx }, patchSizePx: encoder.patchSizePx, resize };
  return new WebModel(owned.move(), { encoder, device: backend, rules: { decode, alpha }, fit });
}

async function filesOf(model: string | Iterable<NamedBlob>, options: RemoteOptions): Promise<ModelFiles> {
  return typeof model === "string" ? await remoteFiles(model, options) : chosenFiles([...model]);
}

/** Throws PlatformError where WebGPU is asked for and not there. */
async function chooseBackend(wanted: LoadModelOptions["device"] = "wasm"): Promise<WebBackend> {
  if (wanted === "wasm") return "wasm";
  const adapter = await browser.navigator?.gpu?.requestAdapter().catch(() => null);
  if (adapter !== null && adapter !== undefined) return "webgpu";
  if (wanted === "auto") return "wasm";
  throw new PlatformError('Cannot run on WebGPU: this browser gives no adapter; choose device "wasm" or "auto"');
}

interface Parts {
  readonly encoder: Encoder;
  readonly device: WebBackend;
  readonly rules: DecodeRules;
  readonly fit: FitOptions;
}

class WebModel implements LoadedModel {
  readonly width: number;
  readonly patchSizePx: number;
  readonly heads: number;
  readonly imageSizePx: number;
  readonly device: WebBackend;
  readonly #owned: Owned;
  readonly #parts: Parts;
  #busy: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(owned: Owned, parts: Parts) {
    const { encoder, device, fit } = parts;
    [this.#owned, this.#parts] = [owned, parts];
    this.width = backboneWidth(encoder.config);
    this.patchSizePx = encoder.patchSizePx;
    this.heads = encoder.heads;
    this.imageSizePx = fit.preprocessing.imageSizePx;
    this.device = device;
  }

  embed(image: WebPicture, options?: EmbedImageOptions): Promise<ImageFeatures>;
  embed(images: readonly WebPicture[], options?: EmbedImageOptions): Promise<ImageFeatures[]>;
  embed(images: WebPicture | readonly WebPicture[], options: EmbedImageOptions = {}): Promise<ImageFeatures | ImageFeatures[]> {
    return this.#afterOthers(async () => {
      resolveLayers(this.#parts.encoder.config, options.layers); // refused before anything is decoded
      if (!isList(images)) return await embedOne(images, this.#parts, options);
      const found: ImageFeatures[] = [];
      for (const image of images) found.push(await embedOne(image, this.#parts, options));
      return found;
    });
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

function isList(images: WebPicture | readonly WebPicture[]): images is readonly WebPicture[] {
  return Array.isArray(images);
}

/** One picture at a time: a browser gains little from batches, and memory is short. */
async function embedOne(picture: WebPicture, { encoder, rules, fit }: Parts, options: EmbedImageOptions): Promise<ImageFeatures> {
  const { attention = false, layers, signal } = options;
  signal?.throwIfAborted();
  const { config, heads } = encoder;
  const { planes, sizePx } = fitPicture(await readWebPicture(picture, rules), fit);
  const asked = layers === undefined ? undefined : resolveLayers(config, layers);
  const [last = 0] = resolveLayers(config);
  const blocks = [...new Set([...(asked ?? []), last])];
  const { features, attention: rows } = await encoder.encode(planes, { pool: "all", sizePx, attention, layers: blocks, signal });
  const layerOf = layersOf(features, { encoder, sizePx, blocks });
  const grid = encoder.grid(sizePx);
  return {
    ...layerOf(last),
    grid,
    attention: rows?.slice(0, heads * grid.rows * grid.columns),
    layers: asked?.map(layerOf),
  };
}

interface Computed {
  readonly encoder: Encoder;
  readonly sizePx: PictureSize;
  readonly blocks: readonly number[];
}

/** The tokens of a block among those computed, `[l, t, d]`. Throws FormatError where they are not finite. */
function layersOf(features: Float32Array, { encoder, sizePx, blocks }: Computed): (block: number) => LayerFeatures {
  const { config } = encoder;
  const layout = { width: backboneWidth(config), prefix: isViT(config) ? prefixTokens(config) : 1 };
  const size = encoder.tokens("all", sizePx) * layout.width;
  return (block) => {
    const at = blocks.indexOf(block) * size;
    const tokens = features.subarray(at, at + size);
    if (!tokens.every(Number.isFinite))
      throw new FormatError("Cannot embed: the features are not finite; the weights are damaged, or not of this architecture");
    return splitTokens(tokens, layout);
  };
}
