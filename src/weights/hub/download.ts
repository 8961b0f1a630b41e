/** @file One file into its `.part`: resumed by ranges, retried with growing waits, checked at the end. */
import { open, type FileHandle } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { FormatError, type OnProgress } from "../../core/index.ts";
import { checkDiskSpace } from "../atomic-file.ts";
import { DownloadError, plainUrl, RetryError } from "./errors.ts";
import { type Answer, bareEtag, bodyLength, get, type HttpOptions, isPacked, type LinkedFile } from "./http.ts";
import type { ModelRef } from "./model-ref.ts";
import { canResume, isStrongEtag, type Part, readPart, removePart, writePartState } from "./part.ts";
import { isMissingFile, refusal } from "./refusals.ts";
import { checkContent, notTheFile, verifyFile, type Verified } from "./verify.ts";

export interface RetryOptions {
  /** Tries in a row that bring no new byte before it is given up. */
  readonly attempts: number;
  /** Wait before the second try; each further wait is twice as long, a minute at most. */
  readonly firstWaitMs: number;
}

export interface DownloadContext extends HttpOptions {
  readonly ref: ModelRef;
  readonly retry: RetryOptions;
  readonly onProgress: OnProgress | undefined;
  readonly onNotice: ((line: string) => void) | undefined;
  /** Another way to the sha256 of the file, asked only where the server's headers have none. */
  readonly pointerOf?: () => Promise<string | undefined>;
}

export interface FileRequest {
  readonly url: string;
  /** Its name in the model's folder. */
  readonly name: string;
  /** Where its `.part` lies. */
  readonly part: string;
  /** Whether the model can do without it. */
  readonly isOptional: boolean;
  /** What the user or a pointer file says it is. */
  readonly sha256?: string | undefined;
}

export interface Downloaded extends Verified {
  readonly name: string;
  readonly commit: string | undefined;
  /** Bytes that came over the network in this call. */
  readonly fetchedBytes: number;
}

const LONGEST_WAIT_MS = 60_000;
const MB = 1e6;

/** What one try knows of the file in the end. */
interface Fetched {
  readonly linked: LinkedFile;
  readonly totalBytes: number | undefined;
  readonly resumed: boolean;
}

/** The part that is still of the file that the hub has now; of another file nothing is kept. */
function partOf(part: Part, linked: LinkedFile): Part {
  const changed = linked.etag !== undefined && part.linkedEtag !== undefined && linked.etag !== part.linkedEtag;
  return changed || !canResume(part) ? { hereBytes: 0 } : part;
}

function rangeHeaders(part: Part): Record<string, string> {
  if (part.hereBytes === 0) return {};
  return { range: `bytes=${part.hereBytes}-`, ...(isStrongEtag(part.etag) ? { "if-range": part.etag } : {}) };
}

interface ContentRange {
  readonly from: number | undefined;
  readonly total: number | undefined;
}

function contentRange(headers: Headers): ContentRange {
  const [, from, total] = /^bytes (?:(\d{1,15})-\d{1,15}|\*)\/(\d{1,15}|\*)$/.exec(headers.get("content-range") ?? "") ?? [];
  const read = (text: string | undefined): number | undefined => (text === undefined || text === "*" ? undefined : Number(text));
  return { from: read(from), total: read(total) };
}

/** Where the body's first byte belongs, and how long the whole is. Throws RetryError for an answer that fits no range of ours. */
async function placeOf(answer: Answer, part: Part, path: string): Promise<{ from: number; totalBytes: number | undefined }> {
  const { status, headers, linked } = answer;
  if (status === 200) return { from: 0, totalBytes: linked.sizeBytes ?? bodyLength(headers) };
  const { from, total } = contentRange(headers);
  if (from === part.hereBytes && part.hereBytes > 0 && !isPacked(headers)) return { from, totalBytes: linked.sizeBytes ?? total };
  await answer.cancel();
  await removePart(path);
  throw new RetryError(`${new URL(answer.url).host} gave another range than asked for`);
}

async function writeAt(file: FileHandle, bytes: Uint8Array, place: number): Promise<void> {
  for (let at = 0; at < bytes.byteLength;) at += (await file.write(bytes, at, bytes.byteLength - at, place + at)).bytesWritten;
}

interface Writing {
  readonly path: string;
  readonly from: number;
  readonly onBytes: (hereBytes: number) => void;
}

