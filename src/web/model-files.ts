/** @file Where the files of a model come from: those the user chose, a folder on a server, or a repository of the Hugging Face Hub. */
import { ConfigError, FormatError, type JobOptions } from "../core/index.ts";
import { browser } from "./browser.ts";
import { blobSource, type ByteSource } from "./byte-source.ts";
import { forgetRemote, openRemote } from "./download.ts";
import { memoryStore, openCacheStore, type PartStore, withSpill } from "./part-store.ts";

/** The files of one model, by their names in its folder. */
export interface ModelFiles {
  /** For error messages. */
  readonly path: string;
  /** Undefined where there is no such file. */
  open(name: string): Promise<ByteSource | undefined>;
  /** `config.json` of the run that exported the model (`<run>/exported/<name>`); undefined where it is no run's. */
  openRun(): Promise<ByteSource | undefined>;
  /** All names, where they are known. */
  readonly names?: readonly string[] | undefined;
  /** The name of the file of weights, where the caller named it. */
  readonly weights: string | undefined;
}

export const WEIGHTS = "model.safetensors";
export const INDEX = "model.safetensors.index.json";

/** The folder of a run's exported model, and the run's before it. */
const EXPORTED = /^(.*\/)exported\/[^/]+\/$/;

/** A chosen file: what `<input type="file">` and drag and drop give. */
export type NamedBlob = Blob & {
  readonly name: string;
  /** Set by browsers where a whole folder is chosen: `run/exported/best/config.json`. */
  readonly webkitRelativePath?: string;
};

export interface RemoteOptions extends JobOptions {
  /** Default: the public hub, https://huggingface.co. */
  readonly endpoint?: string | undefined;
  /** Branch, tag or commit of a hub's repository; default `main`. */
  readonly revision?: string | undefined;
  /**
   * `keep` (default): files stay in Cache Storage and the server is not asked again. `check`: as `keep`, but the server is asked whether a
   * file changed; without an answer what is kept is used. `reload`: fetched anew. `none`: kept nowhere.
   */
  readonly cache?: "keep" | "check" | "reload" | "none" | undefined;
}

/** The folder a file was chosen in, with a slash at its end; empty for a file chosen by itself. */
function folderOf({ name, webkitRelativePath: path = "" }: NamedBlob): string {
  return path.endsWith(`/${name}`) ? path.slice(0, -name.length) : "";
}

/** The folder that is meant by files of several, as in Node: the topmost if it holds weights, else a run's `exported/best` or `exported/last`. */
function chosenFolder(files: readonly NamedBlob[]): string {
  const folders = [...new Set(files.map(folderOf))].toSorted((a, b) => a.length - b.length);
  const holds = (folder: string): boolean => files.some((f) => folderOf(f) === folder && (f.name === WEIGHTS || f.name === INDEX));
  const [top = ""] = folders;
  const run = /^[^/]*\//.exec(top)?.[0] ?? "";
  const known = [top, `${run}exported/best/`, `${run}exported/last/`].find(holds);
  return known ?? top;
}

/**
 * Chosen files: a model's folder, a run's folder, or one bare file of weights. Throws ConfigError for none, or for two of one name, the
 * signal's reason where it is aborted while they are read.
 */
export function chosenFiles(all: readonly NamedBlob[], { signal }: JobOptions = {}): ModelFiles {
  if (all.length === 0) throw new ConfigError("Cannot load a model: there are no files; choose config.json and model.safetensors");
  const folder = chosenFolder(all);
  const files = all.filter((file) => folderOf(file) === folder);
  const byName = new Map(files.map((file) => [file.name, file]));
  if (byName.size < files.length)
    throw new ConfigError("Cannot load a model: two of the files have one name; choose the files of one folder");
  const weights = files.filter((file) => file.name.endsWith(".safetensors"));
  const bare = byName.has(INDEX) ? [] : weights; // one shard is no model
  const [, run] = EXPORTED.exec(folder) ?? [];
  const config = run === undefined ? undefined : all.find((file) => file.name === "config.json" && folderOf(file) === run);
  const sourceOf = (file: NamedBlob | undefined): Promise<ByteSource | undefined> =>
    Promise.resolve(file && blobSource(file, file.name, signal));
  return {
    path: files.length === 1 ? (files[0]?.name ?? "") : "the chosen files",
    open: (name) => sourceOf(byName.get(name)),
    openRun: () => sourceOf(config),
    names: [...byName.keys()],
    weights: bare.length === 1 ? bare[0]?.name : undefined,
  };
}

