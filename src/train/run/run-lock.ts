/** @file `run.lock`: one process writes a run folder at a time; a lock whose process is gone is taken over. */
import { randomUUID } from "node:crypto";
import { link, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { readFileSync, rmSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { PlatformError } from "../../core/index.ts";
import { writeError } from "./write-error.ts";

/** Who holds a run folder. */
export interface LockHolder {
  readonly pid: number;
  readonly host: string;
  /** Changes with every start of the machine; empty where the platform does not tell. */
  readonly bootId: string;
  /** When the process started, in the kernel's ticks, so that a later process of the same number is not taken for it; empty where not told. */
  readonly started: string;
  /** Tells two locks of one process apart. */
  readonly id: string;
}

const holderSchema = z.object({
  pid: z.int().positive(),
  host: z.string(),
  bootId: z.string(),
  started: z.string(),
  id: z.uuid(),
}) satisfies z.ZodType<LockHolder>;

function readOr(path: string, other: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return other;
  }
}

/** Field 22 of `/proc/PID/stat`; the name in field 2 may hold spaces and brackets, so fields are counted behind it. */
function startOf(pid: number): string {
  const stat = readOr(`/proc/${pid}/stat`, "");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

/** This process as a lock holder. */
export function thisHolder(): LockHolder {
  return {
    pid: process.pid,
    host: hostname(),
    bootId: readOr("/proc/sys/kernel/random/boot_id", ""),
    started: startOf(process.pid),
    id: randomUUID(),
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it is there and belongs to someone else
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** True when the holder can no longer be writing: same host, and the machine was restarted or the process is gone. */
export function isStale(holder: LockHolder, here: LockHolder = thisHolder()): boolean {
  if (holder.host !== here.host) return false;
  if (holder.bootId !== here.bootId) return true;
  if (!isAlive(holder.pid)) return true;
  return holder.started !== "" && startOf(holder.pid) !== "" && holder.started !== startOf(holder.pid);
}

async function readHolder(path: string): Promise<LockHolder | "none" | "unreadable"> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "none";
    throw error;
  }
  try {
    return holderSchema.parse(JSON.parse(text));
  } catch {
    return "unreadable";
  }
}

function refusal(dir: string, path: string, holder: LockHolder | "unreadable", here: LockHolder): PlatformError {
  if (holder === "unreadable")
    return new PlatformError(`Cannot use run folder "${dir}": its lock cannot be read; if no other run writes there, delete "${path}"`);
  const who = holder.host === here.host ? `process ${holder.pid}` : `process ${holder.pid} on "${holder.host}"`;
  const todo =
    holder.host === here.host
      ? "wait for it, stop it, or choose another --out"
      : `choose another --out, or if that machine no longer runs it, delete "${path}"`;
  return new PlatformError(`Cannot use run folder "${dir}": ${who} is writing it; ${todo}`);
}

/** Between the name of a lock and the id of the stale holder that a gate belongs to. */
const GATE = ".takeover-";

/** The lock we want to place: its written file and what it says. */
interface OwnLock {
  readonly file: string;
  readonly holder: LockHolder;
}

/** A held lock; release it with `await using` or `release()`. The exit of the process releases it too. */
export class RunLock {
  readonly #path: string;
  readonly #holder: LockHolder;
  readonly #onExit = (): void => {
    if (readOr(this.#path, "").includes(this.#holder.id)) rmSync(this.#path, { force: true });
  };

  private constructor(path: string, holder: LockHolder) {
    this.#path = path;
    this.#holder = holder;
    process.once("exit", this.#onExit);
  }

  /** Takes the lock of a run folder (made when absent). Throws PlatformError while another process writes it. */
  static async acquire(dir: string): Promise<RunLock> {
    const path = join(dir, "run.lock");
    const here = thisHolder();
    const own = join(dir, `.run.lock-${here.id}`);
    try {
      await mkdir(dir, { recursive: true });
      await writeFile(own, `${JSON.stringify(here)}\n`, { flag: "wx" });
    } catch (error) {
      throw writeError(`run folder "${dir}"`, error);
    }
    try {
      const other = await hold(path, { file: own, holder: here });
      if (other !== undefined) throw refusal(dir, path, other, here);
      await clearGates(dir, here);
      return new RunLock(path, here);
    } finally {
      await rm(own, { force: true });
    }
  }

  async release(): Promise<void> {
    process.off("exit", this.#onExit);
    const holder = await readHolder(this.#path);
    if (typeof holder === "object" && holder.id === this.#holder.id) await rm(this.#path, { force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}

/** Puts a written file at `path` in one step; false when something is there. Where links are not possible, by an exclusive write. */
async function place(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path);
    return true;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "";
    if (code === "EEXIST") return false;
    if (code !== "EPERM" && code !== "ENOTSUP" && code !== "ENOSYS" && code !== "EOPNOTSUPP") throw error;
  }
  try {
    await writeFile(path, await readFile(own), { flag: "wx" });
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  }
}

/** Tries and pauses while another process takes a stale lock over: a second in all. */
const ATTEMPTS = 50;
const PAUSE_MS = 20;

/** Puts the lock file at `path` unless a living process holds it; undefined when it is ours now, else who holds it. */
async function hold(path: string, own: OwnLock): Promise<LockHolder | "unreadable" | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (await place(own.file, path)) return undefined;
    const holder = await readHolder(path);
    if (holder === "none") continue;
    if (holder === "unreadable" || !isStale(holder, own.holder)) return holder;
    if (!(await removeStale(path, holder, own))) await sleep(PAUSE_MS);
  }
  const last = await readHolder(path);
  return last === "none" ? "unreadable" : last;
}

/**
 * Removes a stale lock; false when another process is at it. Only who holds the gate of exactly this lock may remove it, and looks again
 * once it does: so a fresh lock is never taken for the stale one that was read before it.
 */
async function removeStale(path: string, stale: LockHolder, own: OwnLock): Promise<boolean> {
  const gate = `${path}${GATE}${stale.id}`;
  if ((await hold(gate, own)) !== undefined) return false;
  try {
    const now = await readHolder(path);
    if (typeof now === "object" && now.id === stale.id) await rm(path, { force: true });
    return true;
  } finally {
    await rm(gate, { force: true });
  }
}

/** Removes the gates that processes killed during a takeover left; the lock is ours, so none of them opens anything. */
async function clearGates(dir: string, here: LockHolder): Promise<void> {
  for (const name of await readdir(dir)) {
    if (!name.startsWith(`run.lock${GATE}`)) continue;
    const holder = await readHolder(join(dir, name));
    if (typeof holder === "object" && isStale(holder, here)) await rm(join(dir, name), { force: true });
  }
}
