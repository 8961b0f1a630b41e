/** @file What every back end offers: compile a graph over named buffers, and run it. */
import type { TypedArray } from "../../core/index.ts";
import type { Graph } from "../ir/index.ts";
import type { Arena } from "./arena.ts";

export interface CompileOptions {
  /** Memory for inputs and outputs, by name; what is missing is allocated. A name that is both state in and state out gets two buffers. */
  readonly inputs?: ReadonlyMap<string, TypedArray>;
  readonly outputs?: ReadonlyMap<string, TypedArray>;
  /** Memory between stages that the program shares with others; they must not run at the same time. Its own by default; the browser's device keeps to that. */
  readonly arena?: Arena;
}

export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called after each stage: gradients it wrote are ready. */
  readonly onStage?: ((region: string, index: number) => void) | undefined;
}

/** A compiled graph over fixed buffers. */
export interface Program extends Disposable {
  readonly inputs: ReadonlyMap<string, TypedArray>;
  readonly outputs: ReadonlyMap<string, TypedArray>;
  /** Bytes of the arena for values between stages. */
  readonly arenaBytes: number;
  readonly stages: number;
  readonly sessions: number;
  run(options?: RunOptions): Promise<void>;
}

export interface Device extends Disposable {
  readonly name: string;
  readonly threads: number;
  compile(graph: Graph, options?: CompileOptions): Program;
}
