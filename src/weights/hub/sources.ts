/** @file Which files make a model, and in what order they are asked for. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { FormatError } from "../../core/index.ts";
import { type Downloaded, download, type DownloadContext, type FileRequest } from "./download.ts";
import { DownloadError } from "./errors.ts";
import { get } from "./http.ts";
import type { FileRef, HubRef } from "./model-ref.ts";

export interface Source {
  readonly context: DownloadContext;
  /** Where the parts lie. */
  readonly dir: string;
  /** Of a single file, as the user says. */
  readonly sha256: string | undefined;
  /** Called when the repository is known to be open, before its weights; throws where they may not be pulled. */
  readonly beforeWeights: () => void;
}

/** All files of a model, and the licence that its card names. */
export interface Pulled {
  readonly files: readonly Downloaded[];
  readonly licence?: string | undefined;
}

const CONFIG = "config.json";
const PROCESSOR = "preprocessor_config.json";
const WEIGHTS = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const TORCH = "pytorch_model.bin";
const CARD = "README.md";
/** A shard is a file of the repository's own folder. */
const SHARD = /^[\w][\w.-]{0,200}\.safetensors$/;
const POINTER_BYTES = 1024;

function urlOf({ id }: HubRef, { context, revision, name, raw = false }: Asking): string {
  return `${context.endpoint}/${id}/${raw ? "raw" : "resolve"}/${encodeURIComponent(revision)}/${name}`;
}

interface Asking {
  readonly context: DownloadContext;
  readonly revision: string;
  readonly name: string;
  readonly raw?: boolean;
}

function requestOf(name: string, url: string, dir: string): FileRequest {
  return { url, name, part: join(dir, `${name}.part`), isOptional: true };
}

async function parseJson(dir: string, name: string): Promise<unknown> {
  const text = await readFile(join(dir, `${name}.part`), "utf8");
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FormatError(`Cannot pull "${name}": it is not JSON; check the id and HF_ENDPOINT`, { file: name, cause });
  }
}

/** The shards that an index names. Throws FormatError for an index that names none, or files outside the folder. */
export function shardNames(index: unknown): readonly string[] {
  const map: unknown = typeof index === "object" && index !== null && "weight_map" in index ? index.weight_map : undefined;
  const names: readonly unknown[] = typeof map === "object" && map !== null ? [...new Set(Object.values(map))] : [];
  const bad = names.find((name) => typeof name !== "string" || !SHARD.test(name));
  if (names.length === 0 || bad !== undefined)
    throw new FormatError(
      `Cannot pull "${INDEX}": it names ${bad === undefined ? "no shards" : `${JSON.stringify(bad)}, which is no safetensors file of the folder`}; report it to who published it`,
      { file: INDEX },
    );
  return (names as readonly string[]).toSorted(); // every name is a string, as just checked
}

/** What a git-lfs pointer says of a file. */
export function parsePointer(text: string): string | undefined {
  return text.startsWith("version https://git-lfs.github.com/") ? /^oid sha256:([0-9a-f]{64})$/m.exec(text)?.[1] : undefined;
}

/** A mirror may leave the hash out of its headers and still have the pointer file that git-lfs keeps. One try; none is no failure. */
async function pointerSha256(url: string, context: DownloadContext): Promise<string | undefined> {
  try {
    const answer = await get(url, () => ({ range: `bytes=0-${POINTER_BYTES - 1}` }), context);
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    if (answer.status === 200 || answer.status === 206)
      for await (const piece of answer.body) {
        pieces.push(piece);
        bytes += piece.byteLength;
        if (bytes > POINTER_BYTES) break;
      }
    await answer.cancel();
    return parsePointer(Buffer.concat(pieces).toString("latin1"));
  } catch {
    context.signal?.throwIfAborted();
    return undefined;
  }
}

