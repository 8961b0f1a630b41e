/** @file Checkpoints: whole or not there, checked before they are believed, the newest few kept. */
import { readdir, rename, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { FormatError, PlatformError } from "../../core/index.ts";
import { cleanLeftovers, recoverDir } from "../../weights/index.ts";
import { type CheckpointState, type NewCheckpoint, readCheckpointState, writeChecked } from "./checkpoint-state.ts";

const STEP_DIR = /^step-(\d{8,})$/;
/** What a killed process leaves beside a folder it was replacing or deleting. */
const LEFTOVER = /^(.+)\.(?:partial|old)-\d+$/;

/** `checkpoints/step-00001000`. */
export function checkpointDir(runDir: string, step: number): string {
  return join(runDir, "checkpoints", `step-${String(step).padStart(8, "0")}`);
}

/** `checkpoints/milestone-10` for the teacher after 10 % of the run. */
export function milestoneDir(runDir: string, share: number): string {
  return join(runDir, "checkpoints", `milestone-${String(Math.round(share * 100)).padStart(2, "0")}`);
}

/**
 * Writes the checkpoint of `state.step`: `write` puts its files into the folder it is given, their sums are taken, the folder is synced
 * and renamed into place. Throws PlatformError when the disk is full; older checkpoints are untouched.
 */
export async function writeCheckpoint(runDir: string, state: NewCheckpoint, write: (dir: string) => Promise<void>): Promise<string> {
  const path = checkpointDir(runDir, state.step);
  await writeChecked(path, state, write);
  return path;
}

/** Writes a milestone: the same folder with the teacher only; it is never deleted. */
export async function writeMilestone(
  runDir: string,
  options: { readonly share: number; readonly state: NewCheckpoint },
  write: (dir: string) => Promise<void>,
): Promise<string> {
  const path = milestoneDir(runDir, options.share);
  await writeChecked(path, options.state, write);
  return path;
}

/** Puts back and clears what a killed process left in `checkpoints/`; folders of living processes stay. */
async function mendCheckpoints(runDir: string): Promise<void> {
  const parent = join(runDir, "checkpoints");
  const names = await readdir(parent).catch(() => []);
  for (const base of new Set(names.flatMap((name) => LEFTOVER.exec(name)?.[1] ?? []))) {
    await recoverDir(join(parent, base));
    await cleanLeftovers(join(parent, base));
  }
}

/** Deletes a folder so that no reader ever takes half of it for whole: its name goes first. */
async function removeDir(path: string): Promise<void> {
  const aside = `${path}.partial-${process.pid}`;
  await rename(path, aside);
  await rm(aside, { recursive: true, force: true });
}

/** The steps that have a checkpoint folder, newest first, whole or not. */
export async function listCheckpoints(runDir: string): Promise<readonly number[]> {
  const names = await readdir(join(runDir, "checkpoints")).catch(() => []);
  return names
    .flatMap((name) => STEP_DIR.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => b - a);
}

export interface FoundCheckpoint {
  readonly dir: string;
  readonly state: CheckpointState;
}

/** The newest whole checkpoint, or undefined when there is none; `onNotice` hears of every damaged one that is passed over. */
export async function findLatestCheckpoint(
  runDir: string,
  options: { readonly onNotice?: ((line: string) => void) | undefined } = {},
): Promise<FoundCheckpoint | undefined> {
  await mendCheckpoints(runDir);
  for (const step of await listCheckpoints(runDir)) {
    const dir = checkpointDir(runDir, step);
    try {
      const state = await readCheckpointState(dir);
      if (state.step !== step)
        throw new FormatError(`Cannot read checkpoint "${dir}": its state is of step ${state.step}; use an older checkpoint`, {
          file: dir,
        });
      return { dir, state };
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      options.onNotice?.(`Passing over a damaged checkpoint: ${error.message}`);
    }
  }
  return undefined;
}

/** Deletes all but the newest `keepLast` checkpoints that are whole folders; milestones stay. */
export async function pruneCheckpoints(runDir: string, keepLast: number): Promise<void> {
  for (const step of (await listCheckpoints(runDir)).slice(Math.max(1, keepLast))) await removeDir(checkpointDir(runDir, step));
}

/** Makes a run folder ready to go on from `step`: half-written folders and (damaged) checkpoints beyond that step are deleted. */
export async function rewindCheckpoints(runDir: string, step: number): Promise<void> {
  await mendCheckpoints(runDir);
  for (const later of (await listCheckpoints(runDir)).filter((s) => s > step)) await removeDir(checkpointDir(runDir, later));
}

/** Throws PlatformError when the disk of `dir` has less room than `bytes`: asked before training, not hours later. */
export async function assertDiskRoom(dir: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(dir);
  const free = bavail * bsize;
  if (free >= bytes) return;
  const gb = (n: number): string => `${(n / 2 ** 30).toFixed(1)} GB`;
  throw new PlatformError(
    `Cannot start training: checkpoints take about ${gb(bytes)} and the disk of "${dir}" has ${gb(free)} free; free some space or set checkpoint.keepLast lower`,
  );
}
