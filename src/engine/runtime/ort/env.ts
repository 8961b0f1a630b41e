/** @file The process's one ONNX Runtime environment: a thread pool and a memory arena that all sessions share. */
import { availableParallelism } from "node:os";
import { ConfigError, type DType, InternalError, type Shape, type TypedArray } from "../../../core/index.ts";
import { type Handle, loadOrtApi, type OrtApi } from "./api.ts";
import { OrtSession, type SessionNames } from "./session.ts";
import { memoryOf, OrtTensor, type TensorMemory } from "./tensor.ts";

export interface OrtOptions {
  /** Threads of the shared pool, the calling one included; every core by default. */
  readonly threads?: number;
  /** Whether idle threads of the pool spin for work. Off by default: it costs CPU that decoding and cropping need. */
  readonly spin?: boolean;
  /** ONNX Runtime's own graph optimizer; "off" by default, as it would undo our stages. */
  readonly optimize?: "off" | "all";
}

export interface SessionOptions {
  /**
   * Whether ONNX Runtime takes the memory of a run's inner values in one piece, as the first run needed it (its "memory patterns"). Quicker
   * for many small values; large values then keep pieces that no other session can use.
   */
  readonly planned?: boolean;
  /** ONNX Runtime's own graph optimizer, for models that others made or that are run as others run them; the environment's unless said. */
  readonly optimize?: "off" | "all" | undefined;
  /** Whether ONNX Runtime prints nothing on stderr: errors are thrown all the same. */
  readonly quiet?: boolean;
  /** The folder of the files that a model's weights lie in, where they are not in the model itself. */
  readonly externalDir?: string | undefined;
}

const LOG_ERROR = 3;
const LOG_FATAL = 4;
const OPTIMIZATION_LEVELS = { off: 0, all: 99 } as const;
const ARENA_ALLOCATOR = 1;
const CPU_MEMORY = 0;
const SAME_AS_REQUESTED = 1;
const DEFAULT = -1;

/** The native side, shared by all OrtEnvs of the process and released with the last of them and their sessions. */
interface NativeEnv {
  readonly api: OrtApi;
  readonly key: string;
  readonly env: Handle;
  readonly memoryInfo: Handle;
  readonly options: Handle;
  /** The same without ONNX Runtime's memory patterns. */
  readonly unplanned: Handle;
  users: number;
}

let current: NativeEnv | undefined;

/**
 * Opens ONNX Runtime. A process has one environment: opening again with equal options shares it, with other options
 * throws ConfigError while the first is in use (it or one of its sessions is not disposed).
 */
export function openOrt({ threads = availableParallelism(), spin = false, optimize = "off" }: OrtOptions = {}): OrtEnv {
  if (!Number.isInteger(threads) || threads < 1)
    throw new ConfigError(`Cannot open ONNX Runtime: threads is ${threads}; use a whole number of at least 1`, { keyPath: "threads" });
  const key = `threads ${threads}, spin ${spin}, optimize ${optimize}`;
  if (current !== undefined && current.key !== key)
    throw new ConfigError(
      `Cannot open ONNX Runtime with ${key}: it is open with ${current.key}; a process has one, so dispose that first or use its options`,
      {
        keyPath: "threads",
      },
    );
  current ??= createNative(key, { threads, spin, optimize });
  return new OrtEnv(current, threads);
}

/** A user's hold on the environment: makes tensors and sessions. Sessions may outlive it. */
export class OrtEnv implements Disposable {
  readonly threads: number;
  readonly #native: NativeEnv;
  #open = true;

  constructor(native: NativeEnv, threads: number) {
    this.#native = native;
    this.threads = threads;
    native.users++;
  }

  /** ONNX Runtime's version. */
  get version(): string {
    return this.#native.api.version;
  }

