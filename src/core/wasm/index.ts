/** @file WebAssembly written at run time: a small assembler, and the few parts of the host's interface that are used. */
export { assembleModule, FunctionBuilder, leb, type Local, type PlainOp, type ValueType } from "./assembler.ts";
export { WASM_MAX_PAGES, WASM_PAGE_BYTES, webAssembly, type WasmFunction, type WasmMemory, type WasmModule } from "./web-assembly.ts";
