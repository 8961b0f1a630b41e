/** @file The few parts of the WebAssembly interface that are used; Node's types do not declare them. */

/** A compiled module; can be sent to a worker. */
export type WasmModule = object;

/** A WebAssembly memory; a shared one can be sent to a worker and its buffer never moves. */
export interface WasmMemory {
  readonly buffer: SharedArrayBuffer;
}

export type WasmFunction = (...args: readonly number[]) => number;

interface WebAssemblyInterface {
  validate(bytes: Uint8Array): boolean;
  readonly Module: new (bytes: Uint8Array) => WasmModule;
  readonly Memory: new (options: { readonly initial: number; readonly maximum: number; readonly shared: true }) => WasmMemory;
  readonly Instance: new (
    module: WasmModule,
    imports: { readonly env: { readonly memory: WasmMemory } },
  ) => { readonly exports: Readonly<Record<string, WasmFunction>> };
}

/** The host's WebAssembly, undefined where there is none (`node --jitless`). */
export const webAssembly: WebAssemblyInterface | undefined = (globalThis as unknown as { readonly WebAssembly?: WebAssemblyInterface })
  .WebAssembly; // lib "dom" has the full type, whose memories are never shared; we compile with it (pages) and without

export const WASM_PAGE_BYTES = 65_536;
/** 4 GB: the reach of 32-bit addresses. */
export const WASM_MAX_PAGES = 65_536;
