/** @file ONNX Runtime's C API: the few functions we call, found by their place in its table and called through koffi. */
import koffi, { type LibraryHandle } from "koffi";
import { PlatformError } from "../../../core/index.ts";
import { findOnnxRuntime, type OnnxRuntimeLibrary } from "./library.ts";

/** An error that ONNX Runtime reports; the message begins with what we wanted of it. */
export class OrtError extends Error {
  override readonly name: string = "OrtError";
}

/** What a function takes: an address or a view whose address is meant, a C string, an int, a size_t. */
interface KindTypes {
  readonly pointer: bigint | ArrayBufferView | null;
  readonly text: string;
  readonly int: number;
  readonly size: number;
}
type Kind = keyof KindTypes;
type Arguments<K extends readonly Kind[]> = { -readonly [I in keyof K]: KindTypes[K[I]] };

const C_TYPES: { readonly [K in Kind]: string } = { pointer: "void *", text: "str", int: "int", size: "size_t" };

/**
 * Functions that return an OrtStatus*: place in the OrtApi table and arguments.
 * The table only ever grows at its end (onnxruntime_c_api.h), so a place stays right in later versions.
 */
const STATUS_CALLS = {
  createSession: [8, ["pointer", "pointer", "size", "pointer", "pointer"]], // env, bytes, length, options, out
  run: [9, ["pointer", "pointer", "pointer", "pointer", "size", "pointer", "size", "pointer"]], // session, options, names, values, n, names, m, values
  createSessionOptions: [10, ["pointer"]],
  disableMemoryPattern: [17, ["pointer"]],
  setLogSeverity: [22, ["pointer", "int"]],
  setOptimizationLevel: [23, ["pointer", "int"]],
  createTensor: [49, ["pointer", "pointer", "size", "pointer", "size", "int", "pointer"]], // memory info, data, bytes, dims, rank, type, out
  tensorData: [51, ["pointer", "pointer"]], // GetTensorMutableData: value, out
  elementType: [60, ["pointer", "pointer"]], // type and shape, out
  dimensionCount: [61, ["pointer", "pointer"]],
  dimensions: [62, ["pointer", "pointer", "size"]],
  typeAndShape: [65, ["pointer", "pointer"]], // GetTensorTypeAndShape: value, out
  createCpuMemoryInfo: [69, ["int", "int", "pointer"]],
  createEnv: [119, ["int", "text", "pointer", "pointer"]], // CreateEnvWithGlobalThreadPools: log level, log id, threading options, out
  disablePerSessionThreads: [120, ["pointer"]],
  createThreadingOptions: [121, ["pointer"]],
  addSessionConfig: [130, ["pointer", "text", "text"]],
  registerAllocator: [144, ["pointer", "pointer", "pointer"]], // env, memory info, arena config
  setIntraOpThreads: [147, ["pointer", "int"]],
  setInterOpThreads: [148, ["pointer", "int"]],
  setSpinControl: [149, ["pointer", "int"]],
  createArenaConfig: [156, ["size", "int", "int", "int", "pointer"]], // max bytes, extend strategy, first chunk, dead bytes, out
} as const;

/** Functions that release a handle. */
const RELEASE_CALLS = {
  env: 92,
  status: 93,
  memoryInfo: 94,
  session: 95,
  value: 96,
  typeAndShape: 99,
  sessionOptions: 100,
  threadingOptions: 122,
  arenaConfig: 157,
} as const;

const GET_ERROR_MESSAGE = 2;

type StatusCalls = typeof STATUS_CALLS;
type StatusName = keyof StatusCalls;
type ArgumentsOf<N extends StatusName> = Arguments<StatusCalls[N][1]>;

/** The address of a native object. */
export type Handle = bigint;

/** The oldest table that has every function above and runs IR version 10, opset 21. */
const API_VERSION = 20;
/** koffi calls on stacks of its own, by default too small for ONNX Runtime (128 KiB when asynchronous); this is its maximum. */
const STACK_BYTES = 16 << 20;

type NativeCall = ((...args: readonly unknown[]) => unknown) & { readonly async: (...args: readonly unknown[]) => void };

/** The loaded library; every method throws OrtError with ONNX Runtime's own words. */
export class OrtApi {
  readonly version: string;
  readonly #calls: { readonly [N in StatusName]: NativeCall };
  readonly #release: { readonly [N in keyof typeof RELEASE_CALLS]: NativeCall };
  readonly #errorMessage: NativeCall;

  constructor(library: OnnxRuntimeLibrary) {
    const { table, version } = openTable(library);
    this.version = version;
    const at = (slot: number, result: string, args: readonly Kind[]): NativeCall => bindPointer(readPointer(table, 8 * slot), result, args);
    this.#errorMessage = at(GET_ERROR_MESSAGE, "str", ["pointer"]);
    this.#calls = mapValues(STATUS_CALLS, ([slot, args]) => at(slot, "void *", args));
    this.#release = mapValues(RELEASE_CALLS, (slot) => at(slot, "void", ["pointer"]));
  }