  /** Compiles a model. The names fix the order of arguments and must all be names of the model. Throws OrtError. */
  session(model: Uint8Array, names: SessionNames, options: SessionOptions = {}): OrtSession {
    const native = this.#live();
    const { api, env } = native;
    const verb = "open ONNX model";
    const own = ownOptions(native, options);
    const chosen = own ?? (options.planned === false ? native.unplanned : native.options);
    try {
      return this.#hold(
        api.make(verb, (out) => api.call(verb, "createSession", env, model, model.length, chosen, out)),
        names,
      );
    } finally {
      if (own !== undefined) api.release("sessionOptions", own);
    }
  }

  #hold(handle: Handle, names: SessionNames): OrtSession {
    const native = this.#native;
    native.users++;
    return new OrtSession(native.api, handle, names, () => leave(native));
  }

  /**
   * A tensor over a view's own memory: runs read and write the view. The view may lie in a SharedArrayBuffer or a
   * WebAssembly.Memory that does not grow. Throws ShapeError, DTypeError.
   */
  tensor(data: TypedArray, dtype: DType, shape: Shape): OrtTensor {
    const { api, memoryInfo } = this.#live();
    return new OrtTensor(api, memoryInfo, memoryOf(data, dtype, shape), data);
  }

  /** A tensor over memory that the caller keeps alive, such as one WebAssembly module's heap. */
  tensorAt(memory: TensorMemory): OrtTensor {
    const { api, memoryInfo } = this.#live();
    return new OrtTensor(api, memoryInfo, memory, undefined);
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    leave(this.#native);
  }

  #live(): NativeEnv {
    if (!this.#open) throw new InternalError("Cannot use ONNX Runtime: this environment is disposed; open it again with openOrt()");
    return this.#native;
  }
}

function createNative(key: string, options: Required<OrtOptions>): NativeEnv {
  const api = loadOrtApi();
  const env = createEnv(api, options);
  const verb = "set up ONNX Runtime";
  const memoryInfo = api.make(verb, (out) => api.call(verb, "createCpuMemoryInfo", ARENA_ALLOCATOR, CPU_MEMORY, out));
  const arena = api.make(verb, (out) => api.call(verb, "createArenaConfig", 0, SAME_AS_REQUESTED, DEFAULT, DEFAULT, out));
  api.call(verb, "registerAllocator", env, memoryInfo, arena);
  api.release("arenaConfig", arena);
  const unplanned = createSessionOptions(api, options.optimize);
  api.call(verb, "disableMemoryPattern", unplanned);
  return { api, key, env, memoryInfo, options: createSessionOptions(api, options.optimize), unplanned, users: 0 };
}

function createEnv(api: OrtApi, { threads, spin }: Required<OrtOptions>): Handle {
  const verb = "set up ONNX Runtime";
  const threading = api.make(verb, (out) => api.call(verb, "createThreadingOptions", out));
  api.call(verb, "setIntraOpThreads", threading, threads);
  api.call(verb, "setInterOpThreads", threading, 1);
  api.call(verb, "setSpinControl", threading, spin ? 1 : 0);
  const env = api.make(verb, (out) => api.call(verb, "createEnv", LOG_ERROR, "tricera", threading, out));
  api.release("threadingOptions", threading);
  return env;
}

function createSessionOptions(api: OrtApi, optimize: keyof typeof OPTIMIZATION_LEVELS): Handle {
  const verb = "set up ONNX Runtime";
  const options = api.make(verb, (out) => api.call(verb, "createSessionOptions", out));
  api.call(verb, "disablePerSessionThreads", options);
  api.call(verb, "setLogSeverity", options, LOG_ERROR);
  api.call(verb, "setOptimizationLevel", options, OPTIMIZATION_LEVELS[optimize]);
  api.call(verb, "addSessionConfig", options, "session.use_env_allocators", "1");
  return options;
}

/** What a session wants of its own, released when it is open; undefined where it wants nothing. */
function ownOptions({ api }: NativeEnv, { planned = true, optimize, quiet = false, externalDir }: SessionOptions): Handle | undefined {
  if (optimize === undefined && externalDir === undefined && !quiet) return undefined;
  const options = createSessionOptions(api, optimize ?? "off");
  const verb = "set up ONNX Runtime";
  if (!planned) api.call(verb, "disableMemoryPattern", options);
  if (quiet) api.call(verb, "setLogSeverity", options, LOG_FATAL);
  if (externalDir !== undefined)
    api.call(verb, "addSessionConfig", options, "session.model_external_initializers_file_folder_path", externalDir);
  return options;
}

/** Gives up one hold; the last one releases what the environment owns, the environment itself at the end. */
function leave(native: NativeEnv): void {
  native.users--;
  if (native.users > 0) return;
  if (current === native) current = undefined;
  native.api.release("sessionOptions", native.options);
  native.api.release("sessionOptions", native.unplanned);
  native.api.release("memoryInfo", native.memoryInfo);
  native.api.release("env", native.env);
}