const HUB = "https://huggingface.co";
const HUB_ID = /^[\w][\w.-]*\/[\w][\w.-]*$/;

interface Base {
  readonly url: string;
  readonly weights: string | undefined;
}

/** `URL.parse`, which Safari before 18 lacks. */
function parseUrl(address: string): URL | undefined {
  try {
    return address.trim() === "" ? undefined : new URL(address, browser.location?.href);
  } catch {
    return undefined;
  }
}

/** The folder that a URL or id means. */
function baseOf(urlOrId: string, { endpoint = HUB, revision = "main" }: RemoteOptions): Base {
  const root = endpoint.endsWith("/") ? endpoint.slice(0, -1) : endpoint;
  const address = HUB_ID.test(urlOrId) ? `${root}/${urlOrId}/resolve/${encodeURIComponent(revision)}/` : urlOrId;
  const url = parseUrl(address);
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw new ConfigError(
      `Cannot load model "${urlOrId}": "${address}" is neither an id like "facebook/dinov2-small" nor the URL of a folder; check its spelling`,
    );
  const [, folder = "", file = ""] = /^(.*\/)([^/]*\.safetensors)$/.exec(url.pathname) ?? [];
  if (file !== "") url.pathname = folder;
  else if (!url.pathname.endsWith("/")) url.pathname += "/";
  return { url: url.href, weights: file === "" ? undefined : decodeURIComponent(file) };
}

/** Throws ConfigError for a word that is none of them. */
function checkCache(cache: unknown): void {
  if (["keep", "check", "reload", "none"].includes(String(cache))) return;
  throw new ConfigError(`Cannot cache by "${String(cache)}": there is no such way; use keep, check, reload or none`, { keyPath: "cache" });
}

async function storeFor({ cache = "keep" }: RemoteOptions): Promise<PartStore> {
  checkCache(cache);
  const store = cache === "none" ? undefined : await openCacheStore();
  return store === undefined ? memoryStore() : withSpill(store);
}

/** Files of a folder on a server, fetched when opened. Throws ConfigError for what is no URL. */
export async function remoteFiles(urlOrId: string, options: RemoteOptions): Promise<ModelFiles> {
  const { url: base, weights } = baseOf(urlOrId, options);
  const store = await storeFor(options);
  const { signal, onProgress } = options;
  const openAt = async (folder: string, name: string): Promise<ByteSource | undefined> => {
    const url = new URL(folder);
    url.pathname += encodeURIComponent(name);
    if (options.cache === "reload") await forgetRemote(url.href, store);
    const onBytes = (done: number, total: number): void => onProgress?.({ what: "fetch", done, total, unit: "bytes", detail: name });
    return openRemote(url.href, { store, signal, onBytes, isChecked: options.cache === "check" });
  };
  const [, run] = EXPORTED.exec(new URL(base).pathname) ?? [];
  const openRun = async (): Promise<ByteSource | undefined> => {
    try {
      return run === undefined ? undefined : await openAt(new URL(run, base).href, "config.json");
    } catch {
      signal?.throwIfAborted();
      return undefined; // a server may refuse what is outside the folder
    }
  };
  return { path: urlOrId, weights, open: (name) => openAt(base, name), openRun };
}

/** The file, which must be there. Throws FormatError. */
export async function need(files: ModelFiles, name: string): Promise<ByteSource> {
  const source = await files.open(name);
  if (source !== undefined) return source;
  const torch = files.names?.find((file) => /\.(?:bin|pt|pth)$/.test(file));
  const todo =
    torch === undefined ? "give the files of a Hugging Face folder" : `convert "${torch}" with "tricera models convert", it is PyTorch's`;
  throw new FormatError(`Cannot open model "${files.path}": it has no ${name}; ${todo}`, { file: name });
}
