/** @file The run that another one goes on from: its configuration, its last checkpoint, its early teachers. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError, FormatError } from "../../core/index.ts";
import type { TrainConfig } from "../config/index.ts";
import { findLatestCheckpoint, type FoundCheckpoint, readCheckpointState } from "../run/index.ts";
import { readConfig } from "./prepare.ts";

/** A run with something to go on from. */
export interface Parent {
  readonly dir: string;
  readonly config: TrainConfig;
  readonly last: FoundCheckpoint;
}

/** The run in a folder, or undefined where the folder (or file) is no run. Throws ConfigError for a run without a whole checkpoint. */
export async function findParent(path: string): Promise<Parent | undefined> {
  const names = await readdir(path).catch((): string[] => []);
  if (!names.includes("config.json") || !names.includes("checkpoints")) return undefined;
  const { config } = await readConfig(path);
  const last = await findLatestCheckpoint(path);
  if (last === undefined)
    throw new ConfigError(`Cannot begin with the run "${path}": it has no whole checkpoint; train it first`, { keyPath: "init.from" });
  return { dir: path, config, last };
}

/** The run that a later stage goes on from. Throws ConfigError where there is none, or none of DINOv3. */
export async function needParent(from: string | null | undefined, stage: string): Promise<Parent> {
  const fail = (state: string, todo: string): ConfigError =>
    new ConfigError(`Cannot start stage ${stage}: ${state}; ${todo}`, { keyPath: "init.from" });
  if (from === null || from === undefined) throw fail("there is no run to go on from", "give the run folder of the stage before by --init");
  const parent = await findParent(from);
  if (parent === undefined) throw fail(`"${from}" is no run folder`, "give the --out of the stage before");
  if (parent.config.method !== "dinov3")
    throw fail(`"${from}" is a run of ${parent.config.method}`, "train with --method dinov3 first, or give such a run");
  if (parent.config.distill.students.length > 0)
    throw fail(`"${from}" is a distillation`, "give the run of its teacher; students have no Gram teacher of their own");
  return parent;
}

/** A teacher that a run kept. */
export interface KeptTeacher {
  readonly dir: string;
  readonly step: number;
}

/** The early teachers of a run, then its last one, by step. Damaged ones are left out. */
export async function listTeachers({ dir, last }: Parent): Promise<readonly KeptTeacher[]> {
  const parent = join(dir, "checkpoints");
  const names = (await readdir(parent)).filter((name) => name.startsWith("milestone-") && !name.includes("."));
  const found: KeptTeacher[] = [];
  for (const name of names)
    try {
      found.push({ dir: join(parent, name), step: (await readCheckpointState(join(parent, name))).step });
    } catch (error) {
      if (!(error instanceof FormatError)) throw error; // a damaged milestone is as good as none
    }
  return [...found, { dir: last.dir, step: last.state.step }].sort((a, b) => a.step - b.step);
}
