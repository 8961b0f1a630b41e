/** @file One memory for the bytes of a thread's pictures, where the WebAssembly kernels reach them. */
import { webAssembly, type WasmFunction, type WasmMemory } from "../../core/wasm/index.ts";
import { imagesModule } from "./module.ts";

/** What lies in the memory: the decoded picture, the bytes between two passes, the view, the blur's two buffers, tables of taps. */
export type Slot = "source" | "middle" | "view" | "ping" | "pong" | "taps";

export type Kernel = "columns" | "across" | "three" | "five";

/** Slots begin at such multiples, with as much room behind them: kernels read up to 16 bytes at once. */
const ALIGN = 64;
/** 512 MB of addresses; the operating system gives pages when they are first written. */
const PAGES = 8192;

/** Slots of bytes, and the kernels over them. */
export class Arena {
  readonly #memory: WasmMemory;
  readonly #kernels: Readonly<Record<string, WasmFunction>>;
  readonly #slots = new Map<Slot, { offset: number; capacity: number }>();
  #used = 0;

  constructor(memory: WasmMemory, kernels: Readonly<Record<string, WasmFunction>>) {
    this.#memory = memory;
    this.#kernels = kernels;
  }

  /** `bytes` bytes of a slot, with what was there before; undefined when they do not fit. A slot that grows moves. */
  take(slot: Slot, bytes: number): Uint8Array | undefined {
    let place = this.#slots.get(slot);
    if (place === undefined || place.capacity < bytes) {
      place = { offset: this.#used, capacity: Math.ceil((1.5 * bytes) / ALIGN) * ALIGN };
      const end = place.offset + place.capacity + ALIGN;
      if (end > this.#memory.buffer.byteLength) return undefined;
      this.#used = end;
      this.#slots.set(slot, place);
    }
    return new Uint8Array(this.#memory.buffer, place.offset, bytes);
  }

  /** Whether a view lies in this memory, so that kernels may have its byteOffset. */
  holds({ buffer }: Uint8Array): boolean {
    return buffer === this.#memory.buffer;
  }

  run(kernel: Kernel, ...args: readonly number[]): void {
    this.#kernels[kernel]?.(...args);
  }
}

let arena: Arena | undefined;
let looked = false;
let off = false;

function open(): Arena | undefined {
  const bytes = imagesModule();
  if (webAssembly?.validate(bytes) !== true) return undefined;
  try {
    const memory = new webAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
    return new Arena(memory, new webAssembly.Instance(new webAssembly.Module(bytes), { env: { memory } }).exports);
  } catch (error) {
    if (error instanceof RangeError) return undefined; // no address space for it
    throw error;
  }
}

/** The thread's arena; undefined where the host has no WebAssembly SIMD with shared memory: the plain loops work everywhere. */
export function simdArena(): Arena | undefined {
  if (!looked) arena = open();
  looked = true;
  return off ? undefined : arena;
}

/** For tests: the plain loops, as on a host without WebAssembly. */
export function withoutSimd<T>(work: () => T): T {
  off = true;
  try {
    return work();
  } finally {
    off = false;
  }
}
