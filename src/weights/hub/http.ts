/**
 * @file One GET with its redirects followed by hand: the token goes to the hub's own origin and nowhere else, what the hub says of a file on
 * the way (`x-linked-etag`, `x-linked-size`, `x-repo-commit`) is kept, and a connection that gives nothing is dropped.
 */
import { DownloadError, plainUrl, RetryError } from "./errors.ts";

const MAX_HOPS = 10;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

export interface HttpOptions {
  /** The token is sent to this address's origin only. */
  readonly endpoint: string;
  readonly token: string | undefined;
  /** How long the server may give nothing, while connecting or between two pieces. */
  readonly stallMs: number;
  readonly signal: AbortSignal | undefined;
}

/** What the hub said about a file before it redirected. */
export interface LinkedFile {
  /** sha256 of a large file, git's hash of a small one; undefined where none was said. */
  readonly etag: string | undefined;
  readonly sizeBytes: number | undefined;
  readonly commit: string | undefined;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly linked: LinkedFile;
  /** Where the answer came from after redirects. */
  readonly url: string;
  /** Pieces of the body. Throws RetryError where it is cut or stalls. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Ends the connection without reading the rest. */
  readonly cancel: () => Promise<void>;
}

/** `W/"x"` and `"x"` without marks and quotes. */
export function bareEtag(etag: string | null | undefined): string | undefined {
  const bare = etag?.replace(/^W\//, "").replaceAll('"', "").trim();
  return bare === undefined || bare === "" ? undefined : bare;
}

function sizeHeader(headers: Headers, name: string): number | undefined {
  const text = headers.get(name) ?? "";
  const size = /^\d{1,15}$/.test(text) ? Number(text) : undefined;
  return size;
}

/** Length of the body as it arrives; unknown where the server packs it, for it is unpacked on the way. */
export function bodyLength(headers: Headers): number | undefined {
  return isPacked(headers) ? undefined : sizeHeader(headers, "content-length");
}

/** Whether the server packed the body although it was asked not to. */
export function isPacked(headers: Headers): boolean {
  return (headers.get("content-encoding") ?? "identity") !== "identity";
}

const GIT_SHA1 = /^[0-9a-f]{40}$/;

/**
 * What an answer of the hub says of the file, over what is known already. Its plain ETag is git's hash of a small file; on a redirect it may
 * be a mark of the store behind, so that nothing else is taken there.
 */
function addLinked(linked: LinkedFile, { headers, status }: Pick<Response, "headers" | "status">): LinkedFile {
  const plain = headers.has("x-repo-commit") ? bareEtag(headers.get("etag")) : undefined;
  const isOfFile = plain !== undefined && (status === 200 || status === 206 || GIT_SHA1.test(plain));
  return {
    etag: linked.etag ?? bareEtag(headers.get("x-linked-etag")) ?? (isOfFile ? plain : undefined),
    sizeBytes: linked.sizeBytes ?? sizeHeader(headers, "x-linked-size"),
    commit: linked.commit ?? headers.get("x-repo-commit") ?? undefined,
  };
}

/** A clock that aborts the connection when nothing comes for a while. */
class Watch {
  readonly #stall: AbortController = new AbortController();
  readonly signal: AbortSignal;
  readonly #stallMs: number;
  readonly #outer: AbortSignal | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor({ signal, stallMs }: Pick<HttpOptions, "signal" | "stallMs">) {
    this.#stallMs = stallMs;
    this.#outer = signal;
    this.signal = signal === undefined ? this.#stall.signal : AbortSignal.any([signal, this.#stall.signal]);
  }

  /** Waits for `work` at most as long as a stall lasts; failures of the network become RetryError. */
  async wait<T>(work: () => Promise<T>, host: string): Promise<T> {
    this.#timer = setTimeout(() => this.#stall.abort(), this.#stallMs);
    try {
      return await work();
    } catch (error) {
      this.#outer?.throwIfAborted();
      if (this.#stall.signal.aborted) throw new RetryError(`${host} gave nothing for ${this.#stallMs / 1000} s`, { cause: error });
      throw new RetryError(`the connection to ${host} failed (${whatFailed(error)})`, { cause: error });
    } finally {
      clearTimeout(this.#timer);
    }
  }

  abort(): void {
    this.#stall.abort();
  }
}

/** fetch says "fetch failed"; its cause says what. */
function whatFailed(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (cause instanceof AggregateError && cause.errors[0] instanceof Error) return whatFailed(cause.errors[0]);
  if (cause instanceof Error) return "code" in cause && typeof cause.code === "string" ? cause.code : cause.message;
  return error.message;
}

function parseHop(location: string, from: string): URL {
  const to = URL.canParse(location, from) ? new URL(location, from) : undefined;
  const isSafe = to !== undefined && (to.protocol === "https:" || (to.protocol === "http:" && from.startsWith("http:")));
  if (!isSafe || to.username !== "")
    throw new DownloadError(
      `Cannot download ${plainUrl(from)}: it redirects to ${to === undefined ? "no address" : `${to.protocol}//${to.host}`}, which is not followed; check HF_ENDPOINT`,
      { url: plainUrl(from), status: 302 },
    );
  return to;
}

async function* readBody(
  response: Response,
  { watch, host }: { readonly watch: Watch; readonly host: string },
): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  const reader = response.body.getReader();
  try {
    for (;;) {
      const piece = await watch.wait(() => reader.read(), host);
      if (piece.done) return;
      yield piece.value as Uint8Array; // a body gives bytes
    }
  } finally {
    watch.abort();
  }
}

/**
 * Asks for `url`; `headersFor` gives the headers of each hop, knowing what the hub has said so far. Throws RetryError where no answer comes,
 * DownloadError for redirects that go nowhere, AbortError.
 */
export async function get(
  url: string,
  headersFor: (linked: LinkedFile) => Readonly<Record<string, string>>,
  options: HttpOptions,
): Promise<Answer> {
  const home = new URL(options.endpoint).origin;
  let at = new URL(url);
  let linked: LinkedFile = { etag: undefined, sizeBytes: undefined, commit: undefined };
  for (let hop = 0; hop <= MAX_HOPS; hop++) {
    options.signal?.throwIfAborted();
    const watch = new Watch(options);
    const credentials = options.token !== undefined && at.origin === home ? { authorization: `Bearer ${options.token}` } : {};
    const headers = { "user-agent": "tricera", "accept-encoding": "identity", ...headersFor(linked), ...credentials };
    const response = await watch.wait(() => fetch(at, { headers, redirect: "manual", signal: watch.signal }), at.host);
    linked = addLinked(linked, response);
    const location = response.headers.get("location");
    if (!REDIRECTS.has(response.status) || location === null)
      return {
        status: response.status,
        headers: response.headers,
        linked,
        url: plainUrl(at),
        body: readBody(response, { watch, host: at.host }),
        cancel: () => Promise.resolve(watch.abort()),
      };
    watch.abort();
    at = parseHop(location, at.href);
  }
  throw new DownloadError(`Cannot download ${plainUrl(url)}: it redirects more than ${MAX_HOPS} times; check HF_ENDPOINT`, {
    url: plainUrl(url),
    status: 302,
  });
}