/** The licence in the front matter of a model card. */
export function cardLicence(card: string): string | undefined {
  const front = /^---\r?\n([\s\S]*?)\r?\n---/.exec(card)?.[1] ?? "";
  const licence = /^license:[ \t]*["']?([\w.+-]{1,60})["']?[ \t]*$/m.exec(front)?.[1];
  const name = /^license_name:[ \t]*["']?([\w .+-]{1,60})["']?[ \t]*$/m.exec(front)?.[1];
  return licence === "other" ? (name ?? licence) : licence;
}

/** Files of one repository, all of the commit that the first one is of. */
class Repository {
  readonly #ref: HubRef;
  readonly #source: Source;
  #revision: string;
  readonly files: Downloaded[] = [];

  constructor(ref: HubRef, source: Source) {
    this.#ref = ref;
    this.#source = source;
    this.#revision = ref.revision;
  }

  /** Downloads a file; false where the repository has none of that name. */
  async take(name: string): Promise<boolean> {
    const { context, dir } = this.#source;
    const asking = { context, revision: this.#revision, name };
    const request = requestOf(name, urlOf(this.#ref, asking), dir);
    const file = await download(request, {
      ...context,
      pointerOf: () => pointerSha256(urlOf(this.#ref, { ...asking, raw: true }), context),
    });
    if (file === undefined) return false;
    this.#revision = file.commit ?? this.#revision;
    this.files.push(file);
    return true;
  }

  /** The error for a file that must be there. */
  missing(what: string): DownloadError {
    const { id, revision } = this.#ref;
    return new DownloadError(
      `Cannot pull "${id}": it has no ${what} at revision "${revision}"; check the id and --revision (folders of one file are no models)`,
      { url: this.#source.context.endpoint, status: 404 },
    );
  }

  async shards(): Promise<void> {
    const names = shardNames(await parseJson(this.#source.dir, INDEX));
    for (const name of names) if (!(await this.take(name))) throw this.missing(name);
  }
}

/** Says the licence of a repository that the catalogue does not know, by its card. */
async function readCard(repository: Repository, { context, dir }: Source): Promise<string | undefined> {
  const licence = (await repository.take(CARD)) ? cardLicence(await readFile(join(dir, `${CARD}.part`), "utf8")) : undefined;
  const said = licence === undefined ? "not named by its model card" : `"${licence}" by its model card`;
  context.onNotice?.(`Licence of the weights: ${said} (${context.endpoint}/${context.ref.id}). Read it before you use them.`);
  return licence;
}

/** config.json, the processor (if any), weights: one safetensors file, else shards by their index, else PyTorch's. */
export async function pullRepository(ref: HubRef, source: Source, options: { readonly isKnown: boolean }): Promise<Pulled> {
  const repository = new Repository(ref, source);
  if (!(await repository.take(CONFIG))) throw repository.missing(CONFIG);
  await parseJson(source.dir, CONFIG);
  source.beforeWeights();
  const licence = options.isKnown ? undefined : await readCard(repository, source);
  if (await repository.take(PROCESSOR)) await parseJson(source.dir, PROCESSOR);
  if (await repository.take(WEIGHTS)) return { files: repository.files, licence };
  if (await repository.take(INDEX)) await repository.shards();
  else if (!(await repository.take(TORCH))) throw repository.missing(`${WEIGHTS}, ${INDEX} or ${TORCH}`);
  return { files: repository.files, licence };
}

/** Digits in the names of Meta's DINOv3 files. */
const MARK = /-([0-9a-f]{8})\.pth$/;

/** One file under its own name. */
export async function pullFile({ id, url }: FileRef, { context, dir, sha256, beforeWeights }: Source): Promise<Pulled> {
  beforeWeights();
  const last = new URL(url).pathname.split("/").at(-1) ?? "";
  const name = /^[\w][\w.-]{0,200}\.(pth|pt|bin|safetensors)$/.test(last) ? last : `${id}.pth`;
  const file = await download({ ...requestOf(name, url, dir), isOptional: false, sha256 }, context);
  if (file === undefined) return { files: [] };
  const mark = MARK.exec(name)?.[1];
  if (mark !== undefined && !file.sha256.startsWith(mark))
    context.onNotice?.(
      `${name}: its sha256 begins with ${file.sha256.slice(0, 8)}, not with the ${mark} of its name; give --sha256 to be sure`,
    );
  return { files: [file] };
}
