/** @file The kernel in WebAssembly SIMD: four floats an instruction, for buffers inside one shared WebAssembly memory. */
import { InternalError, PlatformError } from "../../core/index.ts";
import type { Kernel, KernelBuffers, SharedFloats, UpdateKind } from "./kernel.ts";
import { optimizerModule } from "./wasm/module.ts";
import { webAssembly, type WasmFunction, type WasmMemory, type WasmModule } from "../../core/wasm/index.ts";

const FLOAT_BYTES = Float32Array.BYTES_PER_ELEMENT;

/** A compiled kernel and the memory it works on; goes to workers as it is. */
export interface WasmParts {
  readonly module: WasmModule;
  readonly memory: WasmMemory;
}

/** Compiles the module, or undefined where the host has no WebAssembly SIMD with shared memory. */
export function compileOptimizerModule(): WasmModule | undefined {
  const bytes = optimizerModule();
  return webAssembly?.validate(bytes) === true ? new webAssembly.Module(bytes) : undefined;
}

function exported(exports: Readonly<Record<string, WasmFunction>>, name: string): WasmFunction {
  const f = exports[name];
  if (f === undefined) throw new InternalError(`Cannot use the WebAssembly kernel: it has no "${name}"; rebuild the module`);
  return f;
}

export function makeWasmKernel(kind: UpdateKind, buffers: KernelBuffers, { module, memory }: WasmParts): Kernel {
  if (webAssembly === undefined)
    throw new PlatformError("Cannot run the WebAssembly kernel: this host has no WebAssembly; use the JavaScript kernel");
  const { exports } = new webAssembly.Instance(module, { env: { memory } });
  const [dot, update, ema] = [exported(exports, "dot"), exported(exports, kind), exported(exports, "ema")];
  const { param, grad, mean, square, teacher = param } = buffers;
  const updated = [param, grad, mean, ...(kind === "adamw" && square !== undefined ? [square] : [])];
  // Addresses above 2 GB wrap to negative i32 arguments and are unsigned again inside.
  const at = (buffer: SharedFloats, start: number): number => buffer.byteOffset + start * FLOAT_BYTES;
  return {
    dot: (a, b, { start, length }) => dot(length * FLOAT_BYTES, at(buffers[a], start), at(buffers[b], start)),
    update: ({ start, length }, scalars) => void update(length * FLOAT_BYTES, ...updated.map((buffer) => at(buffer, start)), ...scalars),
    ema: ({ start, length }, rest) => void ema(length * FLOAT_BYTES, at(teacher, start), at(param, start), rest),
  };
}
