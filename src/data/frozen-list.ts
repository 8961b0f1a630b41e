/** @file `data.jsonl`: the list of images a run was started with; a sample's id is its row. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { FormatError } from "../core/index.ts";
import { writeFileAtomic } from "../weights/index.ts";
import { type DataEntry, type DataList, entryName, makeList } from "./entry.ts";

const entrySchema = z.object({
  path: z.string().min(1),
  member: z.string().optional(),
  offset: z.int().min(0).optional(),
  bytes: z.int().min(0),
  mtimeMs: z.number(),
  label: z.string().optional(),
});

const lineOf = ({ path, member, offset, bytes, mtimeMs, label }: DataEntry): string =>
  JSON.stringify({ path, member, offset, bytes, mtimeMs, label });

/** SHA-256 over the lines of a list. */
export function digestList(list: DataList): string {
  const hash = createHash("sha256");
  for (const entry of list.entries) hash.update(`${lineOf(entry)}\n`);
  return hash.digest("hex");
}

/** Writes a run's `data.jsonl`. */
export async function freezeList(runDir: string, list: DataList): Promise<void> {
  await writeFileAtomic(join(runDir, "data.jsonl"), list.entries.map((e) => `${lineOf(e)}\n`).join(""));
}

/** Reads a run's `data.jsonl`. Throws FormatError. */
export async function readFrozenList(runDir: string): Promise<DataList> {
  const file = join(runDir, "data.jsonl");
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new FormatError(`Cannot read the run's list of images: "${file}" is missing; start the run anew`, { file, cause });
  });
  const damaged = (line: number, cause?: unknown): FormatError =>
    new FormatError(`Cannot read the run's list of images: "${file}" line ${line} is damaged; start the run anew`, { file, cause });
  const lines = text.split("\n");
  if (lines.pop() !== "") throw damaged(lines.length + 1); // each line ends with a line feed, or its end is lost
  const entries = lines.map((line, i): DataEntry => {
    try {
      // absent and undefined are the same here: the schema's optional keys are the interface's
      return entrySchema.parse(JSON.parse(line)) as DataEntry;
    } catch (cause) {
      throw damaged(i + 1, cause);
    }
  });
  if (entries.length === 0) throw new FormatError(`Cannot read the run's list of images: "${file}" is empty; start the run anew`, { file });
  return makeList(entries);
}

/** How a list differs from the frozen one, by name. */
export interface ListChanges {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly gone: readonly string[];
}

export function compareLists(frozen: DataList, now: DataList): ListChanges {
  const old = new Map(frozen.entries.map((e) => [entryName(e), e]));
  const names = new Set(now.entries.map(entryName));
  const isChanged = (e: DataEntry): boolean => {
    const before = old.get(entryName(e));
    return before !== undefined && (before.bytes !== e.bytes || before.mtimeMs !== e.mtimeMs || before.offset !== e.offset);
  };
  return {
    added: [...names].filter((name) => !old.has(name)),
    changed: now.entries.filter(isChanged).map(entryName),
    gone: [...old.keys()].filter((name) => !names.has(name)),
  };
}

/** "3 added (a.jpg, b.jpg, ...), 1 gone (c.jpg)", or undefined when nothing differs. */
export function describeChanges(changes: ListChanges): string | undefined {
  const parts = Object.entries(changes).flatMap(([what, names]: [string, readonly string[]]) =>
    names.length === 0 ? [] : `${names.length} ${what} (${names.slice(0, 3).join(", ")}${names.length > 3 ? ", ..." : ""})`,
  );
  return parts.length === 0 ? undefined : parts.join(", ");
}
