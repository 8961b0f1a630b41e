/** @file Sessions of onnxruntime-web by their model's bytes, opened when first run and kept while a program uses them. */
import type { InferenceSession } from "onnxruntime-web";
import { PlatformError } from "../../../core/index.ts";
import type { LoweredStage } from "../../onnx/index.ts";
import { inTurn, type OrtWeb, type WebBackend } from "./ort-web.ts";

/** A session shared by equal stages. */
export interface SharedSession {
  readonly bytes: Uint8Array;
  session: Promise<InferenceSession> | undefined;
  users: number;
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function refused(cause: unknown, backend: WebBackend): PlatformError {
  const state = cause instanceof Error ? cause.message : String(cause);
  const other = backend === "webgpu" ? ', or choose device "wasm"' : "";
  if (state.startsWith("no available backend"))
    return new PlatformError(
      `Cannot start onnxruntime-web on ${backend}: ${state}; check that its .wasm file is served beside the page's scripts, or name its folder by wasmPaths, and reload the page${other}`,
      { cause },
    );
  return new PlatformError(`Cannot open a network on ${backend}: onnxruntime-web refused it (${state}); try another browser${other}`, {
    cause,
  });
}

/** The sessions of one device. */
export class WebSessions {
  readonly #ort: OrtWeb;
  readonly #backend: WebBackend;
  readonly #shared = new Set<SharedSession>();

  constructor(ort: OrtWeb, backend: WebBackend) {
    [this.#ort, this.#backend] = [ort, backend];
  }

  get backend(): WebBackend {
    return this.#backend;
  }

  get isOnGpu(): boolean {
    return this.#backend === "webgpu";
  }

  /** The entry of a lowered stage; give it back with `release`. */
  take({ bytes }: LoweredStage): SharedSession {
    const known = [...this.#shared].find((s) => equalBytes(s.bytes, bytes));
    const shared = known ?? { bytes, session: undefined, users: 0 };
    this.#shared.add(shared);
    shared.users++;
    return shared;
  }

  /** The session itself, opened once. Throws PlatformError where onnxruntime-web refuses the model. */
  open(shared: SharedSession): Promise<InferenceSession> {
    const options = { executionProviders: [this.#backend], ...(this.isOnGpu ? { preferredOutputLocation: "gpu-buffer" as const } : {}) };
    // our passes have simplified the graph; weights are inputs, so there is nothing to fold
    shared.session ??= inTurn(() => this.#ort.InferenceSession.create(shared.bytes, options)).catch((cause: unknown) => {
      shared.session = undefined;
      throw refused(cause, this.#backend);
    });
    return shared.session;
  }

  release(shared: SharedSession): void {
    shared.users--;
    if (shared.users > 0) return;
    this.#shared.delete(shared);
    const { session } = shared;
    if (session === undefined) return;
    void inTurn(async () => (await session).release()).catch(() => undefined); // a session that never opened holds nothing
  }
}