/** Appends the body at `from`, which an older part is cut to. */
async function writeBody(answer: Answer, { path, from, onBytes }: Writing): Promise<number> {
  const file = await open(path, from === 0 ? "w" : "r+");
  let at = from;
  try {
    await file.truncate(from);
    for await (const bytes of answer.body) {
      await writeAt(file, bytes, at);
      at += bytes.byteLength;
      onBytes(at);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return at;
}

/** One try. Undefined where the file is not there and the model can do without it. */
async function fetchPart(request: FileRequest, context: DownloadContext, onFetched: OnFetched): Promise<Fetched | undefined> {
  const { part: path, name } = request;
  const before: Part = name.endsWith(".json") ? { hereBytes: 0 } : await readPart(path);
  const answer = await get(request.url, (linked) => rangeHeaders(partOf(before, linked)), context);
  const part = partOf(before, answer.linked);
  const isRest = answer.status === 416 && part.hereBytes > 0;
  if (isRest && contentRange(answer.headers).total === part.hereBytes) {
    await answer.cancel();
    return { linked: answer.linked, totalBytes: part.hereBytes, resumed: true }; // all of it was here
  }
  if (answer.status !== 200 && answer.status !== 206) {
    await answer.cancel();
    if (request.isOptional && isMissingFile(answer)) return undefined;
    if (isRest) await removePart(path);
    if (isRest) throw new RetryError("the part that was here is longer than the file");
    throw refusal(answer, { ref: context.ref, name, endpoint: context.endpoint, hasToken: context.token !== undefined });
  }
  if ((answer.headers.get("content-type") ?? "").startsWith("text/html")) {
    await answer.cancel();
    throw notTheFile(name, "a web page (HTML)");
  }
  return keepBody(answer, { request, context, part, onFetched });
}

/** Bytes that came over the network, and how much of the file is here now. */
type OnFetched = (newBytes: number, hereBytes: number) => void;

interface Keeping {
  readonly request: FileRequest;
  readonly context: DownloadContext;
  readonly part: Part;
  readonly onFetched: OnFetched;
}

async function keepBody(answer: Answer, { request, context, part, onFetched }: Keeping): Promise<Fetched> {
  const { part: path, name } = request;
  const { from, totalBytes } = await placeOf(answer, part, path);
  if (totalBytes !== undefined) {
    try {
      await checkDiskSpace(path, totalBytes - from);
    } catch (error) {
      await answer.cancel();
      throw error;
    }
  }
  // the ETag of a packed body is not of the bytes that are kept
  const etag = isPacked(answer.headers) ? undefined : (answer.headers.get("etag") ?? undefined);
  // a kill here must not leave bytes of an older file under the state of the new one
  if (from === 0) await removePart(path);
  await writePartState(path, { etag, linkedEtag: answer.linked.etag, sizeBytes: totalBytes });
  let seen = from;
  const end = await writeBody(answer, {
    path,
    from,
    onBytes: (here) => {
      onFetched(here - seen, here);
      seen = here;
      context.onProgress?.({ what: `pulling ${name}`, done: toMb(here), total: toMb(totalBytes ?? 0), unit: "MB" });
    },
  });
  if (totalBytes !== undefined && end < totalBytes) throw new RetryError(`the connection ended after ${end} of ${totalBytes} bytes`);
  return { linked: answer.linked, totalBytes, resumed: from > 0 };
}

/** Megabytes with one decimal. */
function toMb(bytes: number): number {
  return Math.round(bytes / (MB / 10)) / 10;
}

/** Tries until the file is here; the count of vain tries starts anew whenever more of it is here than ever before. */
async function fetchWhole(request: FileRequest, context: DownloadContext, onFetched: OnFetched): Promise<Fetched | undefined> {
  const { attempts, firstWaitMs } = context.retry;
  let [most, best] = [0, 0];
  for (let vain = 0; ;) {
    try {
      return await fetchPart(request, context, (newBytes, hereBytes) => {
        most = Math.max(most, hereBytes);
        onFetched(newBytes, hereBytes);
      });
    } catch (error) {
      if (!(error instanceof RetryError)) throw error;
      vain = most > best ? 1 : vain + 1;
      best = most;
      const askedMs = error.waitMs ?? 0;
      if (vain >= attempts || askedMs > LONGEST_WAIT_MS) throw giveUp(error, request, context);
      const waitMs = Math.max(askedMs, Math.min(LONGEST_WAIT_MS, firstWaitMs * 2 ** (vain - 1)));
      context.onNotice?.(`${request.name}: ${error.message}; trying again in ${Math.ceil(waitMs / 100) / 10} s`);
      await sleep(waitMs, undefined, context.signal === undefined ? {} : { signal: context.signal });
    }
  }
}

function giveUp(cause: RetryError, { url, name }: FileRequest, { ref }: DownloadContext): DownloadError {
  return new DownloadError(
    `Cannot pull "${ref.id}": ${cause.message} ("${name}" from ${new URL(url).host}); check the network or set HF_ENDPOINT to a mirror, then pull again: what is here is kept`,
    { url: plainUrl(url), cause },
  );
}

const SHA256 = /^[0-9a-f]{64}$/;
const SHA1 = /^[0-9a-f]{40}$/;

async function verify(request: FileRequest, { linked, totalBytes }: Fetched, context: DownloadContext): Promise<Verified> {
  const etag = bareEtag(linked.etag)?.toLowerCase() ?? "";
  const gitSha1 = SHA1.test(etag) && linked.commit !== undefined ? etag : undefined;
  const isLarge = !/\.(json|md)$/.test(request.name);
  const said = request.sha256 ?? (SHA256.test(etag) ? etag : undefined);
  const wanted = {
    name: request.name,
    sha256: said ?? (gitSha1 === undefined && isLarge ? await context.pointerOf?.() : undefined),
    gitSha1,
    sizeBytes: totalBytes,
  };
  const verified = await verifyFile(request.part, wanted, context);
  await checkContent(request.part, request.name);
  return verified;
}

/**
 * Downloads a file to `request.part`. Undefined where it is optional and absent. A file that was resumed and is wrong is fetched once more
 * from its start. Throws DownloadError (refused, given up), FormatError (another file than wanted; nothing is kept), PlatformError (disk
 * full; what is here is kept), AbortError (kept).
 */
export async function download(request: FileRequest, context: DownloadContext): Promise<Downloaded | undefined> {
  let fetchedBytes = 0;
  const count: OnFetched = (n) => void (fetchedBytes += n);
  for (let tries = 1; ; tries++) {
    const fetched = await fetchWhole(request, context, count);
    if (fetched === undefined) return undefined;
    try {
      const verified = await verify(request, fetched, context);
      return { ...verified, name: request.name, commit: fetched.linked.commit, fetchedBytes };
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      await removePart(request.part);
      if (!fetched.resumed || tries > 1) throw error;
      context.onNotice?.(`${request.name}: the joined parts are not the file; fetching it from the start`);
    }
  }
}
