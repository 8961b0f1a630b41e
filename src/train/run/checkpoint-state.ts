/** @file What a checkpoint folder says of itself: `state.json`, with the sums of its files, which are checked before they are believed. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { FormatError } from "../../core/index.ts";
import { replaceDirAtomic } from "../../weights/index.ts";

/** The newest format this release writes; older ones are read. */
const CHECKPOINT_FORMAT = 1;

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

/** Writes a folder whole or not at all: `write` puts its files into the folder it is given, their sums go into state.json. */
export async function writeChecked(path: string, state: NewCheckpoint, write: (dir: string) => Promise<void>): Promise<void> {
  await replaceDirAtomic(path, async (dir) => {
    await write(dir);
    const files: Record<string, { bytes: number; sha256: string }> = {};
    for (const name of (await readdir(dir)).sort()) files[name] = await sumOf(join(dir, name));
    const whole: CheckpointState = { formatVersion: CHECKPOINT_FORMAT, ...state, files };
    await writeFile(join(dir, "state.json"), `${JSON.stringify(whole, null, 2)}\n`);
  });
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
