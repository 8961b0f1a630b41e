/** @file `loadModel()` of `tricera/web`: a model in a page or a worker, from picture to tokens. The same names as in Node. */
import { ConfigError, Owned, PlatformError } from "../core/index.ts";
import { openWeb, type WebBackend, type WebDevice } from "../engine/runtime/web/index.ts";
import { Encoder } from "../features/encoder.ts";
import { checkResizePolicy } from "../features/fit.ts";
import { type OpenPictureModel, PictureModel, type PictureOptions } from "../features/picture-model.ts";
import { describeValue } from "../features/raw-picture.ts";
import { browser } from "./browser.ts";
import { chosenFiles, type ModelFiles, type NamedBlob, remoteFiles, type RemoteOptions } from "./model-files.ts";
import { readModel, type WebBackbone } from "./open-model.ts";
import { readWebPicture, type WebPicture } from "./read-picture.ts";

export type { EmbedImageOptions } from "../features/picture-model.ts";

export interface LoadModelOptions extends RemoteOptions, PictureOptions {
  /** The architecture of a bare weight file. */
  readonly arch?: string | undefined;
  /** `wasm` (default); `webgpu`, an error where the browser has none; `auto`: WebGPU where there is one, WebAssembly elsewhere. */
  readonly device?: WebBackend | "auto" | undefined;
  /** Threads of WebAssembly; a page has more than one only when it is cross-origin isolated. Default: onnxruntime-web's. */
  readonly threads?: number | undefined;
  /** Folder or URL of onnxruntime-web's `.wasm` files; by default where the bundler put them. */
  readonly wasmPaths?: string | undefined;
}

/** A model that is open. Close it by `dispose()` or `await using`. */
export interface LoadedModel extends OpenPictureModel<WebPicture, WebBackend> {}

/** What a model is loaded from: the URL of its folder or file, an id of the Hub, or chosen files. */
export type ModelSource = string | URL | NamedBlob | Iterable<NamedBlob>;

/** A browser gains little from batches, and memory is short. */
const MAX_BATCH = 1;

/**
 * Opens a model for embedding: the URL of a folder with `config.json`, `preprocessor_config.json` and safetensors, an id of the Hugging Face
 * Hub, or chosen files (`FileList`, `File[]`, a `File` of weights). Fetched weights stay in Cache Storage; a load that was cut off or aborted
 * goes on where it stopped. Throws FormatError, ConfigError, PlatformError, and the signal's reason when aborted.
 */
export async function loadModel(model: ModelSource, options: LoadModelOptions = {}): Promise<LoadedModel> {
  checkResizePolicy(options.resize); // refused before anything is fetched
  options.signal?.throwIfAborted();
  const { device, backbone } = await openBoth(model, options);
  using owned = new Owned();
  owned.use(device);
  options.signal?.throwIfAborted();
  const { config, params, preprocessing, rules } = backbone;
  const encoder = owned.use(new Encoder({ config, params, device }));
  return new PictureModel(owned, {
    encoder,
    device: device.name,
    preprocessing,
    rules,
    options,
    readPicture: (picture, how, stop) => readWebPicture(picture, { ...how, channels: config.channels }, stop),
    maxBatch: MAX_BATCH,
  });
}

interface Both {
  readonly device: WebDevice;
  readonly backbone: WebBackbone;
}

/** The runtime and the model, fetched side by side; the first error stops both. */
async function openBoth(model: ModelSource, options: LoadModelOptions): Promise<Both> {
  const { signal: own, arch } = options;
  const failed = new AbortController();
  const signal = own === undefined ? failed.signal : AbortSignal.any([own, failed.signal]);
  const opening = openDevice(options);
  opening.catch((error: unknown) => failed.abort(error)); // the fetch ends by this error
  try {
    const backbone = await readModel(await filesOf(model, { ...options, signal }), { arch });
    return { backbone, device: await unlessAborted(opening, signal) };
  } catch (error) {
    void opening.then((device) => device[Symbol.dispose]()).catch(() => undefined); // thrown above, if that was it
    throw error;
  }
}

/** Throws the signal's reason as soon as there is one. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const stop = new AbortController();
  const aborted = new Promise<never>((_, reject) => {
    const end = (): void => reject(signal.reason as Error); // whatever the caller gave
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true, signal: stop.signal });
  });
  return await Promise.race([work, aborted]).finally(() => stop.abort());
}

/** Throws ConfigError for what is no source. */
async function filesOf(model: ModelSource, options: RemoteOptions): Promise<ModelFiles> {
  if (typeof model === "string" || model instanceof URL) return await remoteFiles(String(model), options);
  if (model instanceof Blob) return chosenFiles([model], options);
  if (typeof model === "object" && Symbol.iterator in model) return chosenFiles([...model], options);
  throw new ConfigError(`Cannot load ${describeValue(model)}: it is no model; give an id of the Hub, the URL of a folder, or chosen files`);
}

/** Throws PlatformError where WebGPU is asked for and not there. */
async function openDevice({ device: wanted = "wasm", threads, wasmPaths }: LoadModelOptions): Promise<WebDevice> {
  const open = (backend: WebBackend): Promise<WebDevice> => openWeb({ backend, threads, wasmPaths });
  if (wanted === "wasm") return await open("wasm");
  const adapter = await browser.navigator?.gpu?.requestAdapter().catch(() => null);
  const hasGpu = adapter !== null && adapter !== undefined;
  if (wanted === "auto") return hasGpu ? await open("webgpu").catch(() => open("wasm")) : await open("wasm");
  if (wanted !== "webgpu")
    throw new ConfigError(`Cannot run on "${String(wanted)}": there is no such device; use wasm, webgpu or auto`, { keyPath: "device" });
  if (hasGpu) return await open("webgpu");
  throw new PlatformError('Cannot run on WebGPU: this browser gives no adapter; choose device "wasm" or "auto"');
}
