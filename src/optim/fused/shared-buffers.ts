/** @file Allocates the flat buffers of a training run in one shared memory, where the WebAssembly kernel and worker threads reach them. */
import { FlatParams, type Layout } from "../layout.ts";
import { compileOptimizerModule } from "./kernel-wasm.ts";
import { WASM_MAX_PAGES, WASM_PAGE_BYTES, webAssembly, type WasmMemory } from "../../core/wasm/index.ts";

export interface SharedBuffers<K extends string> {
  /** One zeroed flat buffer for every kind asked for. */
  readonly flat: { readonly [N in K]: FlatParams };
  /** The WebAssembly memory they lie in; undefined where they are plain shared buffers (above 4 GB, or no WebAssembly SIMD). */
  readonly memory: WasmMemory | undefined;
}

/** A shared WebAssembly memory of at least `bytes`, or undefined when the host cannot give one. */
function makeWasmMemory(bytes: number): WasmMemory | undefined {
  const pages = Math.ceil(bytes / WASM_PAGE_BYTES);
  if (webAssembly === undefined || pages > WASM_MAX_PAGES || compileOptimizerModule() === undefined) return undefined;
  try {
    return new webAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  } catch (error) {
    if (error instanceof RangeError) return undefined; // no address space for it; plain buffers may still fit
    throw error;
  }
}

/**
 * Zeroed buffers of `layout`, one for every name in `kinds` ("params", "grads", "mean", "square", "teacher", …), as views
 * of one shared memory. The operating system gives the pages when they are first written.
 */
export function allocShared<const K extends string>(layout: Layout, kinds: readonly K[]): SharedBuffers<K> {
  const bytes = layout.length * Float32Array.BYTES_PER_ELEMENT;
  const memory = makeWasmMemory(bytes * kinds.length);
  const flats = kinds.map((kind, i) => {
    const data = memory === undefined ? undefined : new Float32Array(memory.buffer, i * bytes, layout.length);
    return [kind, new FlatParams(layout, data)] as const;
  });
  return { flat: Object.fromEntries(flats) as { readonly [N in K]: FlatParams }, memory }; // one entry a kind
}