  /** Calls a function; `verb` begins the error message: `Cannot <verb>: <what ONNX Runtime says>`. */
  call<N extends StatusName>(verb: string, name: N, ...args: ArgumentsOf<N>): void {
    this.#check(verb, this.#calls[name](...args));
  }

  /** Calls a function whose last argument receives a handle, and returns the handle. */
  make(verb: string, call: (out: BigUint64Array) => void): Handle {
    const out = new BigUint64Array(1);
    call(out);
    const handle = out[0]!; // one element
    if (handle === 0n) throw new OrtError(`Cannot ${verb}: ONNX Runtime gave no handle`);
    return handle;
  }

  /** `call` on a thread of koffi's, so that the event loop stays free; the arguments must live until `done`. */
  callAsync<N extends StatusName>(verb: string, name: N, args: ArgumentsOf<N>, done: (error: Error | undefined) => void): void {
    this.#calls[name].async(...args, (failed: unknown, status: unknown) => {
      try {
        if (failed !== null && failed !== undefined)
          throw new OrtError(`Cannot ${verb}: the call did not reach ONNX Runtime`, { cause: failed });
        this.#check(verb, status);
      } catch (error) {
        done(error instanceof Error ? error : new OrtError(`Cannot ${verb}: ${String(error)}`));
        return;
      }
      done(undefined);
    });
  }

  release(kind: keyof typeof RELEASE_CALLS, handle: Handle): void {
    this.#release[kind](handle);
  }

  #check(verb: string, status: unknown): void {
    if (status === null) return;
    const said = String(this.#errorMessage(status));
    this.#release.status(status);
    throw new OrtError(`Cannot ${verb}: ONNX Runtime says "${said}"`);
  }
}

let loaded: OrtApi | undefined;

/** The API of the library that `findOnnxRuntime` finds, loaded once per process and never unloaded. */
export function loadOrtApi(): OrtApi {
  loaded ??= new OrtApi(findOnnxRuntime());
  return loaded;
}

/** OrtGetApiBase() -> { GetApi, GetVersionString }; GetApi(version) -> the table. */
function openTable(library: OnnxRuntimeLibrary): { readonly table: Handle; readonly version: string } {
  const base = callEntry(library);
  const version = String(bindPointer(readPointer(base, 8), "str", [])());
  const [major, minor] = version.split(".").map(Number);
  const table = major === 1 && (minor ?? 0) >= API_VERSION ? bindPointer(readPointer(base, 0), "void *", ["int"])(API_VERSION) : null;
  if (typeof table !== "bigint")
    throw new PlatformError(
      `Cannot use ONNX Runtime ${version} of "${library.path}": versions 1.${API_VERSION} and later 1.x are known to work; install onnxruntime-node 1.30`,
    );
  return { table, version };
}

/** koffi unloads a library whose object is collected, whatever pointers into it are still called. */
let held: LibraryHandle | undefined;

function callEntry(library: OnnxRuntimeLibrary): Handle {
  try {
    koffi.config({ sync_stack_size: STACK_BYTES, async_stack_size: STACK_BYTES }); // before the first library is loaded
    held = koffi.load(library.path);
    const base: unknown = held.func("OrtGetApiBase", "void *", [])();
    if (typeof base === "bigint") return base;
  } catch (cause) {
    throw new PlatformError(
      `Cannot load ONNX Runtime from "${library.path}": ${String(cause)}; reinstall onnxruntime-node (it needs glibc on Linux) or set TRICERA_ORT_LIBRARY`,
      { cause },
    );
  }
  throw new PlatformError(`Cannot load ONNX Runtime from "${library.path}": OrtGetApiBase gave nothing; reinstall onnxruntime-node`);
}

function readPointer(address: Handle, offset: number): Handle {
  return koffi.decode(address, offset, "void *") as Handle; // as: koffi decodes pointers to bigint and types them any
}

function bindPointer(address: Handle, result: string, args: readonly Kind[]): NativeCall {
  return koffi.decode(
    address,
    koffi.proto(
      result,
      args.map((kind) => C_TYPES[kind]),
    ),
  ) as NativeCall; // as: koffi decodes a prototype to its callable
}

function mapValues<K extends string, A, B>(table: Readonly<Record<K, A>>, map: (value: A) => B): { readonly [N in K]: B } {
  return Object.fromEntries(Object.entries<A>(table).map(([name, value]) => [name, map(value)])) as { readonly [N in K]: B }; // as: fromEntries forgets the keys
}
