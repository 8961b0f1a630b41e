/** @file Loads onnxruntime-web, one build for WebAssembly and one for WebGPU, and lets one call at a time into it. */
import type * as Ort from "onnxruntime-web";
import { PlatformError } from "../../../core/index.ts";

export type OrtWeb = typeof Ort;
export type WebBackend = "wasm" | "webgpu";

export interface OrtWebOptions {
  readonly backend: WebBackend;
  /** Threads of the WebAssembly build; more than one needs a page that is cross-origin isolated. */
  readonly threads?: number | undefined;
  /** Folder or URL that onnxruntime-web's `.wasm` file is fetched from; by default where the bundler put it. */
  readonly wasmPaths?: string | undefined;
}

/** Each package of its own, so that a page fetches only what it runs. */
const LOAD: { readonly [K in WebBackend]: () => Promise<OrtWeb> } = {
  wasm: () => import("onnxruntime-web/wasm"),
  webgpu: () => import("onnxruntime-web/webgpu"),
};

/** Loads onnxruntime-web. Throws PlatformError where it is not installed or cannot be fetched. */
export async function loadOrtWeb({ backend, threads, wasmPaths }: OrtWebOptions): Promise<OrtWeb> {
  const ort = await LOAD[backend]().catch((cause: unknown) => {
    throw new PlatformError(
      `Cannot run models in the browser: onnxruntime-web did not load (${describe(cause)}); run "npm install onnxruntime-web" and build the page again`,
      { cause },
    );
  });
  if (threads !== undefined) ort.env.wasm.numThreads = threads;
  if (wasmPaths !== undefined) ort.env.wasm.wasmPaths = wasmPaths;
  ort.env.logLevel = "error";
  return ort;
}

function describe(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

let last: Promise<unknown> = Promise.resolve();

/** Runs `work` after all earlier calls: onnxruntime-web has one instance a page, which refuses a second call while one is under way. */
export function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const result = last.then(work);
  last = result.catch(() => undefined); // whoever called sees the error
  return result;
}
