/** @file Files and folders that are whole or absent: written aside, synced, renamed. A kill at any moment leaves the old one or the new one. */
import { mkdir, open, readdir, rename, rm, stat, statfs, type FileHandle } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { InternalError, PlatformError } from "../core/index.ts";

/** What `writeFileAtomic` writes: one piece, or pieces in order. */
export type FileContent = string | Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

const WRITE_LIMIT_BYTES = 64 * 2 ** 20;
const FULL_DISK_CODES = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/** Partial paths this process writes now: those are no leftovers. */
const active = new Set<string>();

/**
 * Writes a file so that `path` holds either the old content or all of the new one.
 * `sizeBytes` says how much pieces will hold, so that a full disk is seen before anything is written.
 * Throws PlatformError when the disk is full (the old file stays).
 */
export async function writeFileAtomic(path: string, content: FileContent, options: { readonly sizeBytes?: number } = {}): Promise<void> {
  const pieces = typeof content === "string" ? [new TextEncoder().encode(content)] : content instanceof Uint8Array ? [content] : content;
  const sizeBytes = options.sizeBytes ?? (Array.isArray(pieces) ? totalBytes(pieces) : undefined);
  if (sizeBytes !== undefined) await checkDiskSpace(path, sizeBytes);
  await aside(path, { sizeBytes }, async (partial) => {
    await writeSynced(partial, pieces);
    await rename(partial, path);
    await syncDir(dirname(path));
  });
}

function totalBytes(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((n, p) => n + p.byteLength, 0);
}

/**
 * Replaces a folder: `write` fills an empty folder beside it, which then takes its place, files and folders synced.
 * Throws what `write` throws (the old folder stays), PlatformError when the disk is full.
 */
export async function replaceDirAtomic(
  path: string,
  write: (partialDir: string) => Promise<void>,
  options: { readonly sizeBytes?: number } = {},
): Promise<void> {
  const dir = resolve(path); // without a slash at its end, which names beside it must not have inside
  if (options.sizeBytes !== undefined) await checkDiskSpace(dir, options.sizeBytes);
  await recoverDir(dir);
  await aside(dir, options, async (partial) => {
    await mkdir(partial);
    await write(partial);
    await syncTree(partial);
    await swapIn(partial, dir);
  });
}

/** A kill between the two renames of `replaceDirAtomic` leaves only the old folder, under another name: this puts it back. Readers call it first. */
export async function recoverDir(path: string): Promise<void> {
  const dir = resolve(path);
  if (await exists(dir)) return;
  for (const name of await siblings(dir, "old")) {
    if (isBusy(dir, pidOf(name))) continue;
    await rename(join(dirname(dir), name), dir);
    return;
  }
}

/** Removes `<name>.partial-<pid>` and `<name>.old-<pid>` of processes that are gone. */
export async function cleanLeftovers(path: string): Promise<void> {
  for (const kind of ["partial", "old"] as const) {
    for (const name of await siblings(path, kind)) {
      const full = join(dirname(path), name);
      // An old folder whose successor never arrived is the only copy left.
      if (!isBusy(path, pidOf(name)) && (kind === "partial" || (await exists(path)))) await rm(full, { recursive: true, force: true });
    }
  }
}

/** Throws PlatformError when the disk of `path` has fewer than `sizeBytes` bytes free. */
export async function checkDiskSpace(path: string, sizeBytes: number): Promise<void> {
  const free = await freeBytes(path);
  if (free !== undefined && free < sizeBytes) throw fullDisk(path, { sizeBytes, free });
}

async function aside(
  path: string,
  options: { readonly sizeBytes?: number | undefined },
  write: (partial: string) => Promise<void>,
): Promise<void> {
  const partial = partialPath(path);
  if (active.has(partial)) throw new InternalError(`Cannot write "${path}": this process is writing it already; await the first write`);
  active.add(partial);
  try {
    await mkdir(dirname(path), { recursive: true });
    await cleanLeftovers(path);
    await rm(partial, { recursive: true, force: true }); // left by an earlier process of the same id
    await write(partial);
  } catch (error) {
    const free = await freeBytes(path);
    await rm(partial, { recursive: true, force: true });
    if (FULL_DISK_CODES.has(codeOf(error))) throw fullDisk(path, { sizeBytes: options.sizeBytes, free, cause: error });
    throw error;
  } finally {
    active.delete(partial);
  }
}

function partialPath(path: string): string {
  return `${path}.partial-${process.pid}`;
}

async function writeSynced(path: string, pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
  const file = await open(path, "wx");
  try {
    for await (const piece of pieces) await writeAll(file, piece);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength;) {
    const { bytesWritten } = await file.write(bytes, at, Math.min(WRITE_LIMIT_BYTES, bytes.byteLength - at));
    at += bytesWritten;
  }
}

async function swapIn(partial: string, dir: string): Promise<void> {
  const old = `${dir}.old-${process.pid}`;
  const hadOld = await exists(dir);
  if (hadOld) {
    await rm(old, { recursive: true, force: true }); // left by an earlier process of the same id
    await rename(dir, old);
  }
  try {
    await rename(partial, dir);
  } catch (error) {
    if (hadOld) await rename(old, dir);
    throw error;
  }
  await syncDir(dirname(dir));
  if (hadOld) await rm(old, { recursive: true, force: true });
}

async function syncTree(dir: string): Promise<void> {
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) await syncTree(path);
    else if (entry.isFile()) await syncPath(path, "r+");
  }
  await syncDir(dir);
}

/** Windows cannot open folders; there the rename alone has to do. */
async function syncDir(dir: string): Promise<void> {
  if (process.platform !== "win32") await syncPath(dir, "r");
}

async function syncPath(path: string, flags: string): Promise<void> {
  const handle = await open(path, flags);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function siblings(path: string, kind: "partial" | "old"): Promise<string[]> {
  const prefix = `${basename(path)}.${kind}-`;
  const names = await readdir(dirname(path)).catch(() => []);
  return names.filter((n) => n.startsWith(prefix) && /^\d+$/.test(n.slice(prefix.length)));
}

function pidOf(name: string): number {
  return Number(name.slice(name.lastIndexOf("-") + 1));
}

/** Whether that process may be writing `path` now. */
function isBusy(path: string, pid: number): boolean {
  if (pid === process.pid) return active.has(partialPath(path));
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Free bytes for us where `path` lies, asked of its nearest existing folder. */
async function freeBytes(path: string): Promise<number | undefined> {
  for (let dir = dirname(path); ; dir = dirname(dir)) {
    const fs = await statfs(dir).catch(() => undefined);
    if (fs !== undefined) return fs.bavail * fs.bsize;
    if (dir === dirname(dir)) return undefined;
  }
}

function fullDisk(
  path: string,
  options: { readonly sizeBytes: number | undefined; readonly free: number | undefined; readonly cause?: unknown },
): PlatformError {
  const { sizeBytes, free, cause } = options;
  const needs = sizeBytes === undefined ? "" : `${sizeBytes} bytes needed, `;
  const has = free === undefined ? "free space not known" : `${free} bytes free`;
  const text = `Cannot write "${path}": the disk is full (${needs}${has}); free some space or choose another folder, what was there before is unchanged`;
  return new PlatformError(text, cause === undefined ? undefined : { cause });
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
