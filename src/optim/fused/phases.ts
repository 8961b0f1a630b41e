/** @file The two phases of a fused step as one thread runs them: sums of the gradients, then the update. */
import type { Chunk } from "./chunks.ts";
import { makeJsKernel } from "./kernel-js.ts";
import { makeWasmKernel, type WasmParts } from "./kernel-wasm.ts";
import type { Kernel, KernelBuffers, UpdateKind } from "./kernel.ts";

/** What a thread does with a parameter in this step. */
export const MODE = { emaOnly: 0, update: 1 } as const;

/** Floats a parameter has in the table of scalars. */
export const SCALARS_PER_PARAM = 8;

/** Tables over shared memory: written by the owner between phases, `sums` and `next` by the threads. */
export interface StepTables {
  /** One of MODE for every parameter. */
  readonly modes: Uint8Array<SharedArrayBuffer>;
  readonly scalars: Float32Array<SharedArrayBuffer>;
  /** `sumsPerChunk` for every chunk. */
  readonly sums: Float64Array<SharedArrayBuffer>;
  /** The next chunk nobody has taken. */
  readonly next: Int32Array<SharedArrayBuffer>;
}

/** Everything a thread needs; sent once, buffers and tables shared. */
export interface JobSetup {
  readonly kind: UpdateKind;
  /** Σg² alone, or Σg², Σp², Σgp for LARS. */
  readonly sumsPerChunk: 1 | 3;
  readonly buffers: Omit<KernelBuffers, "grad">;
  /** The gradient buffers a step can name (two where backward stages ping-pong). */
  readonly grads: readonly KernelBuffers["grad"][];
  readonly chunks: readonly Chunk[];
  readonly tables: StepTables;
  readonly wasm: WasmParts | undefined;
}

/** One phase of one step. `emaRest` = 1 − m, undefined when there is no teacher. */
export interface PhaseRequest {
  readonly phase: "sums" | "apply";
  readonly gradsIndex: number;
  readonly emaRest?: number | undefined;
}

function sumChunk(kernel: Kernel, setup: JobSetup, index: number): void {
  const { tables, sumsPerChunk, chunks } = setup;
  const chunk = chunks[index]!; // index < chunks.length
  const at = index * sumsPerChunk;
  tables.sums[at] = kernel.dot("grad", "grad", chunk);
  if (sumsPerChunk === 1) return;
  tables.sums[at + 1] = kernel.dot("param", "param", chunk);
  tables.sums[at + 2] = kernel.dot("grad", "param", chunk);
}

function applyChunk(
  kernel: Kernel,
  chunk: Chunk,
  options: { readonly update: boolean; readonly scalars: Float32Array; readonly emaRest?: number | undefined },
): void {
  if (options.update) kernel.update(chunk, options.scalars);
  if (options.emaRest !== undefined) kernel.ema(chunk, options.emaRest);
}

/** Makes a thread's runner: it takes chunks until none is left. Which thread takes which chunk changes no bit. */
export function makePhaseRunner(setup: JobSetup, scalarsPerParam: number): (request: PhaseRequest) => void {
  const { kind, buffers, chunks, tables, wasm } = setup;
  const kernels = setup.grads.map((grad) =>
    wasm === undefined ? makeJsKernel(kind, { ...buffers, grad }) : makeWasmKernel(kind, { ...buffers, grad }, wasm),
  );
  const scalarsOf = Array.from(tables.modes, (_, p) =>
    tables.scalars.subarray(p * SCALARS_PER_PARAM, p * SCALARS_PER_PARAM + scalarsPerParam),
  );
  return ({ phase, gradsIndex, emaRest }) => {
    const kernel = kernels[gradsIndex]!; // checked by the owner
    for (let i = Atomics.add(tables.next, 0, 1); i < chunks.length; i = Atomics.add(tables.next, 0, 1)) {
      const chunk = chunks[i]!; // i < chunks.length
      const update = tables.modes[chunk.param] === MODE.update;
      if (phase === "apply") applyChunk(kernel, chunk, { update, scalars: scalarsOf[chunk.param]!, emaRest }); // one entry a parameter
      else if (update) sumChunk(kernel, setup, i);
      else tables.sums.fill(0, i * setup.sumsPerChunk, (i + 1) * setup.sumsPerChunk);
    }
  };
}
