/**
 * @file The cache of pulled models. `models/<name>/` holds whole models only, `downloads/<name>/` what is under way or was cut; each folder
 * carries `tricera-model.json`, and nothing else is ever listed or removed.
 */
import { lstat, readdir, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ConfigError } from "../../core/index.ts";
import { recoverDir } from "../atomic-file.ts";
import { findEntry } from "./catalogue.ts";
import { isLocked } from "./lock.ts";
import { isWhole, type Manifest, MANIFEST_NAME, readManifest } from "./manifest.ts";
import { cacheName, type ModelRef, parseModelRef } from "./model-ref.ts";
import { cacheDirOf } from "./settings.ts";

export interface CacheOptions {
  /** Default: `TRICERA_CACHE`, else the platform's cache folder. */
  readonly cacheDir?: string | undefined;
  /** Of a Hugging Face repository; main unless said. */
  readonly revision?: string | undefined;
}

/** The two folders of a model. */
export function cacheFolders(ref: ModelRef, cacheDir: string): { readonly whole: string; readonly downloads: string } {
  const name = cacheName(ref);
  return { whole: join(cacheDir, "models", name), downloads: join(cacheDir, "downloads", name) };
}

/** The manifest of a model that is whole in the cache. */
export async function wholeManifest(dir: string): Promise<Manifest | undefined> {
  await recoverDir(dir);
  const manifest = await readManifest(dir);
  return manifest !== undefined && (await isWhole(dir, manifest)) ? manifest : undefined;
}

/** The reference of a name, undefined where it can have no weights in the cache. */
function refOf(name: string, revision: string | undefined): ModelRef | undefined {
  try {
    return parseModelRef(name, { revision });
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}

/**
 * Where a model lies in the cache: the folder of a Hugging Face repository, the `.pth` file of an original. Undefined where it is absent,
 * not whole, or no name of a released model. Never asks the network.
 */
export async function resolveCached(name: string, { cacheDir = cacheDirOf(), revision }: CacheOptions = {}): Promise<string | undefined> {
  const ref = refOf(name, revision);
  if (ref === undefined) return undefined;
  const { whole } = cacheFolders(ref, cacheDir);
  const manifest = await wholeManifest(whole);
  if (manifest === undefined) return undefined;
  return ref.kind === "hub" ? whole : join(whole, manifest.files[0]?.name ?? "");
}

/** The error for a model that is not in the cache: says what to pull, and what other form of it is there. */
export async function notCachedError(name: string, options: CacheOptions = {}): Promise<ConfigError> {
  const entry = findEntry(name);
  const others = entry === undefined ? [] : [...entry.hub, ...entry.originals.map(({ id }) => id)].filter((id) => id !== name);
  const cached = await Promise.all(others.map(async (id) => ((await resolveCached(id, options)) === undefined ? [] : [id])));
  const [there] = cached.flat();
  const pull = `\`tricera models pull ${name}${options.revision === undefined ? "" : ` --revision ${options.revision}`}\``;
  const todo = entry === undefined ? `check the path, or run ${pull} if that is a Hugging Face id` : `run ${pull}`;
  const instead = there === undefined ? "" : `, or use "${there}", which is there`;
  return new ConfigError(
    `Cannot open model "${name}": no folder or file of that name exists, and it is not in the cache ("${options.cacheDir ?? cacheDirOf()}"); ${todo}${instead}`,
    { keyPath: "model" },
  );
}

/** Whether `owner/name` looks like a mistyped path: a folder called as the owner is here. */
async function looksLikePath(name: string): Promise<boolean> {
  return findEntry(name) === undefined && (await stat(dirname(name)).catch(() => undefined))?.isDirectory() === true;
}

/**
 * A path for what `--model` says: an existing folder or file of that name wins, then the cache. Undefined for a name that neither exists nor
 * can be pulled (a preset without weights, a mistyped path). Throws ConfigError, which names `models pull`, where it could be pulled.
 */
export async function resolveModelPath(name: string, options: CacheOptions = {}): Promise<string | undefined> {
  if ((await stat(name).catch(() => undefined)) !== undefined) return name;
  const cached = await resolveCached(name, options);
  if (cached !== undefined) return cached;
  if (refOf(name, options.revision) === undefined || (await looksLikePath(name))) return undefined;
  throw await notCachedError(name, options);
}

/** A folder of the cache. */
export interface CachedModel {
  readonly id: string;
  readonly revision: string | undefined;
  readonly commit: string | undefined;
  readonly path: string;
  /** `whole`: ready for use. `unfinished`: a pull was cut, the next one goes on. `busy`: a pull is under way. */
  readonly state: "whole" | "unfinished" | "busy";
  readonly sizeBytes: number;
  /** When it was pulled or last written, milliseconds since 1970. */
  readonly pulledMs: number;
  readonly licence: string | undefined;
}

async function sizeOfDir(dir: string): Promise<number> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => []);
  const sizes = await Promise.all(
    entries.map(async (entry) => {
      const path = join(dir, entry.name);
      return entry.isDirectory()
        ? sizeOfDir(path)
        : lstat(path).then(
            ({ size }) => size,
            () => 0,
          ); // gone meanwhile
    }),
  );
  return sizes.reduce((a, b) => a + b, 0);
}

/** When anything in a folder was last written. */
async function newestMs(dir: string): Promise<number> {
  const names = await readdir(dir).catch(() => []);
  const times = await Promise.all(
    names.map((name) =>
      lstat(join(dir, name)).then(
        ({ mtimeMs }) => mtimeMs,
        () => 0,
      ),
    ),
  );
  return Math.max(0, ...times);
}

async function describe(dir: string, kind: "models" | "downloads"): Promise<CachedModel | undefined> {
  const manifest = await readManifest(dir);
  if (manifest === undefined) return undefined;
  const { id, revision, commit, licence } = manifest;
  const whole = kind === "models" && (await isWhole(dir, manifest));
  const state = whole ? "whole" : kind === "downloads" && (await isLocked(dir)) ? "busy" : "unfinished";
  const pulledMs = whole ? (await stat(join(dir, MANIFEST_NAME))).mtimeMs : await newestMs(dir);
  return { id, revision, commit, path: dir, state, sizeBytes: await sizeOfDir(dir), pulledMs, licence };
}

/** Everything in the cache, whole models first, each part by name. */
export async function listCache({ cacheDir = cacheDirOf() }: CacheOptions = {}): Promise<readonly CachedModel[]> {
  const found: CachedModel[] = [];
  for (const kind of ["models", "downloads"] as const) {
    const dir = join(cacheDir, kind);
    const entries = await readdir(dir, { withFileTypes: true }).catch(() => []);
    // a link is no folder of ours
    for (const name of entries
      .filter((e) => e.isDirectory())
      .map((e) => e.name)
      .toSorted()) {
      const model = await describe(join(dir, name), kind);
      if (model !== undefined) found.push(model);
    }
  }
  return found;
}

/** Removes folders that `listCache` gave; one where a pull is under way stays. Returns what went. */
export async function removeCached(models: readonly CachedModel[]): Promise<readonly CachedModel[]> {
  const gone: CachedModel[] = [];
  for (const model of models) {
    if ((await readManifest(model.path)) === undefined || (await isLocked(model.path))) continue;
    await rm(model.path, { recursive: true, force: true });
    gone.push(model);
  }
  return gone;
}
