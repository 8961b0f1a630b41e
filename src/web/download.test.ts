import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { FormatError } from "../core/index.ts";
import { forgetRemote, openRemote } from "./download.ts";
import { memoryStore } from "./part-store.ts";
import { serveStatic, type StaticServer } from "./testing/static-server.ts";

const PART = 4 * 2 ** 20;
const content = Uint8Array.from({ length: 2 * PART + 777 }, (_, i) => (i * 7 + (i >> 12)) & 255);

let root = "";
let server: StaticServer;
let url = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera download "));
  await writeFile(join(root, "w.safetensors"), content);
  await writeFile(join(root, "empty.json"), "");
  server = await serveStatic([root]);
  url = `${server.origin}/w.safetensors`;
});
afterEach(() => {
  server.special = undefined;
  server.asked.length = 0;
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(root, { recursive: true });
});

/** Answers the nth request (from 0) in another way. */
function onRequest(n: number, answer: (response: ServerResponse, request: IncomingMessage) => void): void {
  let count = 0;
  server.special = (_, request, response) => {
    if (count++ !== n) return false;
    answer(response, request);
    return true;
  };
}

/** Whether the file comes as it is. */
async function isWhole(store = memoryStore()): Promise<boolean> {
  const source = await openRemote(url, { store });
  return (
    source !== undefined && content.length === source.sizeBytes && Buffer.compare(await source.read(0, source.sizeBytes), content) === 0
  );
}

describe("openRemote()", () => {
  test("fetches a file in ranges, tells how far it is, and reads any part", async () => {
    const seen: number[] = [];
    const source = await openRemote(url, { store: memoryStore(), onBytes: (done, total) => seen.push(done / total) });
    expect(source?.sizeBytes).toBe(content.length);
    expect(await source?.read(PART - 3, 10)).toEqual(content.slice(PART - 3, PART + 7));
    expect(Buffer.compare((await source?.read(0, content.length)) ?? content.subarray(1), content)).toBe(0);
    const ranges = [`bytes=0-${PART - 1}`, `bytes=${PART}-${2 * PART - 1}`, `bytes=${2 * PART}-${content.length - 1}`];
    expect(new Set(server.asked.map((a) => a.range))).toEqual(new Set(ranges)); // two come at once, in any order
    expect(server.asked).toHaveLength(3);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(1);
    await expect(source?.read(content.length - 1, 2)).rejects.toThrow(/it ends at byte/);
  });

  test("gives undefined for what is not there, and for a page in its place", async () => {
    expect(await openRemote(`${server.origin}/none.json`, { store: memoryStore() })).toBeUndefined();
    onRequest(0, (r) => r.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<!doctype html>"));
    expect(await openRemote(url, { store: memoryStore() })).toBeUndefined();
  });

  test("takes the whole body of a server without ranges", async () => {
    for (const headers of [{ "content-length": content.length }, {}]) {
      onRequest(0, (r) => r.writeHead(200, headers).end(content));
      expect(await isWhole()).toBe(true);
      expect(server.asked.length).toBe(1);
      server.asked.length = 0;
    }
  });

  test("asks for the whole file where other origins may not see its size", async () => {
    onRequest(0, (r) => r.writeHead(206, { "content-length": PART }).end(content.subarray(0, PART)));
    expect(await isWhole()).toBe(true);
    expect(server.asked[1]?.range).toBe("bytes=0-");
  });

  test("reads an empty file", async () => {
    onRequest(0, (r) => r.writeHead(200, { "content-length": 0 }).end());
    const source = await openRemote(`${server.origin}/empty.json`, { store: memoryStore() });
    expect([source?.sizeBytes, await source?.read(0, 0)]).toEqual([0, new Uint8Array(0)]);
  });

  test.each<[string, (response: ServerResponse) => void]>([
    [
      "breaks",
      (r) => (
        r.writeHead(206, { "content-range": `bytes 0-9/10`, "content-length": 10 }),
        r.write("12"),
        setTimeout(() => r.destroy(), 20)
      ),
    ],
    ["answers 503", (r) => r.writeHead(503).end()],
    ["sends too little", (r) => r.writeHead(206, { "content-range": `bytes 0-${PART - 1}/${content.length}` }).end("12")],
    ["sends too much", (r) => r.writeHead(206, { "content-range": `bytes 0-1/2` }).end("12345")],
  ])("asks again where the server %s", async (_, answer) => {
    onRequest(0, answer);
    expect(await isWhole()).toBe(true);
  });

  test("says what a refusal means, and asks once", async () => {
    for (const [status, todo] of [
      [401, /accept it/],
      [403, /accept it/],
      [429, /too many requests/],
      [418, /answers 418; try again later/],
    ] as const) {
      server.special = (__, ___, response) => {
        response.writeHead(status).end();
        return true;
      };
      server.asked.length = 0;
      const error = await isWhole().catch((e: unknown) => e);
      expect(error).toBeInstanceOf(FormatError);
      expect(String(error)).toMatch(todo);
      expect(server.asked).toHaveLength(1);
    }
  });

  test("gives up after three tries, and goes on later with what it has", async () => {
    const store = memoryStore();
    server.special = (_, request, response) => {
      if (request.headers.range === `bytes=0-${PART - 1}`) return false;
      response.writeHead(500).end();
      return true;
    };
    await expect(isWhole(store)).rejects.toThrow(/^Cannot fetch ".*": the server answers 500; /);
    expect(server.asked.length).toBeGreaterThanOrEqual(4);
    server.special = undefined;
    server.asked.length = 0;
    expect(await isWhole(store)).toBe(true);
    expect(server.asked.map((a) => a.range)).not.toContain(`bytes=0-${PART - 1}`);
  });

  test("stops when aborted, and goes on later with what it has", async () => {
    const store = memoryStore();
    const stop = new AbortController();
    const reason = new Error("enough");
    server.special = (_, request) => {
      if (request.headers.range === `bytes=0-${PART - 1}`) return false;
      stop.abort(reason); // and no answer, ever
      return true;
    };
    await expect(openRemote(url, { store, signal: stop.signal })).rejects.toBe(reason);
    server.special = undefined;
    server.asked.length = 0;
    expect(await isWhole(store)).toBe(true);
    expect(server.asked.map((a) => a.range)).not.toContain(`bytes=0-${PART - 1}`);
    await expect(openRemote(url, { store: memoryStore(), signal: stop.signal })).rejects.toBe(reason);
  });

  test("refuses a file that changes on the way, and begins anew", async () => {
    const store = memoryStore();
    onRequest(2, (r) => r.writeHead(206, { "content-range": `bytes 0-1/${content.length}`, etag: '"other"' }).end("12"));
    await expect(isWhole(store)).rejects.toThrow(/the file changed while it was fetched/);
    expect(await isWhole(store)).toBe(true);
  });

  test("asks nothing of a file that is kept, until it is forgotten", async () => {
    const store = memoryStore();
    await isWhole(store);
    server.asked.length = 0;
    expect(await isWhole(store)).toBe(true);
    expect(server.asked).toHaveLength(0);
    await forgetRemote(url, store);
    expect(await isWhole(store)).toBe(true);
    expect(server.asked).toHaveLength(3);
  });

  test("says that a server cannot be reached", async () => {
    await expect(openRemote("http://127.0.0.1:9/x", { store: memoryStore() })).rejects.toThrow(/no answer .*; check the address/);
  });
});
