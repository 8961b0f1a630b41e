/** @file `dumps/`: everything a step that went wrong needs to be run again. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { FormatError } from "../../core/index.ts";
import { replaceDirAtomic } from "../../weights/index.ts";
import { parseTrainConfig, type TrainConfig } from "../config/index.ts";
import type { StepScalars } from "../stepper.ts";

/** The newest format this release writes; older ones are read. */
export const DUMP_FORMAT = 1;

/** One image of a dumped batch. */
export interface DumpImage {
  readonly sampleId: number;
  readonly path: string;
  /** Place inside a tar shard. */
  readonly offset?: number | undefined;
  readonly bytes?: number | undefined;
}

/** A step as it was before it went wrong. All random draws follow from seed, epoch, step and sample ids (contracts 10). */
export interface StepDump {
  readonly formatVersion: number;
  /** The step that went wrong; `step − 1` steps were finished. */
  readonly step: number;
  readonly epoch: number;
  readonly seed: number;
  /** What was seen, as the alarm said it. */
  readonly reason: string;
  /** The first tensors with a value that is not finite: name, how many such values, the first one's index. */
  readonly offending: readonly {
    readonly name: string;
    readonly count: number;
    readonly firstIndex: number;
  }[];
  /** The images of the batch in order: row of data.jsonl and where it lies, so that a dump is of use without the run's data.jsonl. */
  readonly images: readonly DumpImage[];
  /** The loss that was seen. */
  readonly loss: number | null;
  /** The schedules' values at this step. */
  readonly scalars: StepScalars;
  readonly config: TrainConfig;
}

const clipSchema = z.union([
  z.object({ kind: z.literal("none") }),
  z.object({ kind: z.enum(["per-parameter", "global", "per-module"]), norm: z.number() }),
]);

const scalarsSchema = z.object({
  lr: z.number(),
  weightDecay: z.number(),
  emaMomentum: z.number(),
  teacherTemp: z.number(),
  clip: clipSchema,
  freezeLastLayer: z.boolean(),
  freezeBackbone: z.boolean().optional(),
  inputs: z.record(z.string(), z.number()).optional(),
}) satisfies z.ZodType<StepScalars>;

const dumpSchema = z.object({
  formatVersion: z.int().min(1),
  step: z.int().min(1),
  epoch: z.int().min(0),
  seed: z.int().min(0),
  reason: z.string(),
  offending: z.array(z.object({ name: z.string(), count: z.int().min(1), firstIndex: z.int().min(0) })),
  images: z.array(
    z.object({ sampleId: z.int().min(0), path: z.string(), offset: z.int().min(0).optional(), bytes: z.int().min(0).optional() }),
  ),
  loss: z.number().nullable(),
  scalars: scalarsSchema,
  config: z.unknown(),
}) satisfies z.ZodType<Omit<StepDump, "config">>;

/** `dumps/step-00000123`. */
export function dumpDir(runDir: string, step: number): string {
  return join(runDir, "dumps", `step-${String(step).padStart(8, "0")}`);
}

/** The tensors that hold a value that is not finite, with how many and where the first is. */
export function findNotFinite(tensors: Iterable<readonly [name: string, data: ArrayLike<number>]>): StepDump["offending"] {
  const found: { name: string; count: number; firstIndex: number }[] = [];
  for (const [name, data] of tensors) {
    let count = 0;
    let firstIndex = -1;
    for (let i = 0; i < data.length; i++) {
      if (Number.isFinite(data[i])) continue;
      if (count === 0) firstIndex = i;
      count++;
    }
    if (count > 0) found.push({ name, count, firstIndex });
  }
  return found;
}

/**
 * Writes a dump folder: `dump.json`, and what `writeTensors` puts beside it (the checkpoint's files as they were before the step).
 * Returns the folder.
 */
export async function writeDump(
  runDir: string,
  dump: Omit<StepDump, "formatVersion">,
  writeTensors: (dir: string) => Promise<void>,
): Promise<string> {
  const dir = dumpDir(runDir, dump.step);
  await replaceDirAtomic(dir, async (aside) => {
    await writeTensors(aside);
    const whole: StepDump = { formatVersion: DUMP_FORMAT, ...dump };
    await writeFile(join(aside, "dump.json"), `${JSON.stringify(whole, null, 2)}\n`);
  });
  return dir;
}

/** Reads and checks a dump folder for `--replay`. Throws FormatError. */
export async function readDump(dir: string): Promise<StepDump> {
  const file = join(dir, "dump.json");
  const wrong = (why: string, cause?: unknown): FormatError => new FormatError(`Cannot replay "${dir}": ${why}`, { file, cause });
  const text = await readFile(file, "utf8").catch(async (cause: unknown) => {
    const inside = (await readdir(join(dir, "dumps")).catch(() => [])).join(", ");
    throw wrong(
      inside === "" ? "there is no dump.json; give a folder of RUN/dumps" : `this is a run folder; give one of its dumps: ${inside}`,
      cause,
    );
  });
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw wrong("dump.json is not JSON; use another dump", cause);
  }
  const parsed = dumpSchema.safeParse(raw);
  if (!parsed.success) throw wrong(`dump.json has a wrong ${parsed.error.issues[0]?.path.join(".") || "form"}; use another dump`);
  if (parsed.data.formatVersion > DUMP_FORMAT)
    throw wrong(`its format ${parsed.data.formatVersion} is newer than ${DUMP_FORMAT}; install a newer tricera`);
  return { ...parsed.data, config: parseTrainConfig(parsed.data.config, `"${file}"`) };
}
