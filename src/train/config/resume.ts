/** @file What may change when a run goes on: nothing that decides its steps, their order or their schedules. */
import { isDeepStrictEqual } from "node:util";
import { ConfigError } from "../../core/index.ts";
import { flatten } from "./format.ts";
import { parseTrainConfig } from "./schema.ts";
import type { TrainConfig, UserConfig } from "./types.ts";

/** Keys that may change at `--resume`, with what that means. Sections end in a dot. */
const MAY_CHANGE: Readonly<Record<string, string>> = {
  "log.": "what is written down",
  "checkpoint.": "what is kept",
  "knn.": "what is measured along the way",
  "dense.": "what is measured along the way",
  "gram.teacher": "the Gram teacher's weights may have moved; they must be the same",
  "train.threads": "results are no longer the same bit for bit",
  "data.path": "the images may have moved; their list is compared",
  "data.workers": "speed only",
  "data.cacheMb": "memory only",
};

const LENGTH = /^train\.(epochs|steps|minutes)$/;

/** The keys a person may change when a run goes on, as the documentation and the error list them. */
export const RESUMABLE_KEYS: readonly string[] = Object.keys(MAY_CHANGE).map((key) => (key.endsWith(".") ? `${key}*` : key));

function meaning(keyPath: string): string | undefined {
  return Object.entries(MAY_CHANGE).find(([key]) => (key.endsWith(".") ? keyPath.startsWith(key) : keyPath === key))?.[1];
}

export interface ResumeDiff {
  /** The saved configuration with the allowed changes. */
  readonly config: TrainConfig;
  /** What changed, with what that means. */
  readonly changes: readonly {
    readonly keyPath: string;
    readonly from: unknown;
    readonly to: unknown;
    readonly note: string;
  }[];
}

/**
 * Lays what the user says at `--resume` over the configuration of the run. Values equal to the saved ones are fine.
 * Throws ConfigError that names every key that may not change, and those that may: the length and the schedules decide every step
 * already made (the cosine runs over all steps), so a longer run is a new run from `--init`.
 */
export function diffForResume(saved: TrainConfig, user: UserConfig): ResumeDiff {
  const merged = Object.fromEntries(
    Object.entries(saved).map(([name, value]: [string, unknown]) => {
      // the names of a TrainConfig are the names of a UserConfig
      const own: unknown = user[name as keyof TrainConfig];
      const set =
        typeof own === "object" && own !== null ? Object.fromEntries(Object.entries(own).filter(([, v]) => v !== undefined)) : own;
      return [name, typeof value === "object" ? { ...value, ...(set as object | undefined) } : (own ?? value)]; // a section is a flat object
    }),
  );
  const said = parseTrainConfig(merged, "the resumed run");
  const before = new Map(flatten(saved));
  const changed = flatten(said)
    .filter(([keyPath, to]) => !isDeepStrictEqual(before.get(keyPath), to) && !isTakenBack(keyPath, to))
    .map(([keyPath, to]) => ({ keyPath, from: before.get(keyPath), to, note: meaning(keyPath) }));
  const refused = changed.filter(({ note }) => note === undefined);
  if (refused.length > 0) {
    const list = refused.map(({ keyPath, from, to }) => `${keyPath} (${JSON.stringify(from)} to ${JSON.stringify(to)})`).join(", ");
    throw new ConfigError(
      `Cannot resume with a changed config: ${list} decides the steps of the run; only ${RESUMABLE_KEYS.join(", ")} may change, or start a new run with --init`,
      { keyPath: refused[0]?.keyPath ?? "" },
    );
  }
  const allowed = new Map(changed.map(({ keyPath, to }) => [keyPath, to]));
  return {
    config: allowed.size === 0 ? saved : parseTrainConfig(withValues(saved, allowed), "the resumed run"),
    changes: changed.map(({ keyPath, from, to, note = "" }) => ({ keyPath, from, to, note })),
  };
}

/** A null length comes from naming another length, which is compared by itself. */
function isTakenBack(keyPath: string, to: unknown): boolean {
  return LENGTH.test(keyPath) && to === null;
}

function withValues(config: TrainConfig, values: ReadonlyMap<string, unknown>): unknown {
  return Object.fromEntries(
    Object.entries(config).map(([name, section]: [string, unknown]) => [
      name,
      typeof section === "object" && section !== null
        ? Object.fromEntries(
            Object.entries(section).map(([key, old]: [string, unknown]) => [
              key,
              values.has(`${name}.${key}`) ? values.get(`${name}.${key}`) : old,
            ]),
          )
        : section,
    ]),
  );
}
