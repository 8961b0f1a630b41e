/** @file A server of static files for tests: ranges, other answers on request, a record of what was asked. */
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { extname, join, normalize } from "node:path";

const TYPES: { readonly [ext: string]: string } = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".svg": "image/svg+xml",
};

export interface StaticServer extends AsyncDisposable {
  readonly origin: string;
  /** Paths and ranges in the order they came. */
  readonly asked: { readonly path: string; readonly range: string | undefined }[];
  /** Answers a request itself and says so; `undefined` again: files only. */
  special: ((path: string, request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
}

/** Serves folders, the first that has a file giving it; `/` is a bare page. */
export async function serveStatic(
  dirs: readonly string[],
  { isolated = false }: { readonly isolated?: boolean } = {},
): Promise<StaticServer> {
  const asked: { path: string; range: string | undefined }[] = [];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://x").pathname);
    asked.push({ path, range: request.headers.range });
    if (isolated) {
      response.setHeader("cross-origin-opener-policy", "same-origin");
      response.setHeader("cross-origin-embedder-policy", "require-corp");
    }
    if (self.special?.(path, request, response) === true) return;
    void answer(dirs, { path, request, response });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const self: StaticServer = {
    origin: `http://127.0.0.1:${port}`,
    asked,
    special: undefined,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  return self;
}

interface Asked {
  readonly path: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

async function readFirst(dirs: readonly string[], path: string): Promise<Buffer | undefined> {
  for (const dir of dirs) {
    const bytes = await readFile(join(dir, normalize(path))).catch(() => undefined);
    if (bytes !== undefined) return bytes;
  }
  return undefined;
}

async function answer(dirs: readonly string[], { path, request, response }: Asked): Promise<void> {
  const bytes =
    (await readFirst(dirs, path.endsWith("/") ? `${path}index.html` : path)) ?? (path === "/" ? Buffer.from("<!doctype html>") : undefined);
  if (bytes === undefined) {
    response.writeHead(404).end();
    return;
  }
  response.setHeader("content-type", path.endsWith("/") ? "text/html" : (TYPES[extname(path)] ?? "application/octet-stream"));
  response.setHeader("etag", `"${bytes.length}"`);
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
  if (from === undefined) {
    response.writeHead(200, { "content-length": bytes.length }).end(bytes);
    return;
  }
  const end = Math.min(bytes.length, to === "" || to === undefined ? bytes.length : Number(to) + 1);
  response.writeHead(206, { "content-range": `bytes ${from}-${end - 1}/${bytes.length}`, "content-length": end - Number(from) });
  response.end(bytes.subarray(Number(from), end));
}
