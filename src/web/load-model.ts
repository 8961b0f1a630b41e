/** @file `loadModel()` of `tricera/web`: a model in a page or a worker, from picture to tokens. The same names as in Node. */
import { Owned, PlatformError } from "../core/index.ts";
import { openWeb, type WebBackend } from "../engine/runtime/web/index.ts";
import { Encoder } from "../features/encoder.ts";
import { checkResizePolicy } from "../features/fit.ts";
import { type OpenPictureModel, PictureModel, type PictureOptions } from "../features/picture-model.ts";
import { browser } from "./browser.ts";
import { chosenFiles, type ModelFiles, type NamedBlob, remoteFiles, type RemoteOptions } from "./model-files.ts";
import { readModel } from "./open-model.ts";
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

/** A browser gains little from batches, and memory is short. */
const MAX_BATCH = 1;

/**
 * Opens a model for embedding: the URL of a folder with `config.json`, `preprocessor_config.json` and safetensors, an id of the Hugging Face
 * Hub, or chosen files (`FileList`, `File[]`). Fetched weights stay in Cache Storage; a load that was cut off or aborted goes on where it
 * stopped. Throws FormatError, ConfigError, PlatformError, and the signal's reason when aborted.
 */
export async function loadModel(model: string | Iterable<NamedBlob>, options: LoadModelOptions = {}): Promise<LoadedModel> {
  const { arch, threads, wasmPaths, signal } = options;
  checkResizePolicy(options.resize); // refused before anything is fetched
  const backend = await chooseBackend(options.device);
  const { config, params, preprocessing, rules } = await readModel(await filesOf(model, options), { arch });
  signal?.throwIfAborted();
  using owned = new Owned();
  const device = owned.use(await openWeb({ backend, threads, wasmPaths }));
  const encoder = owned.use(new Encoder({ config, params, device }));
  signal?.throwIfAborted();
  const parts = { encoder, device: backend, preprocessing, rules, options, readPicture: readWebPicture, maxBatch: MAX_BATCH };
  return new PictureModel(owned, parts);
}

async function filesOf(model: string | Iterable<NamedBlob>, options: RemoteOptions): Promise<ModelFiles> {
  return typeof model === "string" ? await remoteFiles(model, options) : chosenFiles([...model], options);
}

/** Throws PlatformError where WebGPU is asked for and not there. */
async function chooseBackend(wanted: LoadModelOptions["device"] = "wasm"): Promise<WebBackend> {
  if (wanted === "wasm") return "wasm";
  const adapter = await browser.navigator?.gpu?.requestAdapter().catch(() => null);
  if (adapter !== null && adapter !== undefined) return "webgpu";
  if (wanted === "auto") return "wasm";
  throw new PlatformError('Cannot run on WebGPU: this browser gives no adapter; choose device "wasm" or "auto"');
}
