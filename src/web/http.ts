/** @file One request for a range of a file: what servers answer, told apart. */
import { FormatError } from "../core/index.ts";

/** No byte for so long means that the connection is dead. */
const STALL_MS = 30_000;

/** A range of a file, or all of it from a server without ranges; undefined where there is no such file. */
export interface Answer {
  readonly body: ReadableStream<Uint8Array>;
  /** Whether the body is the range asked for, and not the whole file. */
  readonly isRange: boolean;
  /** Of the whole file; undefined where the server does not say. */
  readonly sizeBytes: number | undefined;
  /** Changes with the file. */
  readonly tag: string;
}

export interface RangeRequest {
  readonly begin: number;
  /** Not included; all there is where undefined. */
  readonly end?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A request that may do better the next time. */
export class TransientError extends FormatError {
  override readonly name: string = "FormatError";
}

const TODO: { readonly [status: number]: string } = {
  401: "the repository asks for a licence; accept it, download the files there and choose them here",
  403: "the repository asks for a licence; accept it, download the files there and choose them here",
  429: "the server has had too many requests; wait a while",
};

/** Throws FormatError for a refusal, TransientError for what may pass, the signal's reason when aborted. */
export async function askRange(url: string, { begin, end, signal }: RangeRequest): Promise<Answer | undefined> {
  const headers = { range: `bytes=${begin}-${end === undefined ? "" : end - 1}` };
  const response = await fetch(url, { headers, ...(signal === undefined ? {} : { signal }) }).catch((cause: unknown) => {
    signal?.throwIfAborted();
    throw new TransientError(
      `Cannot fetch "${url}": no answer (${cause instanceof Error ? cause.message : String(cause)}); check the address, and that the server allows other origins`,
      { file: url, cause },
    );
  });
  const { status, body } = response;
  if (status === 404 || status === 410) return await giveUp(body);
  const isPage = /^text\/html/i.test(response.headers.get("content-type") ?? "");
  if (status === 200 && isPage) return await giveUp(body); // servers of one page answer so for what is not there
  if ((status === 200 || status === 206) && body !== null)
    return { body, isRange: status === 206, sizeBytes: sizeOfAll(response), tag: tagOf(response) };
  await giveUp(body);
  const Kind = status >= 500 ? TransientError : FormatError;
  throw new Kind(`Cannot fetch "${url}": the server answers ${status}; ${TODO[status] ?? "try again later, or choose local files"}`, {
    file: url,
  });
}

async function giveUp(body: ReadableStream | null): Promise<undefined> {
  await body?.cancel().catch(() => undefined); // it ended already
}

function sizeOfAll({ status, headers }: Response): number | undefined {
  const text = status === 206 ? /\/(\d+)$/.exec(headers.get("content-range") ?? "")?.[1] : (headers.get("content-length") ?? undefined);
  const isPacked = status === 200 && headers.get("content-encoding") !== null; // the length is that of what travels
  return text === undefined || isPacked ? undefined : Number(text);
}

function tagOf({ headers }: Response): string {
  return headers.get("etag") ?? headers.get("last-modified") ?? "";
}

/** The pieces of a body as they come. Throws TransientError where they stop coming. */
export async function* piecesOf(url: string, { body }: Answer, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await nextPiece(reader, url, signal);
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined); // nothing is left to stop where it ended or failed
  }
}

type Piece = Awaited<ReturnType<ReadableStreamDefaultReader<Uint8Array>["read"]>>;

async function nextPiece(reader: ReadableStreamDefaultReader<Uint8Array>, url: string, signal: AbortSignal | undefined): Promise<Piece> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stalled = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(cutOff(url, `nothing came for ${STALL_MS / 1000} s`)), STALL_MS);
  });
  try {
    return await Promise.race([reader.read(), stalled]);
  } catch (cause) {
    signal?.throwIfAborted();
    throw cause instanceof FormatError ? cause : cutOff(url, "the connection broke", cause);
  } finally {
    clearTimeout(timer);
  }
}

/** A body that ended too soon. */
export function cutOff(url: string, state: string, cause?: unknown): TransientError {
  return new TransientError(`Cannot fetch "${url}": ${state}; load the model again, it goes on where it stopped`, { file: url, cause });
}
