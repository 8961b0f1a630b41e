/** @file A hub on loopback for tests: files with ranges and ETags, redirects, cuts and stalls, and a record of what was asked. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Asked {
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
}

export interface Served {
  readonly body: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  /** Answers some requests itself (`times` counts those to this path, from 1); false leaves it to the server. */
  readonly instead?: (response: ServerResponse, times: number, request: IncomingMessage) => boolean;
  /** Ends the connection after this many bytes of the body, at these requests. */
  readonly cut?: { readonly afterBytes: number; readonly times: readonly number[] };
  /** Gives nothing more after this many bytes of the body, at these requests. */
  readonly stall?: { readonly afterBytes: number; readonly times: readonly number[] };
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** git's hash of a file. */
export function gitSha1(bytes: Uint8Array): string {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

/** The range that a request may have: undefined where the whole is wanted, by If-Range too. */
function wantedFrom(request: IncomingMessage, etag: string | undefined): number | undefined {
  const from = /^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1];
  const condition = request.headers["if-range"];
  return from === undefined || (condition !== undefined && condition !== etag) ? undefined : Number(from);
}

export class HubServer implements AsyncDisposable {
  readonly files: Map<string, Served> = new Map();
  readonly asked: Asked[] = [];
  readonly #server: Server;
  /** Stays when it is closed. */
  url: string = "";

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  static async start(): Promise<HubServer> {
    const hub = new HubServer();
    await new Promise<void>((resolve) => hub.#server.listen(0, "127.0.0.1", resolve));
    hub.url = `http://127.0.0.1:${(hub.#server.address() as AddressInfo).port}`; // as: it listens on a port
    return hub;
  }

  /** Requests whose path ends so. */
  askedFor(end: string): readonly Asked[] {
    return this.asked.filter(({ path }) => path.endsWith(end));
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(new URL(request.url ?? "/", this.url).pathname);
    this.asked.push({ path: request.url ?? "", headers: request.headers });
    const file = this.files.get(path);
    const times = this.asked.filter((a) => a.path === request.url).length;
    if (file === undefined) return void response.writeHead(404, { "x-error-code": "EntryNotFound" }).end();
    if (file.instead?.(response, times, request) === true) return;
    this.#send(request, response, { file, times });
  }

  #send(request: IncomingMessage, response: ServerResponse, { file, times }: { readonly file: Served; readonly times: number }): void {
    const { body, headers = {}, cut, stall } = file;
    const from = wantedFrom(request, headers["etag"]);
    if (from !== undefined && from >= body.length) return void response.writeHead(416, { "content-range": `bytes */${body.length}` }).end();
    const rest = body.subarray(from ?? 0);
    const range = from === undefined ? {} : { "content-range": `bytes ${from}-${body.length - 1}/${body.length}` };
    response.writeHead(from === undefined ? 200 : 206, { "content-length": String(rest.length), ...headers, ...range });
    const ends = [cut, stall].find((end) => end?.times.includes(times) === true);
    if (ends === undefined) return void response.end(rest);
    response.write(rest.subarray(0, ends.afterBytes), () => {
      // time for the reader to take what was sent: pieces that still wait when a connection dies are lost
      if (ends === cut) setTimeout(() => response.destroy(), 200);
    });
  }
}

export interface Repository {
  readonly id: string;
  /** Bytes by file name. */
  readonly files: Readonly<Record<string, Uint8Array>>;
  readonly commit?: string;
  readonly revision?: string;
  /** Whether the headers are the hub's; a plain file server's otherwise. */
  readonly isPlain?: boolean;
}

export const COMMIT: string = "c".repeat(40);

/** Puts a repository on a server as the hub serves it: sha256 as `x-linked-etag` of weights, git's hash as ETag of the rest. */
export function serve(hub: HubServer, repository: Repository): void {
  const { id, files, commit = COMMIT, revision = "main", isPlain = false } = repository;
  for (const [name, body] of Object.entries(files)) {
    const isLarge = /\.(safetensors|bin)$/.test(name);
    const etag = `"${isLarge ? sha256(body) : gitSha1(body)}"`;
    const linked = isLarge ? { "x-linked-etag": etag, "x-linked-size": String(body.length) } : {};
    const headers = isPlain ? { etag: `"${sha256(body).slice(0, 8)}"` } : { etag, "x-repo-commit": commit, ...linked };
    for (const at of isPlain ? [revision] : [revision, commit]) hub.files.set(`/${id}/resolve/${at}/${name}`, { body, headers });
  }
}

/** Changes how a served file behaves, at every address that ends so. */
export function change(hub: HubServer, end: string, change: Partial<Served>): void {
  for (const [path, file] of hub.files) if (path.endsWith(end)) hub.files.set(path, { ...file, ...change });
}
