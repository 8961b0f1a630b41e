/**
 * @file One pull of a model at a time. The holder touches its lock every second; a lock that is not touched for a while is dead, whatever
 * process, container or machine it was of (clocks are never compared). A lock of a process of this machine that is gone is dead at once.
 */
import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const TOUCH_MS = 1000;
const DEAD_AFTER_MS = 15_000;
const POLL_MS = 200;

/** Locks of this process. */
const held = new Set<string>();

/** Name of the lock in its folder. */
export const LOCK_NAME = "lock";

const lockFile = (dir: string): string => join(dir, LOCK_NAME);

interface LockState {
  readonly text: string;
  readonly touched: number;
}

async function readLock(dir: string): Promise<LockState | undefined> {
  try {
    return { text: await readFile(lockFile(dir), "utf8"), touched: (await stat(lockFile(dir))).mtimeMs };
  } catch {
    return undefined;
  }
}

/** Whether the lock is of a process of this machine that is gone. */
function isOrphan(text: string): boolean {
  const [host, pid = "", token = ""] = text.split(" ");
  if (host !== hostname() || !/^\d+$/.test(pid)) return false;
  if (Number(pid) === process.pid) return !held.has(token);
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "ESRCH";
  }
}

/** Whether a pull of this folder seems to be under way: it has a lock that is not known to be dead. */
export async function isLocked(dir: string): Promise<boolean> {
  const lock = await readLock(dir);
  return lock !== undefined && !isOrphan(lock.text);
}

/** Takes a dead lock away; the lock of another who was quicker is put back. */
async function breakLock(dir: string, dead: LockState): Promise<void> {
  const aside = `${lockFile(dir)}.${randomUUID()}`;
  try {
    await rename(lockFile(dir), aside);
  } catch {
    return; // another took it away
  }
  const text = await readFile(aside, "utf8").catch(() => "");
  if (text === dead.text) await rm(aside, { force: true });
  else await rename(aside, lockFile(dir));
}

async function tryLock(dir: string, text: string): Promise<boolean> {
  try {
    await mkdir(dir, { recursive: true });
    await writeFile(lockFile(dir), text, { flag: "wx" });
    return true;
  } catch (error) {
    // ENOENT: the holder before us removed the folder between our two calls
    if (error instanceof Error && "code" in error && (error.code === "EEXIST" || error.code === "ENOENT")) return false;
    throw error;
  }
}

export interface LockOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called once when another holds the lock. */
  readonly onWait?: (() => void) | undefined;
  /** How long an untouched lock counts as alive. */
  readonly deadAfterMs?: number | undefined;
}

/** Waits for the lock of a folder, runs `work`, lets go. Throws what `work` throws, and AbortError where `signal` fires while it waits. */
export async function withLock<T>(dir: string, work: () => Promise<T>, options: LockOptions = {}): Promise<T> {
  const token = randomUUID();
  const text = `${hostname()} ${process.pid} ${token}`;
  await acquire(dir, text, options);
  held.add(token);
  const timer = setInterval(() => {
    const now = new Date();
    utimes(lockFile(dir), now, now).catch(() => undefined); // the folder has just gone
  }, TOUCH_MS);
  timer.unref();
  try {
    return await work();
  } finally {
    clearInterval(timer);
    held.delete(token);
    if ((await readLock(dir))?.text === text) await rm(lockFile(dir), { force: true });
  }
}

async function acquire(dir: string, text: string, { signal, onWait, deadAfterMs = DEAD_AFTER_MS }: LockOptions): Promise<void> {
  let [seen, unchangedMs, told] = [undefined as number | undefined, 0, false]; // undefined: nothing seen yet
  while (!(await tryLock(dir, text))) {
    signal?.throwIfAborted();
    const lock = await readLock(dir);
    if (lock === undefined) continue;
    unchangedMs = lock.touched === seen ? unchangedMs + POLL_MS : 0;
    seen = lock.touched;
    if (isOrphan(lock.text) || unchangedMs >= deadAfterMs) {
      await breakLock(dir, lock);
      unchangedMs = 0;
      continue;
    }
    if (!told) onWait?.();
    told = true;
    await sleep(POLL_MS, undefined, signal === undefined ? {} : { signal });
  }
}
