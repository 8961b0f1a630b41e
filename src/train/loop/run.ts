/** @file A run before its first step: a new folder, or one that goes on. */
import { readdir, rm } from "node:fs/promises";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import { ConfigError, type JobOptions } from "../../core/index.ts";
import { compareLists, type DataList, describeChanges, freezeList, listData, readFrozenList } from "../../data/index.ts";
import { diffForResume, type ResolvedConfig, type UserConfig } from "../config/index.ts";
import { factsOfBeginning, resolveBeginning, settleBeginning } from "./beginning.ts";
import type { Parent } from "./parent.ts";
import { readConfig, writeConfig } from "./prepare.ts";

/** What `train()` is asked for. */
export interface RunOptions extends JobOptions {
  readonly resume?: boolean;
  readonly overwrite?: boolean;
  readonly acceptDataChange?: boolean;
  readonly skipBroken?: boolean;
}

/** A run whose images and configuration are settled. */
export interface Run {
  readonly dir: string;
  readonly list: DataList;
  readonly resolved: ResolvedConfig;
  readonly options: RunOptions;
  /** The run that a new one goes on from. */
  readonly parent?: Parent | undefined;
  /** A line for people: on the terminal and in `train.log`. */
  readonly note: (line: string) => void;
}

/** Names in a run folder that do not make it a run. */
const NOT_A_RUN = new Set(["run.lock", "train.log", "dry-run.png"]);

/** Throws ConfigError where the folder that is to be emptied holds what the new run begins with. */
function assertKeepsSources(dir: string, { init, gram, distill, data }: UserConfig): void {
  const sources = { "init.from": init?.from, "gram.teacher": gram?.teacher, "distill.teacher": distill?.teacher, "data.path": data?.path };
  for (const [keyPath, path] of Object.entries(sources)) {
    const between = path === undefined || path === null ? ".." : relative(resolve(dir), resolve(path));
    if (between === ".." || between.startsWith(`..${sep}`) || isAbsolute(between)) continue;
    throw new ConfigError(`Cannot overwrite "${dir}": the new run wants "${path}" of it (${keyPath}); choose another --out`, {
      keyPath: "out",
    });
  }
}

/** Lists the images, settles every value and writes both down. Throws ConfigError where a run is already. */
export async function prepareNew(dir: string, user: UserConfig, run: Pick<Run, "options" | "note">): Promise<Run> {
  const { options, note } = run;
  const there = (await readdir(dir)).filter((name) => !NOT_A_RUN.has(name) && !name.startsWith("."));
  if (there.length > 0 && options.overwrite !== true)
    throw new ConfigError(`Cannot start a run in "${dir}": there is one already; use --resume, --overwrite or another --out`, {
      keyPath: "out",
    });
  if (there.length > 0) assertKeepsSources(dir, user);
  const beginning = await settleBeginning(user);
  const list = await listData(beginning.user.data?.path ?? "", { ...options, onNotice: note });
  const resolved = resolveBeginning(beginning, await factsOfBeginning(list, beginning));
  for (const warning of resolved.warnings ?? []) note(`Warning: ${warning}`);
  for (const name of there) await rm(join(dir, name), { recursive: true, force: true });
  await freezeList(dir, list);
  await writeConfig(dir, resolved);
  return { dir, list, resolved, options, note, parent: beginning.parent };
}

/** Reads a run and what may change of it. Throws ConfigError for a changed configuration and for changed images. */
export async function prepareResume(dir: string, user: UserConfig, run: Pick<Run, "options" | "note">): Promise<Run> {
  const { options, note } = run;
  const saved = await readConfig(dir);
  const { config, changes } = diffForResume(saved.config, user);
  for (const { keyPath, from, to, note: why } of changes)
    note(`Changed: ${keyPath} ${JSON.stringify(from)} to ${JSON.stringify(to)} (${why})`);
  const list = await readFrozenList(dir);
  const differs = describeChanges(compareLists(list, await listData(config.data.path, options)));
  if (differs !== undefined && options.acceptDataChange !== true)
    throw new ConfigError(
      `Cannot resume "${dir}": the images changed since the run began: ${differs}; put them back, or go on without the new ones by --accept-data-change`,
      { keyPath: "data.path" },
    );
  if (differs !== undefined) note(`The images changed since the run began: ${differs}; the run goes on with its own list`);
  return { dir, list, resolved: { config, reasons: saved.reasons }, options, note };
}
