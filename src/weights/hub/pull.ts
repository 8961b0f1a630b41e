/** @file `models pull`: a Hugging Face repository or one of Meta's files into the cache, whole or not at all. The only code that asks the network. */
import { mkdir, readdir, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type JobOptions, UsageError } from "../../core/index.ts";
import { replaceDirAtomic } from "../atomic-file.ts";
import { cacheFolders, wholeManifest } from "./cache.ts";
import { findEntry } from "./catalogue.ts";
import { diskError } from "./disk-error.ts";
import type { Downloaded, DownloadContext, RetryOptions } from "./download.ts";
import { type Licence, licenceLine, LICENCES } from "./licences.ts";
import { LOCK_NAME, withLock } from "./lock.ts";
import { formatManifest, type Manifest, MANIFEST_NAME, type ManifestFile } from "./manifest.ts";
import { type ModelRef, parseModelRef } from "./model-ref.ts";
import { plainUrl } from "./errors.ts";
import { pullFile, pullRepository, type Source } from "./sources.ts";
import { cacheDirOf, endpointOf, tokenOf } from "./settings.ts";

export interface PullOptions extends JobOptions {
  /** Branch, tag or commit of a Hugging Face repository; main unless said. */
  readonly revision?: string | undefined;
  /** Whether the user has read a licence that is an agreement (DINOv3's). */
  readonly accept?: boolean | undefined;
  /** Fetches anew what is whole in the cache; the old files stay until the new ones are whole. */
  readonly overwrite?: boolean | undefined;
  /** Another address of one of Meta's files, such as the link that their form sends. */
  readonly url?: string | undefined;
  /** What that file's sha256 must be. */
  readonly sha256?: string | undefined;
  /** Default: `TRICERA_CACHE`, else the platform's cache folder. */
  readonly cacheDir?: string | undefined;
  /** Default: `HF_ENDPOINT`, else huggingface.co. */
  readonly endpoint?: string | undefined;
  /** Default: `HF_TOKEN`. */
  readonly token?: string | undefined;
  /** How long a server may give nothing; 30 s unless said. */
  readonly stallMs?: number | undefined;
  /** 6 vain tries and waits of 1, 2, 4, … s unless said. */
  readonly retry?: RetryOptions | undefined;
}

export interface PullResult {
  readonly id: string;
  readonly revision: string | undefined;
  readonly commit: string | undefined;
  /** The model's folder, or the file of an original: what `--model` takes. */
  readonly path: string;
  readonly files: readonly ManifestFile[];
  /** Bytes that came over the network; 0 where all was in the cache, and then nothing was asked of it. */
  readonly fetchedBytes: number;
  readonly licence: string | undefined;
}

const STALL_MS = 30_000;
const RETRY: RetryOptions = { attempts: 6, firstWaitMs: 1000 };

function refFor(id: string, { revision, url, sha256 }: PullOptions): ModelRef {
  const ref = parseModelRef(id, { revision });
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256))
    throw new UsageError(`Cannot check sha256 "${sha256}": wanted 64 hexadecimal digits; copy it again`);
  if (ref.kind === "hub") {
    if (url !== undefined || sha256 !== undefined)
      throw new UsageError(`Cannot pull "${id}" from an address: a Hugging Face repository has its own; leave --url and --sha256 out`);
    return ref;
  }
  if (url === undefined) return ref;
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw new UsageError(`Cannot pull "${id}" from that address: wanted an http or https address; quote the whole link`);
  return { ...ref, url };
}

function resultOf(ref: ModelRef, dir: string, manifest: Manifest, fetchedBytes: number): PullResult {
  const { id, revision, commit, files, licence } = manifest;
  const path = ref.kind === "hub" ? dir : join(dir, files[0]?.name ?? "");
  return { id, revision, commit, path, files, fetchedBytes, licence };
}

/** The licence that the catalogue knows; shown before anything is asked for. */
function showLicence({ id }: ModelRef, onNotice: PullOptions["onNotice"]): Licence | undefined {
  const known = findEntry(id)?.licence;
  if (known === undefined) return undefined;
  onNotice?.(licenceLine(LICENCES[known]));
  return LICENCES[known];
}

function requireConsent(licence: Licence | undefined, { id }: ModelRef, accept: boolean): void {
  if (licence?.isAgreement === true && !accept)
    throw new UsageError(
      `Cannot pull "${id}" yet: its weights are under the ${licence.name}, an agreement that binds who uses them; read ${licence.url} and add --yes if you accept it`,
    );
}

