/** @file The journal beside a table that is being written: what decides its numbers, and how far it is whole. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { z } from "zod";
import { ConfigError, PlatformError } from "../core/index.ts";
import type { FailedEntry } from "./extract.ts";
import type { PictureEncoder } from "./picture-encoder.ts";

/** What decides the numbers of a table, by plain names. */
export type Settings = Readonly<Record<string, unknown>>;

/** SHA-256 over what tells a network from others. */
export function fingerprint(encoder: Pick<PictureEncoder, "writeIdentity">): string {
  const hash = createHash("sha256");
  encoder.writeIdentity(hash);
  return hash.digest("hex");
}

/** How far a table is. */
export interface Progressed {
  /** Images gone through. */
  readonly done: number;
  readonly rows: number;
  readonly failed: readonly FailedEntry[];
}

export interface Journal {
  readonly settings: Settings;
  /** After each batch; `failures` counts those of `failed` that were known. */
  readonly states: readonly { readonly done: number; readonly rows: number; readonly failures: number }[];
  readonly failed: readonly FailedEntry[];
}

const headSchema = z.object({
  formatVersion: z.literal(1),
  settings: z.record(z.string(), z.unknown()),
  writer: z.object({ pid: z.int(), host: z.string(), started: z.string() }),
});
const count = z.int().min(0);
const stateSchema = z.object({
  done: count,
  rows: count,
  failed: z.array(z.object({ index: count, path: z.string(), reason: z.string() })),
});

/** When a process started, in the kernel's ticks, field 22 of `/proc/PID/stat`; empty where there is no such file. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}

function isAlive({ pid, host, started }: z.infer<typeof headSchema>["writer"]): boolean {
  if (host !== hostname() || pid === process.pid || started !== startOf(pid)) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** The first line of a journal. */
export function headLine(settings: Settings): string {
  const writer = { pid: process.pid, host: hostname(), started: startOf(process.pid) };
  return `${JSON.stringify({ formatVersion: 1, settings, writer })}\n`;
}

/** The line of a batch: the failures are those that are new. */
export function stateLine(state: Progressed): string {
  return `${JSON.stringify(state)}\n`;
}

function parseLine<T>(line: string, schema: z.ZodType<T>): T | undefined {
  try {
    return schema.parse(JSON.parse(line));
  } catch {
    return undefined; // cut off or damaged
  }
}

/**
 * Reads a journal as far as it is whole: what follows a line that was cut off is not trusted. Undefined where there is none, or not even its
 * first line. Throws PlatformError while another process is writing it.
 */
export async function readJournal(file: string): Promise<Journal | undefined> {
  const text = await readFile(file, "utf8").catch(() => "");
  const [first = "", ...lines] = text.split("\n").slice(0, -1);
  const head = parseLine(first, headSchema);
  if (head === undefined) return undefined;
  if (isAlive(head.writer))
    throw new PlatformError(`Cannot write by "${file}": process ${head.writer.pid} is writing that table; wait for it, or stop it`);
  const states: Journal["states"][number][] = [];
  const failed: FailedEntry[] = [];
  for (const line of lines) {
    const state = parseLine(line, stateSchema);
    if (state === undefined || state.rows + failed.length + state.failed.length !== state.done) break;
    failed.push(...state.failed);
    states.push({ done: state.done, rows: state.rows, failures: failed.length });
  }
  return { settings: head.settings, states, failed };
}

/** Throws ConfigError that names each setting that differs. */
export function checkSettings(out: string, before: Settings, now: Settings): void {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(now)])];
  const plain = (value: unknown): string => JSON.stringify(value) ?? "nothing";
  const differing = keys.filter((key) => plain(before[key]) !== plain(now[key]));
  if (differing.length === 0) return;
  const isHash = (key: string): boolean => key === "weights" || key === "images";
  const what = differing.map((key) => (isHash(key) ? `the ${key} are others` : `${key} was ${plain(before[key])}, now ${plain(now[key])}`));
  throw new ConfigError(
    `Cannot go on with "${out}.partial": ${what.join("; ")}; give the settings of before, --overwrite to begin again, or another --out`,
    { keyPath: differing[0] ?? "out" },
  );
}
