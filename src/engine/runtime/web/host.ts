/** @file Whether a browser can run onnxruntime-web at all, told before anything is fetched. */
import { PlatformError } from "../../../core/index.ts";
import { webAssembly } from "../../../core/wasm/index.ts";

/** A module of one function that uses SIMD: `i32.const 0`, `i8x16.splat`, `i8x16.popcnt`. */
const SIMD = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11);

/** Throws PlatformError where WebAssembly or its SIMD is missing, or the page's policy forbids it; both back ends need them. */
export function checkHost(): void {
  if (webAssembly === undefined)
    throw new PlatformError("Cannot run models: this browser has no WebAssembly, or its lockdown mode keeps it off; use another one");
  if (!webAssembly.validate(SIMD))
    throw new PlatformError(
      "Cannot run models: this browser's WebAssembly has no SIMD; use Chrome 116, Firefox 124, Safari 17.4 or a later version",
    );
  try {
    void new webAssembly.Module(SIMD);
  } catch (cause) {
    throw new PlatformError(
      `Cannot run models: the page may not compile WebAssembly (${cause instanceof Error ? cause.message : String(cause)}); add 'wasm-unsafe-eval' to script-src of its Content-Security-Policy`,
      { cause },
    );
  }
}
