/** @file Where configuration comes from: files in JSON, YAML or TypeScript, and `--set key=value`. */
import { readFile } from "node:fs/promises";
import { extname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parse as parseYaml, YAMLParseError } from "yaml";
import { ConfigError, UsageError } from "../../core/index.ts";
import { parseUserConfig, readLeaf } from "./schema.ts";
import type { UserConfig } from "./types.ts";

const CODE = new Set([".ts", ".mts", ".js", ".mjs"]);
const DATA = new Set([".json", ".yaml", ".yml"]);

async function readData(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new ConfigError(`Cannot read config "${path}": ${cause instanceof Error ? cause.message : String(cause)}; check the path`, {
      cause,
    });
  }
  try {
    const value: unknown = extname(path) === ".json" ? JSON.parse(text) : parseYaml(text);
    return value ?? {};
  } catch (cause) {
    const where = cause instanceof YAMLParseError && cause.linePos !== undefined ? ` at line ${cause.linePos[0].line}` : "";
    const kind = extname(path) === ".json" ? "JSON" : "YAML";
    const why = cause instanceof Error ? cause.message.split("\n", 1)[0] : String(cause);
    throw new ConfigError(`Cannot read config "${path}": it is not ${kind}${where} (${why}); mend the file`, { cause });
  }
}

async function runCode(path: string): Promise<unknown> {
  try {
    const loaded: { readonly default?: unknown; readonly config?: unknown } = (await import(pathToFileURL(resolve(path)).href)) as object; // a module is an object
    return loaded.default ?? loaded.config;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(`Cannot run config "${path}": ${why}; mend it, or write the config as YAML or JSON`, { cause });
  }
}

/**
 * Reads a configuration file by its suffix: `.json`, `.yaml`, or code (`.ts`, `.js`: its default export, or its export `config`).
 * Code is run, which `onNotice` says. Throws ConfigError.
 */
export async function loadConfigFile(
  path: string,
  options: { readonly onNotice?: ((line: string) => void) | undefined } = {},
): Promise<UserConfig> {
  const suffix = extname(path);
  if (DATA.has(suffix)) return parseUserConfig(await readData(path), `"${path}"`);
  if (!CODE.has(suffix))
    throw new ConfigError(`Cannot read config "${path}": the suffix "${suffix}" is not known; use .json, .yaml, .yml, .ts or .js`);
  options.onNotice?.(
    `Running "${path}": a ${suffix} config is a program and can do anything you can; use YAML or JSON for configs of others`,
  );
  const value = await runCode(path);
  if (value === undefined)
    throw new ConfigError(`Cannot use config "${path}": it exports nothing; export the values as \`config\` or by default`);
  return parseUserConfig(value, `"${path}"`);
}

function readings(text: string): readonly unknown[] {
  try {
    const value: unknown = parseYaml(text);
    return [value, text];
  } catch {
    return [text];
  }
}

/** A dotted path and its value as a nested object: `("a.b", 1)` is `{ a: { b: 1 } }`. */
function nest(path: string, value: unknown): Record<string, unknown> {
  const [first = "", ...rest] = path.split(".");
  return { [first]: rest.length === 0 ? value : nest(rest.join("."), value) };
}

/** Configuration of one `--set key=value`. The value is read as YAML where the key takes that, else as it stands. */
export function parseSet(assignment: string, source = "--set"): UserConfig {
  const at = assignment.indexOf("=");
  if (at < 1) throw new UsageError(`Cannot read ${source} "${assignment}": there is no "key=value"; write ${source} train.steps=100`);
  const path = assignment.slice(0, at).trim();
  return parseUserConfig(nest(path, readLeaf(path, readings(assignment.slice(at + 1).trim()), source)), source);
}

/** One value by its key path, as short options give them. */
export function setKey(path: string, value: unknown, source: string): UserConfig {
  return parseUserConfig(nest(path, readLeaf(path, [value], source)), source);
}

const LENGTHS = { epochs: null, steps: null, minutes: null };

/** True when a layer says how long to train; the lengths of the layers below it count no more. */
function saysLength({ train }: UserConfig): boolean {
  return (train?.epochs ?? train?.steps ?? train?.minutes ?? null) !== null;
}

/**
 * Lays configurations over each other, the last one on top. A section is merged key by key, lists are replaced;
 * a layer with one of `train.epochs`, `train.steps`, `train.minutes` takes back the other two of the layers below.
 */
export function mergeConfigs(...layers: readonly UserConfig[]): UserConfig {
  const merged: Record<string, unknown> = {};
  const spread = layers.map((layer) => (saysLength(layer) ? { ...layer, train: { ...LENGTHS, ...layer.train } } : layer));
  for (const layer of spread)
    for (const [name, value] of Object.entries(layer)) {
      if (value === undefined) continue;
      // every value of a UserConfig is a scalar or a section, and a section is a flat object
      merged[name] = typeof value === "object" ? { ...(merged[name] as object | undefined), ...value } : value;
    }
  return parseUserConfig(merged);
}