/** The manifest of an unfinished download: it marks the folder as ours. */
async function begin(dir: string, manifest: Manifest): Promise<void> {
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, MANIFEST_NAME), formatManifest(manifest));
}

interface Folders {
  readonly whole: string;
  readonly downloads: string;
}

/** Moves the parts into a folder that takes the model's place at once. */
async function finish(folders: Folders, manifest: Manifest): Promise<void> {
  await replaceDirAtomic(folders.whole, async (partial) => {
    for (const { name } of manifest.files) await rename(join(folders.downloads, `${name}.part`), join(partial, name));
    await writeFile(join(partial, MANIFEST_NAME), formatManifest(manifest));
  });
  // the lock stays until it is let go
  const rest = (await readdir(folders.downloads)).filter((name) => name !== LOCK_NAME);
  for (const name of rest) await rm(join(folders.downloads, name), { recursive: true, force: true });
}

interface Job {
  readonly ref: ModelRef;
  readonly folders: Folders;
  readonly context: DownloadContext;
  readonly options: PullOptions;
}

async function pullLocked({ ref, folders, context, options }: Job): Promise<PullResult> {
  const licence = findEntry(ref.id)?.licence;
  const source = ref.kind === "hub" ? context.endpoint : plainUrl(ref.url);
  const known: Manifest = { formatVersion: 1, id: ref.id, source, licence, files: [] };
  const manifest: Manifest = ref.kind === "hub" ? { ...known, revision: ref.revision } : known;
  await begin(folders.downloads, manifest);
  const from: Source = {
    context,
    dir: folders.downloads,
    sha256: options.sha256?.toLowerCase(),
    // once the repository is known to be there and open to us, and before its weights
    beforeWeights: () => requireConsent(licence === undefined ? undefined : LICENCES[licence], ref, options.accept === true),
  };
  const { files, licence: said } =
    ref.kind === "hub" ? await pullRepository(ref, from, { isKnown: licence !== undefined }) : await pullFile(ref, from);
  const whole: Manifest = {
    ...manifest,
    licence: licence ?? said,
    commit: files.find(({ commit }) => commit !== undefined)?.commit,
    files: files.map(toManifestFile),
  };
  await finish(folders, whole);
  return resultOf(
    ref,
    folders.whole,
    whole,
    files.reduce((n, { fetchedBytes }) => n + fetchedBytes, 0),
  );
}

function toManifestFile({ name, sizeBytes, sha256, checkedBy }: Downloaded): ManifestFile {
  return { name, sizeBytes, sha256, checkedBy };
}

/**
 * Pulls a model into the cache: `owner/name` of Hugging Face (config, processor, weights, also in shards), or one of Meta's files by its id.
 * What is whole there is given back without a request. A pull that was cut goes on where it stopped. Two pulls of one model take turns.
 *
 * Throws ConfigError for names and settings that are none, UsageError where a licence must be accepted first, DownloadError where the server
 * refuses or cannot be reached, FormatError for another file than wanted (a wrong checksum, a web page), PlatformError for a disk that is full or cannot be written to.
 */
export async function pullModel(id: string, options: PullOptions = {}): Promise<PullResult> {
  const { signal, onProgress, onNotice, cacheDir = cacheDirOf(), overwrite = false } = options;
  const ref = refFor(id, options);
  const folders = cacheFolders(ref, cacheDir);
  const before = await wholeManifest(folders.whole);
  if (before !== undefined && !overwrite) return resultOf(ref, folders.whole, before, 0);
  showLicence(ref, onNotice);
  const context: DownloadContext = {
    ref,
    endpoint: options.endpoint === undefined ? endpointOf() : endpointOf({ HF_ENDPOINT: options.endpoint }),
    token: options.token === undefined ? tokenOf() : tokenOf({ HF_TOKEN: options.token }),
    stallMs: options.stallMs ?? STALL_MS,
    retry: options.retry ?? RETRY,
    signal,
    onProgress,
    onNotice,
  };
  const onWait = (): void =>
    onNotice?.(`Another process pulls "${ref.id}"; waiting for it (delete "${folders.downloads}" if that is wrong)`);
  const work = async (): Promise<PullResult> => {
    // another process may have pulled it while we waited
    const now = await wholeManifest(folders.whole);
    const isNew = now !== undefined && (before === undefined || !overwrite);
    return isNew ? resultOf(ref, folders.whole, now, 0) : pullLocked({ ref, folders, context, options });
  };
  const result = await withLock(folders.downloads, work, { signal, onWait }).catch((error: unknown) => {
    throw diskError(error, cacheDir);
  });
  await rmdir(folders.downloads).catch(() => undefined); // another may have begun there
  return result;
}
