/** @file Folders that are whole or not there: written aside, synced, renamed. */
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { PlatformError } from "../../core/index.ts";

/** Names of folders that are being written or deleted; what a killed process leaves of them is rubbish. */
const ASIDE = /^\.(writing|removing)-/;

/** Makes the names inside a folder last through a power cut. Windows has no such call. */
async function syncDir(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function syncFiles(dir: string): Promise<void> {
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const handle = await open(join(entry.parentPath, entry.name), "r+");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

/** The error of a write that failed, with what to do; a full disk is named as such. */
export function writeError(what: string, error: unknown): Error {
  const code = codeOf(error);
  if (code === "ENOSPC" || code === "EDQUOT")
    return new PlatformError(`Cannot write ${what}: the disk is full; free some space and go on with --resume (what was saved before is untouched)`, { cause: error });
  if (code === "EACCES" || code === "EPERM" || code === "EROFS")
    return new PlatformError(`Cannot write ${what}: it is not writable (${code}); change its permissions or choose another --out`, { cause: error });
  return error instanceof Error ? error : new PlatformError(`Cannot write ${what}: ${String(error)}; try again`);
}

/**
 * Makes `path` a folder with what `write` puts in: written aside, synced, renamed over what was there.
 * When it fails, whatever was at `path` is still there and nothing else is.
 */
export async function makeDirAtomic(path: string, write: (dir: string) => Promise<void>): Promise<void> {
  const parent = dirname(path);
  const aside = join(parent, `.writing-${basename(path)}-${process.pid}`);
  try {
    await rm(aside, { recursive: true, force: true });
    await mkdir(aside, { recursive: true });
    await write(aside);
    await syncFiles(aside);
    await syncDir(aside);
    await swapIn(aside, path);
    await syncDir(parent);
  } catch (error) {
    await rm(aside, { recursive: true, force: true }).catch(() => undefined);
    throw writeError(`"${path}"`, error);
  }
}

/** Renames `aside` to `path`; a folder that was there is moved away first and put back should the second rename fail. */
async function swapIn(aside: string, path: string): Promise<void> {
  const old = join(dirname(path), `.removing-${basename(path)}-${process.pid}`);
  const wasThere = await rename(path, old).then(
    () => true,
    (error: unknown) => {
      if (codeOf(error) === "ENOENT") return false;
      throw error;
    },
  );
  try {
    await rename(aside, path);
  } catch (error) {
    if (wasThere) await rename(old, path);
    throw error;
  }
  if (wasThere) await rm(old, { recursive: true, force: true });
}

/** Deletes a folder so that no reader ever sees half of it. */
export async function removeDir(path: string): Promise<void> {
  const aside = join(dirname(path), `.removing-${basename(path)}-${process.pid}`);
  try {
    await rename(path, aside);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return;
    throw error;
  }
  await rm(aside, { recursive: true, force: true });
}

/** Deletes what a killed process left half-written or half-deleted in a folder. */
export async function sweepAside(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  for (const name of names) if (ASIDE.test(name)) await rm(join(parent, name), { recursive: true, force: true });
}
