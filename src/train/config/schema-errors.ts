/** @file What to say about a configuration that does not hold: the key path, what was found, what was wanted. */
import type { z } from "zod";
import { ConfigError, InternalError, nameHint, nearestName } from "../../core/index.ts";

/** The keys that there are. */
export interface KeyTable {
  /** Every dotted key path, in order. */
  readonly keys: readonly string[];
  readonly sections: readonly string[];
}

/** What to say about a key that does not exist: the nearest path, or the path that ends in this name. */
function keyHint(path: string, { keys, sections }: KeyTable): string {
  const last = path.split(".").at(-1) ?? path;
  const sameEnd = keys.filter((key) => key.split(".").at(-1)?.toLowerCase() === last.toLowerCase());
  if (sameEnd.length > 0) return `did you mean ${sameEnd.map((key) => `"${key}"`).join(" or ")}?`;
  const section = path.split(".")[0] ?? "";
  if (path.includes(".") && sections.includes(section) && nearestName(path, keys) === undefined)
    return `"${section}" has ${keys.filter((key) => key.startsWith(`${section}.`)).join(", ")}`;
  return nameHint(path, [...keys, ...sections]);
}

/** The error of a key that does not exist. */
export function unknownKey(path: string, options: { readonly source: string; readonly table: KeyTable }): ConfigError {
  const { source, table } = options;
  if (table.sections.includes(path))
    return new ConfigError(
      `Cannot use config key "${path}" of ${source}: it is a section; set one of ${table.keys.filter((key) => key.startsWith(`${path}.`)).join(", ")}`,
      { keyPath: path },
    );
  return new ConfigError(`Cannot use config key "${path}" of ${source}: there is no such key; ${keyHint(path, table)}`, { keyPath: path });
}

/** A value as an error shows it. */
export function show(value: unknown): string {
  if (value === undefined) return "nothing";
  const json = typeof value === "number" ? String(value) : (JSON.stringify(value) ?? typeof value);
  const kind = typeof value === "string" ? " (text)" : "";
  return `${json.length > 60 ? `${json.slice(0, 57)}...` : json}${kind}`;
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let at: unknown = root;
  // each step is checked to be an object before its keys are read
  for (const key of path) at = typeof at === "object" && at !== null ? (at as Readonly<Record<PropertyKey, unknown>>)[key] : undefined;
  return at;
}

/** The key path a person can write: what is inside a list is named by the list, which is what one sets. */
function leafPath(path: readonly PropertyKey[]): string {
  const inList = path.findIndex((key) => typeof key !== "string");
  return (inList < 0 ? path : path.slice(0, inList)).join(".");
}

/** The first thing that is wrong, for a person. */
export function toConfigError(
  error: z.ZodError,
  options: { readonly root: unknown; readonly source: string; readonly table: KeyTable },
): ConfigError {
  const { root, source, table } = options;
  const issue = error.issues[0];
  if (issue === undefined) throw new InternalError("Cannot explain a configuration error: zod gives no issue; report this");
  const keyPath = leafPath(issue.path);
  const isLeaf = table.keys.includes(keyPath);
  if (issue.code === "unrecognized_keys" && !isLeaf) return unknownKey([...issue.path, issue.keys[0] ?? ""].join("."), { source, table });
  const wanted = isLeaf ? issue.message : "an object of keys and values";
  const what = keyPath === "" ? `the config of ${source}` : `config key "${keyPath}" of ${source}`;
  return new ConfigError(`Cannot use ${what}: got ${show(valueAt(root, issue.path))}, wanted ${wanted}; change the value`, { keyPath });
}
