/** @file How a command reaches the library: rooms are loaded when a command needs them, so that `--help` and `doctor` work without native parts. */
import { join } from "node:path";
import { ConfigError, InternalError, type JobOptions, PlatformError } from "../core/index.ts";
import type * as TrainRoom from "../train/index.ts";
import type { CommandContext } from "./command.ts";
import { ProgressLine } from "./progress-line.ts";

/** Where the library's functions live. */
const ROOMS = {
  train: "../train/index.ts",
  distill: "../train/index.ts",
  embed: "../features/index.ts",
  exportModel: "../features/index.ts",
  evalKnn: "../evals/index.ts",
  evalPatchKnn: "../evals/index.ts",
} as const;

export type LibraryFunction = keyof typeof ROOMS;
type Job = (options: object) => Promise<unknown>;

/** Loads one function of the library. */
async function loadJob(name: LibraryFunction): Promise<Job> {
  const room: unknown = await loadRoom(import(new URL(fileOf(ROOMS[name]), import.meta.url).href));
  const job: unknown = (room as Readonly<Record<string, unknown>>)[name]; // as: a module is a table of its exports
  if (typeof job !== "function") throw new InternalError(`Cannot run ${name}: the library has no such function; install tricera again`);
  // the options are those of the command's own tested function; the library checks them at its edge
  return job as Job;
}

/** A room that is being loaded; where a native package of it is missing, the error says who knows what to install. */
export async function loadRoom<T>(loading: Promise<T>): Promise<T> {
  try {
    return await loading;
  } catch (cause) {
    const why = cause instanceof Error ? (cause.message.split("\n", 1)[0] ?? "") : String(cause);
    throw new PlatformError(`Cannot load the library: ${why}; run \`tricera doctor\`, which says what to install`, { cause });
  }
}

/** The training room, which holds the configuration too. */
export function loadTrainRoom(): Promise<typeof TrainRoom> {
  return loadRoom(import("../train/index.ts"));
}

/** The built file of a source file: what runs from `dist` imports `.js`. */
function fileOf(path: string): string {
  return import.meta.url.endsWith(".js") ? path.replace(/\.ts$/, ".js") : path;
}

/** Runs a function of the library with the command line's progress, notices and Ctrl-C. */
export async function runJob(name: LibraryFunction, options: object, context: CommandContext): Promise<unknown> {
  const line = new ProgressLine(context.terminal);
  const job: JobOptions = {
    signal: context.signal,
    onProgress: line.onProgress,
    onNotice: (text) => line.note(text),
  };
  try {
    return await (
      await loadJob(name)
    )({ ...options, ...job });
  } finally {
    line.done();
  }
}

function rows(value: unknown, path: string): readonly (readonly [string, string])[] {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return Object.entries(value).flatMap(([key, inner]: [string, unknown]) => rows(inner, path === "" ? key : `${path}.${key}`));
  if (typeof value === "number") return [[path, readable(value)]];
  return value === undefined ? [] : [[path, typeof value === "string" ? value : JSON.stringify(value)]];
}

/** A number as people read it: whole, or four digits. */
const readable = (value: number): string => (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4))));

/** What a run's values are called for people; scripts get the names of the library by --json. */
const RUN_WORDS: Readonly<Record<string, string>> = {
  out: "run",
  exported: "model",
  failedImages: "broken images",
};

/** A run's result for people: its values by plain names, and where its report is. */
export function formatRun(result: unknown): string {
  if (typeof result !== "object" || result === null || !("out" in result) || typeof result.out !== "string") return formatResult(result);
  const named = Object.entries(result).map(([key, value]: [string, unknown]) =>
    key === "waitShare" && typeof value === "number"
      ? (["waited", `${Math.round(100 * value)} % of the time for images`] as const)
      : ([RUN_WORDS[key] ?? key, value] as const),
  );
  return formatResult({ ...Object.fromEntries(named), report: join(result.out, "report.html") });
}

/** A result for people: one line a value. */
export function formatResult(result: unknown): string {
  if (typeof result === "object" && result !== null && "text" in result && typeof result.text === "string")
    return result.text.trimEnd() + "\n";
  const lines = rows(result, "");
  const wide = Math.max(0, ...lines.map(([key]) => key.length));
  return lines.map(([key, value]) => `${key.padEnd(wide)}  ${value}\n`).join("");
}

export interface PrintResultOptions {
  readonly json: boolean;
  readonly context: CommandContext;
  /** How people read it. */
  readonly format?: (result: unknown) => string;
}

/** Prints a result: with `json` one object on stdout, otherwise lines for people. */
export function printResult(result: unknown, { json, context, format = formatResult }: PrintResultOptions): void {
  context.terminal.out(json ? `${JSON.stringify(result)}\n` : format(result));
}

/** Refuses devices and precisions that this release does not have. */
export function checkDevice(values: { readonly device?: string; readonly precision?: string }): void {
  if (values.device !== undefined && values.device !== "auto" && values.device !== "cpu")
    throw new ConfigError(`Cannot use --device ${values.device}: this release computes on the CPU; leave --device out`);
  if (values.precision !== undefined && values.precision !== "f32")
    throw new ConfigError(`Cannot use --precision ${values.precision}: this release computes in f32; leave --precision out`);
}
