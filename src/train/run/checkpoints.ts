/** @file Checkpoints: whole or not there, checked before they are believed, the newest few kept. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile, rename, rm, stat, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { FormatError, PlatformError } from "../../core/index.ts";
import { cleanLeftovers, recoverDir, replaceDirAtomic } from "../../weights/index.ts";

/** The newest format this release writes; older ones are read. */
export const CHECKPOINT_FORMAT = 1;

/** Where a run stands, beside the tensors. */
export interface CheckpointState {
  readonly formatVersion: number;
  /** Finished optimizer steps. */
  readonly step: number;
  readonly epoch: number;
  /** Samples handed out since the run began. */
  readonly sampleCursor: number;
  readonly seed: number;
  /** Minutes of work so far; absent in what earlier releases wrote. */
  readonly minutes?: number | undefined;
  readonly threads: number;
  /** Runtime and machine kind, for the notice that bits may differ. */
  readonly runtime: string;
  /** SHA-256 of data.jsonl. */
  readonly dataDigest: string;
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>;
}

/** What the loop says of a checkpoint; format and file sums are added here. */
export type NewCheckpoint = Omit<CheckpointState, "formatVersion" | "files">;

const stateSchema = z.object({
  formatVersion: z.int().min(1),
  step: z.int().min(0),
  epoch: z.int().min(0),
  sampleCursor: z.int().min(0),
  seed: z.int().min(0),
  minutes: z.number().min(0).optional(),
  threads: z.int().min(1),
  runtime: z.string(),
  dataDigest: z.string(),
  files: z.record(z.string().regex(/^[\w.-]+$/), z.object({ bytes: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) })),
}) satisfies z.ZodType<CheckpointState>;

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

async function sumOf(path: string): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash("sha256");
  let bytes = 0;
  const stream: AsyncIterable<Buffer> = createReadStream(path, { highWaterMark: 1 << 20 }); // no encoding is set, so it gives buffers
  for await (const chunk of stream) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest("hex") };
}

async function writeChecked(path: string, state: NewCheckpoint, write: (dir: string) => Promise<void>): Promise<void> {
  await replaceDirAtomic(path, async (dir) => {
    await write(dir);
    const files: Record<string, { bytes: number; sha256: string }> = {};
    for (const name of (await readdir(dir)).sort()) files[name] = await sumOf(join(dir, name));
    const whole: CheckpointState = { formatVersion: CHECKPOINT_FORMAT, ...state, files };
    await writeFile(join(dir, "state.json"), `${JSON.stringify(whole, null, 2)}\n`);
  });
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

function parseState(text: string, file: string): CheckpointState {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(`Cannot read checkpoint "${file}": state.json is not JSON; use an older checkpoint`, { file, cause });
  }
  const version: unknown = typeof raw === "object" && raw !== null && "formatVersion" in raw ? raw.formatVersion : undefined;
  if (typeof version === "number" && version > CHECKPOINT_FORMAT)
    throw new FormatError(
      `Cannot read checkpoint "${file}": its format ${version} is newer than ${CHECKPOINT_FORMAT}; install a newer tricera`,
      { file },
    );
  const parsed = stateSchema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new FormatError(
    `Cannot read checkpoint "${file}": state.json has a wrong ${issue?.path.join(".") || "form"} (${issue?.message ?? "unknown"}); use an older checkpoint`,
    { file },
  );
}

/** Reads and checks a checkpoint folder: every file is there, as long and with the sum it was written with. Throws FormatError. */
export async function readCheckpointState(dir: string): Promise<CheckpointState> {
  const file = join(dir, "state.json");
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new FormatError(`Cannot read checkpoint "${dir}": state.json is missing; use an older checkpoint`, { file, cause });
  });
  const state = parseState(text, dir);
  for (const [name, { bytes, sha256 }] of Object.entries(state.files)) {
    const path = join(dir, name);
    const found = await stat(path).catch(() => undefined);
    const bad = (why: string): FormatError =>
      new FormatError(`Cannot read checkpoint "${dir}": ${name} ${why}; use an older checkpoint`, {
        file: path,
      });
    if (found === undefined) throw bad("is missing");
    if (found.size !== bytes) throw bad(`has ${found.size} of ${bytes} bytes`);
    if ((await sumOf(path)).sha256 !== sha256) throw bad("was changed after it was written");
  }
  return state;
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
