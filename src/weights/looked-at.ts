/** @file Results that take their place only when they have been looked at: written aside, read again, then moved. */
import { rename, rm } from "node:fs/promises";
import { join, parse } from "node:path";
import { replaceDirAtomic } from "./atomic-file.ts";

export interface LookedAt<T> {
  readonly write: (path: string) => Promise<void>;
  /** Looks at what was written; throws where it is wrong. */
  readonly look: (path: string) => Promise<T>;
}

/** A name beside the file, of the same suffix. */
export function uncheckedName(out: string): string {
  const { dir, name, ext } = parse(out);
  return join(dir, `${name}.unchecked-${process.pid}${ext}`);
}

/** Writes a file that appears under its name only after `look` has seen it. */
export async function writeLookedAt<T>(out: string, { write, look }: LookedAt<T>): Promise<T> {
  const aside = uncheckedName(out);
  try {
    await write(aside);
    const seen = await look(aside);
    await rename(aside, out);
    return seen;
  } finally {
    await rm(aside, { force: true });
  }
}

/** Writes a folder that appears under its name only after `look` has seen it. */
export async function writeFolderLookedAt<T>(out: string, { write, look }: LookedAt<T>): Promise<T> {
  const seen: T[] = [];
  await replaceDirAtomic(out, async (dir) => {
    await write(dir);
    seen.push(await look(dir));
  });
  return seen[0]!; // the folder was written
}
