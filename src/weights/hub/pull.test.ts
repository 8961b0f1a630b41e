import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FormatError, PlatformError, type Progress, UsageError } from "../../core/index.ts";
import { encodeSafetensors } from "../safetensors.ts";
import { DownloadError, listCache, pullModel, type PullOptions, type PullResult, resolveCached } from "./index.ts";
import { change, COMMIT, HubServer, serve, sha256 } from "./testing/hub-server.ts";

const ID = "facebook/dinov2-small";
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const CONFIG = bytes('{"model_type":"dinov2"}');
const PROCESSOR = bytes('{"do_resize":true}');

/** A whole safetensors file of about 400 kB; `seed` tells one from another. */
function weightsOf(seed: number): Uint8Array {
  const data = Float32Array.from({ length: 100_000 }, (_, i) => (i % 977) + seed);
  return encodeSafetensors(new Map([["w", { dtype: "f32", shape: [100_000], data }]]));
}
const WEIGHTS = weightsOf(1);
const FILES = { "config.json": CONFIG, "preprocessor_config.json": PROCESSOR, "model.safetensors": WEIGHTS };

let dir = "";
let hub: HubServer;
let notices: string[] = [];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-hub-"));
  hub = await HubServer.start();
  notices = [];
});
afterEach(async () => {
  await hub.close();
  await rm(dir, { recursive: true, force: true });
});

function pull(id: string = ID, options: PullOptions = {}): Promise<PullResult> {
  return pullModel(id, {
    cacheDir: dir,
    endpoint: hub.url,
    token: "",
    stallMs: 5000,
    retry: { attempts: 3, firstWaitMs: 5 },
    onNotice: (line) => notices.push(line),
    ...options,
  });
}

/** What a failed pull throws. */
async function failure(id?: string, options?: PullOptions): Promise<Error> {
  return pull(id, options).then(
    ({ path }) => expect.fail(`pulled ${path}`),
    (error: Error) => error,
  );
}

const partPath = (name = "model.safetensors"): string => join(dir, "downloads", "facebook--dinov2-small", `${name}.part`);

test("pullModel() puts config, processor and weights into the cache, of one commit, and asks nothing the second time", async () => {
  serve(hub, { id: ID, files: FILES });
  const seen: Progress[] = [];
  const result = await pull(ID, { onProgress: (p) => seen.push(p) });
  expect(result).toMatchObject({ id: ID, revision: "main", commit: COMMIT, path: join(dir, "models", "facebook--dinov2-small") });
  for (const [name, body] of Object.entries(FILES)) expect(new Uint8Array(await readFile(join(result.path, name)))).toEqual(body);
  expect(result.files.map(({ name, checkedBy }) => [name, checkedBy])).toEqual([
    ["config.json", "git-sha1"],
    ["preprocessor_config.json", "git-sha1"],
    ["model.safetensors", "sha256"],
  ]);
  expect(result.fetchedBytes).toBe(CONFIG.length + PROCESSOR.length + WEIGHTS.length);
  expect(hub.asked.map(({ path }) => path)).toEqual([
    `/${ID}/resolve/main/config.json`,
    `/${ID}/resolve/${COMMIT}/preprocessor_config.json`,
    `/${ID}/resolve/${COMMIT}/model.safetensors`,
  ]);
  expect(seen.at(-1)).toEqual({ what: "pulling model.safetensors", done: 0.4, total: 0.4, unit: "MB" });
  expect(notices[0]).toMatch(/^Licence of the weights: Apache License 2\.0 .* Allows research and commercial use/);
  expect(await resolveCached(ID, { cacheDir: dir })).toBe(result.path);
  expect(await readdir(join(dir, "downloads"))).toEqual([]);
  await hub.close();
  expect(await pull()).toEqual({ ...result, fetchedBytes: 0 });
});

test("pullModel() does without a processor, and takes shards by their index", async () => {
  const shards = { "model-00001-of-00002.safetensors": WEIGHTS, "model-00002-of-00002.safetensors": weightsOf(2) };
  const index = {
    weight_map: { a: "model-00002-of-00002.safetensors", b: "model-00001-of-00002.safetensors", c: "model-00001-of-00002.safetensors" },
  };
  serve(hub, { id: ID, files: { "config.json": CONFIG, "model.safetensors.index.json": bytes(JSON.stringify(index)), ...shards } });
  const { files } = await pull();
  expect(files.map(({ name }) => name)).toEqual(["config.json", "model.safetensors.index.json", ...Object.keys(shards)]);
});

test.each(["../../evil.safetensors", "/etc/x.safetensors", "a/b.safetensors", "x.sh", 7])(
  "pullModel() refuses an index that names %j",
  async (name) => {
    serve(hub, {
      id: ID,
      files: { "config.json": CONFIG, "model.safetensors.index.json": bytes(JSON.stringify({ weight_map: { a: name } })) },
    });
    expect(await failure()).toBeInstanceOf(FormatError);
    expect(hub.asked.length).toBe(4);
  },
);

test("pullModel() pulls another revision into a folder of its own", async () => {
  serve(hub, { id: ID, files: FILES, revision: "refs/pr/1" });
  const { path } = await pull(ID, { revision: "refs/pr/1" });
  expect(path).toBe(join(dir, "models", "facebook--dinov2-small@refs--pr--1"));
  expect(hub.asked[0]?.path).toBe(`/${ID}/resolve/refs%2Fpr%2F1/config.json`);
  expect(await resolveCached(ID, { cacheDir: dir })).toBeUndefined();
  expect(await resolveCached(ID, { cacheDir: dir, revision: "refs/pr/1" })).toBe(path);
});

describe("a connection that fails", () => {
  test("is resumed where it was cut, holding the server to the same file", async () => {
    serve(hub, { id: ID, files: FILES });
    change(hub, "model.safetensors", { cut: { afterBytes: 100_000, times: [1, 2] } });
    const { path, fetchedBytes } = await pull();
    const asked = hub.askedFor("model.safetensors");
    const starts = asked.map(({ headers }) => Number(/^bytes=(\d+)-$/.exec(headers.range ?? "bytes=0-")?.[1]));
    expect(starts.length).toBe(3);
    expect(starts[1]).toBeGreaterThan(0);
    expect(starts[2]).toBeGreaterThan(starts[1] ?? 0);
    expect(asked[1]?.headers["if-range"]).toBe(`"${sha256(WEIGHTS)}"`);
    expect(fetchedBytes).toBe(CONFIG.length + PROCESSOR.length + WEIGHTS.length);
    expect(new Uint8Array(await readFile(join(path, "model.safetensors")))).toEqual(WEIGHTS);
    expect(notices.filter((line) => /^model\.safetensors: .*trying again in/.test(line)).length).toBe(2);
  });

  test("is resumed by a later pull when it was given up", async () => {
    serve(hub, { id: ID, files: FILES });
    change(hub, "model.safetensors", { cut: { afterBytes: 150_000, times: [1] } });
    const error = await failure(ID, { retry: { attempts: 1, firstWaitMs: 1 } });
    expect(error).toBeInstanceOf(DownloadError);
    expect(error.message).toMatch(/^Cannot pull "facebook\/dinov2-small": .*; check the network .* pull again: what is here is kept$/);
    expect((await listCache({ cacheDir: dir })).map(({ id, state }) => [id, state])).toEqual([[ID, "unfinished"]]);
    expect(await resolveCached(ID, { cacheDir: dir })).toBeUndefined();
    const { length } = await readFile(partPath());
    expect(length).toBeGreaterThan(0);
    const { fetchedBytes } = await pull();
    expect(hub.askedFor("model.safetensors").at(-1)?.headers.range).toBe(`bytes=${length}-`);
    expect(fetchedBytes).toBe(CONFIG.length + PROCESSOR.length + WEIGHTS.length - length);
  });

  test("is dropped when nothing comes, and resumed", async () => {
    serve(hub, { id: ID, files: FILES });
    change(hub, "model.safetensors", { stall: { afterBytes: 70_000, times: [1] } });
    await pull(ID, { stallMs: 300 });
    expect(hub.askedFor("model.safetensors").map(({ headers }) => headers.range)).toEqual([
      undefined,
      expect.stringMatching(/^bytes=\d+-$/),
    ]);
    expect(notices.join("\n")).toContain("gave nothing for 0.3 s");
  });

  test("is dropped when no answer comes at all", async () => {
    serve(hub, { id: ID, files: FILES });
    change(hub, "config.json", { instead: (_, times) => times === 1 });
    await pull(ID, { stallMs: 300 });
    expect(hub.askedFor("/config.json").length).toBe(2);
  });

  test("is given up when no try brings more than the one before, for a server that gives no ranges", async () => {
    serve(hub, { id: ID, files: FILES, isPlain: true });
    change(hub, "model.safetensors", { headers: {}, cut: { afterBytes: 1000, times: [1, 2, 3, 4, 5, 6, 7, 8] } });
    expect((await failure()).message).toContain("what is here is kept");
    expect(hub.askedFor("model.safetensors").map(({ headers }) => headers.range)).toEqual([undefined, undefined, undefined]);
  });

  test("is given up after some vain tries, and the error says where", async () => {
    await hub.close();
    const { message } = await failure();
    expect(message).toMatch(
      /the connection to 127\.0\.0\.1:\d+ failed \(ECONNREFUSED\) \("config\.json" from 127\.0\.0\.1:\d+\); check the network or set HF_ENDPOINT/,
    );
  });

  test("a busy server is asked again, as soon as it says; one that asks for hours is given up", async () => {
    serve(hub, { id: ID, files: FILES });
    change(hub, "main/config.json", {
      instead: (response, times) => times < 3 && (response.writeHead(times === 1 ? 503 : 429, { "retry-after": "0" }).end(), true),
    });
    await pull();
    expect(hub.askedFor("main/config.json").length).toBe(3);
    change(hub, "main/config.json", { instead: (response) => (response.writeHead(429, { "retry-after": "7200" }).end(), true) });
    expect((await failure(ID, { overwrite: true })).message).toContain("answers 429");
    expect(await resolveCached(ID, { cacheDir: dir })).toBeDefined();
  });

  test("Ctrl-C keeps what is here", async () => {
    serve(hub, { id: ID, files: FILES });
    change(hub, "model.safetensors", { stall: { afterBytes: 90_000, times: [1] } });
    const stop = new AbortController();
    const onProgress = ({ what, done }: Progress): void => void (what.endsWith("model.safetensors") && done > 0 && stop.abort());
    expect((await failure(ID, { signal: stop.signal, onProgress })).name).toBe("AbortError");
    expect((await readFile(partPath())).length).toBeGreaterThan(50_000);
    await pull();
    expect(hub.askedFor("model.safetensors").at(-1)?.headers.range).toMatch(/^bytes=\d+-$/);
  });
});

describe("a file that changes between two parts", () => {
  test("is fetched from its start by If-Range", async () => {
    serve(hub, { id: ID, files: FILES, isPlain: true });
    change(hub, "model.safetensors", { cut: { afterBytes: 100_000, times: [1] } });
    await failure(ID, { retry: { attempts: 1, firstWaitMs: 1 } });
    const other = weightsOf(5);
    serve(hub, { id: ID, files: { ...FILES, "model.safetensors": other }, isPlain: true });
    const { path } = await pull();
    expect(hub.askedFor("resolve/main/model.safetensors").at(-1)?.headers.range).toMatch(/^bytes=\d+-$/);
    expect(new Uint8Array(await readFile(join(path, "model.safetensors")))).toEqual(other);
  });

  test("is not even asked for in part when the hub says another hash, behind a redirect too", async () => {
    await using store = await HubServer.start();
    const behind = (body: Uint8Array): void => {
      serve(hub, { id: ID, files: { ...FILES, "model.safetensors": body } });
      store.files.set("/blob", { body, headers: { etag: '"same"' }, cut: { afterBytes: 100_000, times: [1] } });
      const linked = { "x-linked-etag": `"${sha256(body)}"`, "x-linked-size": String(body.length), "x-repo-commit": COMMIT };
      change(hub, "model.safetensors", {
        instead: (response) => (response.writeHead(302, { location: `${store.url}/blob`, ...linked }).end(), true),
      });
    };
    behind(WEIGHTS);
    await failure(ID, { retry: { attempts: 1, firstWaitMs: 1 } });
    behind(weightsOf(6));
    const { path } = await pull();
    expect(store.asked.map(({ headers }) => headers.range)).toEqual([undefined, undefined]);
    expect(new Uint8Array(await readFile(join(path, "model.safetensors")))).toEqual(weightsOf(6));
  });

  test("is fetched once more when the parts joined are not the file", async () => {
    serve(hub, { id: ID, files: FILES });
    change(hub, "model.safetensors", { cut: { afterBytes: 100_000, times: [1] } });
    await failure(ID, { retry: { attempts: 1, firstWaitMs: 1 } });
    await writeFile(partPath(), new Uint8Array((await readFile(partPath())).length)); // the disk lost it
    const { path } = await pull();
    expect(notices.join("\n")).toContain("the joined parts are not the file");
    expect(new Uint8Array(await readFile(join(path, "model.safetensors")))).toEqual(WEIGHTS);
  });
});

describe("redirects", () => {
  test("are followed, relative and to other hosts; the token goes to the endpoint's own host only", async () => {
    await using store = await HubServer.start();
    serve(hub, { id: ID, files: FILES });
    store.files.set("/blob", { body: WEIGHTS, headers: { etag: '"blob"' } });
    hub.files.set("/moved", { body: PROCESSOR, headers: {} });
    const to = (location: string) => (response: ServerResponse) => (response.writeHead(307, { location }).end(), true);
    change(hub, "preprocessor_config.json", { instead: to("/moved?x=1") });
    change(hub, "model.safetensors", { instead: to(`${store.url}/blob?signature=secret`) });
    await pull(ID, { token: "hf_secret" });
    expect(hub.asked.map(({ headers }) => headers.authorization)).toEqual(Array<string>(hub.asked.length).fill("Bearer hf_secret"));
    expect(hub.askedFor("/moved?x=1").length).toBe(1);
    expect(store.asked.length).toBe(1);
    expect(store.asked[0]?.headers).not.toHaveProperty("authorization");
    expect(JSON.stringify(store.asked)).not.toContain("hf_secret");
  });

  test.each(["file:///etc/passwd", "ftp://127.0.0.1/x", "http://user:pass@127.0.0.1/x"])("to %s are not followed", async (location) => {
    serve(hub, { id: ID, files: FILES });
    change(hub, "config.json", { instead: (response) => (response.writeHead(302, { location }).end(), true) });
    const { message } = await failure();
    expect(message).toContain("which is not followed");
    expect(message).not.toContain("pass");
  });

  test("in a circle end", async () => {
    serve(hub, { id: ID, files: FILES });
    change(hub, "config.json", {
      instead: (response) => (response.writeHead(302, { location: `/${ID}/resolve/main/config.json` }).end(), true),
    });
    expect((await failure()).message).toContain("redirects more than 10 times");
    expect(hub.asked.length).toBe(11);
  });
});

describe("refusals", () => {
  const refuse = (status: number, headers: Record<string, string>): void =>
    void hub.files.set(`/${ID}/resolve/main/config.json`, {
      body: CONFIG,
      instead: (response) => (response.writeHead(status, headers).end(), true),
    });

  test.each([
    [
      401,
      { "x-error-code": "GatedRepo" },
      "",
      /its authors must let you in \(401\).*; open .*dinov2-small, accept the licence, make a token .* set HF_TOKEN/,
    ],
    [
      403,
      { "x-error-code": "GatedRepo", "x-error-message": "Access restricted" },
      "t",
      /\(the server says: Access restricted\); open .* with the account of HF_TOKEN/,
    ],
    [401, { "x-error-code": "RepoNotFound" }, "", /no such repository, or it is private or gated \(401\); check the id, or set HF_TOKEN/],
    [404, { "x-error-code": "RepoNotFound" }, "", /there is no such repository \(404\); check the id/],
    [404, { "x-error-code": "RevisionNotFound" }, "", /no revision "main" \(404\); check --revision/],
    [404, {}, "", /it has no config\.json at revision "main"; check the id/],
    [418, {}, "", /answers 418; check the id and HF_ENDPOINT/],
  ])("%i %j says what to do", async (status, headers, token, message) => {
    refuse(status, headers);
    const error = await failure(ID, { token });
    expect(error).toBeInstanceOf(DownloadError);
    expect(error.message).toMatch(message);
    expect(hub.asked.length).toBe(1);
  });

  test("a repository without weights says which were looked for", async () => {
    serve(hub, { id: ID, files: { "config.json": CONFIG } });
    expect((await failure()).message).toMatch(/no model\.safetensors, model\.safetensors\.index\.json or pytorch_model\.bin/);
  });

  test("a gated repository names timm's copy, which is not", async () => {
    const id = "facebook/dinov3-vits16-pretrain-lvd1689m";
    hub.files.set(`/${id}/resolve/main/config.json`, {
      body: CONFIG,
      instead: (response) => (response.writeHead(401, { "x-error-code": "GatedRepo" }).end(), true),
    });
    expect((await failure(id)).message).toMatch(/pull timm's copy under the same licence, timm\/vit_small_patch16_dinov3\.lvd1689m$/);
  });

  test("weights under an agreement want --yes, after the repository let us in and before any of them comes", async () => {
    const id = "facebook/dinov3-vits16-pretrain-lvd1689m";
    serve(hub, { id, files: FILES });
    const error = await failure(id);
    expect(error).toBeInstanceOf(UsageError);
    expect(error.message).toMatch(/DINOv3 License.*; read https:\/\/ai\.meta\.com\S+ and add --yes/);
    expect(notices[0]).toContain("DINOv3 License");
    expect(hub.asked.length).toBe(1);
    expect((await pull(id, { accept: true })).licence).toBe("dinov3");
  });
});

describe("what is not the file", () => {
  test("a wrong checksum is refused and nothing is kept", async () => {
    serve(hub, { id: ID, files: FILES });
    const wrong = WEIGHTS.slice();
    wrong[WEIGHTS.length - 5]! ^= 1; // within the file
    change(hub, "model.safetensors", { body: wrong });
    const error = await failure();
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toContain(`its sha256 is ${sha256(wrong)}, ${sha256(WEIGHTS)} is wanted`);
    expect(existsSync(partPath())).toBe(false);
    expect(await resolveCached(ID, { cacheDir: dir })).toBeUndefined();
  });

  test("a hash in the store's own ETag on a redirect is not taken for the file's", async () => {
    serve(hub, { id: ID, files: FILES });
    hub.files.set("/blob", { body: WEIGHTS });
    const headers = { location: "/blob", "x-repo-commit": COMMIT, etag: `"${"a".repeat(64)}"` };
    change(hub, "model.safetensors", { instead: (response) => (response.writeHead(302, headers).end(), true) });
    expect((await pull()).files.at(-1)?.checkedBy).toBe("size");
  });

  test("a body that the server packs is unpacked and checked", async () => {
    serve(hub, { id: ID, files: FILES });
    const { headers } = hub.files.get(`/${ID}/resolve/${COMMIT}/preprocessor_config.json`) ?? expect.fail();
    const packed = { ...headers, "content-encoding": "gzip" };
    change(hub, "preprocessor_config.json", { instead: (response) => (response.writeHead(200, packed).end(gzipSync(PROCESSOR)), true) });
    expect(new Uint8Array(await readFile(join((await pull()).path, "preprocessor_config.json")))).toEqual(PROCESSOR);
  });

  test("a wrong git hash of a small file is refused", async () => {
    serve(hub, { id: ID, files: FILES });
    change(hub, "config.json", { body: bytes('{"model_type":"dinov9"}') });
    expect((await failure()).message).toContain("its git hash is");
  });

  test("another size than the hub said is refused", async () => {
    serve(hub, { id: ID, files: FILES });
    change(hub, "model.safetensors", { headers: { "x-linked-size": String(WEIGHTS.length - 8) } });
    expect((await failure()).message).toContain(`it has ${WEIGHTS.length} bytes, ${WEIGHTS.length - 8} are wanted`);
  });

  test("the pointer of git-lfs gives the checksum where headers have none", async () => {
    serve(hub, { id: ID, files: FILES, isPlain: true });
    const pointer = (hash: string): Uint8Array =>
      bytes(`version https://git-lfs.github.com/spec/v1\noid sha256:${hash}\nsize ${WEIGHTS.length}\n`);
    hub.files.set(`/${ID}/raw/main/model.safetensors`, { body: pointer("0".repeat(64)) });
    expect((await failure()).message).toContain(`${"0".repeat(64)} is wanted`);
    hub.files.set(`/${ID}/raw/main/model.safetensors`, { body: pointer(sha256(WEIGHTS)) });
    expect((await pull()).files.at(-1)?.checkedBy).toBe("sha256");
  });

  const PAGE = bytes("\n<!DOCTYPE html><html><body>Log in to the network</body></html>");
  test.each([
    ["text/html", PAGE, /the server gave a web page \(HTML\); check HF_ENDPOINT/],
    ["application/octet-stream", PAGE, /the server gave a web page \(HTML\)/],
    ["application/octet-stream", bytes("version https://git-lfs.github.com/spec/v1\noid sha256:ab\n"), /git-lfs pointer/],
    ["application/octet-stream", bytes('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'), /an XML message/],
    ["application/octet-stream", WEIGHTS.subarray(0, 5000), /no whole safetensors file/],
  ])("%s that is no weights is recognised (%#)", async (type, body, message) => {
    serve(hub, { id: ID, files: FILES, isPlain: true });
    change(hub, "model.safetensors", { body, headers: { "content-type": type } });
    const error = await failure();
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toMatch(message);
    expect(hub.askedFor("resolve/main/model.safetensors").length).toBe(1);
  });

  test("config that is no JSON is refused before the weights", async () => {
    serve(hub, { id: ID, files: { ...FILES, "config.json": bytes("{") } });
    expect((await failure()).message).toContain('Cannot pull "config.json": it is not JSON');
    expect(hub.asked.length).toBe(1);
  });
});

describe("a full disk", () => {
  test("is seen before anything is written, when the size is known", async () => {
    serve(hub, { id: ID, files: FILES });
    change(hub, "model.safetensors", { headers: { "x-linked-size": "900000000000000" } });
    const error = await failure();
    expect(error).toBeInstanceOf(PlatformError);
    expect(error.message).toContain("the disk is full");
    expect(existsSync(partPath())).toBe(false);
  });

  test("in the middle keeps what is here, and the next pull goes on", async () => {
    serve(hub, { id: ID, files: FILES });
    const script = `process.on("SIGXFSZ", () => {});
      const { pullModel } = await import(${JSON.stringify(new URL("./index.ts", import.meta.url).href)});
      await pullModel(${JSON.stringify(ID)}, ${JSON.stringify({ cacheDir: dir, endpoint: hub.url, token: "" })})
        .catch((e) => console.log(e.name, e.message));`;
    // 100 blocks of 512 or 1024 bytes: less than the weights
    const { stdout } = await promisify(execFile)("sh", [
      "-c",
      `trap '' XFSZ; ulimit -f 100; exec "$0" --input-type=module -e "$1"`,
      process.execPath,
      script,
    ]);
    expect(stdout).toMatch(/^PlatformError Cannot write .*the disk is full; free some space .* it goes on where it stopped/);
    await pull();
    expect(hub.askedFor("model.safetensors").at(-1)?.headers.range).toMatch(/^bytes=(51200|102400)-$/);
  });
});

test("two pulls at once take turns: one downloads, the other finds it in the cache", async () => {
  serve(hub, { id: ID, files: FILES });
  const [a, b] = await Promise.all([pull(), pull()]);
  expect([a.fetchedBytes, b.fetchedBytes].toSorted((x, y) => x - y)[0]).toBe(0);
  expect(a.path).toBe(b.path);
  expect(hub.askedFor("model.safetensors").length).toBe(1);
  expect(notices.join("\n")).toContain('Another process pulls "facebook/dinov2-small"; waiting for it');
});

test("a pull that was killed is gone on with by the next one, without waiting for its lock", async () => {
  serve(hub, { id: ID, files: FILES });
  change(hub, "model.safetensors", { stall: { afterBytes: 120_000, times: [1] } });
  const script = `const { pullModel } = await import(${JSON.stringify(new URL("./index.ts", import.meta.url).href)});
    await pullModel(${JSON.stringify(ID)}, ${JSON.stringify({ cacheDir: dir, endpoint: hub.url, token: "" })});`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "ignore" });
  await expect
    .poll(
      () =>
        stat(partPath()).then(
          ({ size }) => size,
          () => 0,
        ),
      { timeout: 20_000 },
    )
    .toBeGreaterThan(50_000);
  expect((await listCache({ cacheDir: dir })).map(({ state }) => state)).toEqual(["busy"]);
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
  expect((await listCache({ cacheDir: dir })).map(({ state }) => state)).toEqual(["unfinished"]);
  const { path } = await pull();
  expect(hub.askedFor("model.safetensors").at(-1)?.headers.range).toMatch(/^bytes=\d+-$/);
  expect(notices.join("\n")).not.toContain("Another process");
  expect(new Uint8Array(await readFile(join(path, "model.safetensors")))).toEqual(WEIGHTS);
});

test("two processes at once take turns", async () => {
  serve(hub, { id: ID, files: FILES });
  change(hub, "main/config.json", { instead: (response) => (setTimeout(() => response.end(CONFIG), 700), true) });
  const script = `const { pullModel } = await import(${JSON.stringify(new URL("./index.ts", import.meta.url).href)});
    console.log((await pullModel(${JSON.stringify(ID)}, ${JSON.stringify({ cacheDir: dir, endpoint: hub.url, token: "" })})).fetchedBytes);`;
  const run = (): Promise<{ stdout: string }> => promisify(execFile)(process.execPath, ["--input-type=module", "-e", script]);
  const fetched = (await Promise.all([run(), run()])).map(({ stdout }) => Number(stdout)).toSorted((a, b) => a - b);
  expect(fetched).toEqual([0, CONFIG.length + PROCESSOR.length + WEIGHTS.length]);
  expect(hub.askedFor("model.safetensors").length).toBe(1);
});

test("a cache that cannot be written to says so", async () => {
  await writeFile(join(dir, "file"), "");
  serve(hub, { id: ID, files: FILES });
  const error = await failure(ID, { cacheDir: join(dir, "file") });
  expect(error).toBeInstanceOf(PlatformError);
  expect(error.message).toMatch(/^Cannot write to the cache ".*": it cannot be written to \(ENOTDIR\); set TRICERA_CACHE/);
  expect(hub.asked).toEqual([]);
});

test("a model that lost a part of a file is pulled again", async () => {
  serve(hub, { id: ID, files: FILES });
  const { path } = await pull();
  await truncate(join(path, "model.safetensors"), 100);
  expect(await resolveCached(ID, { cacheDir: dir })).toBeUndefined();
  expect((await pull()).fetchedBytes).toBeGreaterThan(WEIGHTS.length);
  expect((await readFile(join(path, "model.safetensors"))).length).toBe(WEIGHTS.length);
});

test("overwrite fetches anew and the old model stays until the new one is whole", async () => {
  serve(hub, { id: ID, files: FILES });
  const { path } = await pull();
  serve(hub, { id: ID, files: { ...FILES, "model.safetensors": weightsOf(9) }, commit: "d".repeat(40) });
  change(hub, "model.safetensors", { cut: { afterBytes: 10, times: [1] } });
  await failure(ID, { overwrite: true, retry: { attempts: 1, firstWaitMs: 1 } });
  expect(new Uint8Array(await readFile(join(path, "model.safetensors")))).toEqual(WEIGHTS);
  expect(await pull(ID, { overwrite: true })).toMatchObject({ path, commit: "d".repeat(40) });
  expect(new Uint8Array(await readFile(join(path, "model.safetensors")))).toEqual(weightsOf(9));
});

test("a repository that the catalogue does not know says its licence by its card, before the weights", async () => {
  const id = "someone/own-vit";
  serve(hub, { id, files: { ...FILES, "README.md": bytes("---\ntags:\n- vit\nlicense: cc-by-nc-4.0\n---\n# Model\n") } });
  const { licence, files } = await pull(id);
  expect(licence).toBe("cc-by-nc-4.0");
  expect(files.map(({ name }) => name)).toContain("README.md");
  expect(notices[0]).toContain('"cc-by-nc-4.0" by its model card');
  expect(hub.asked.map(({ path }) => path.split("/").at(-1))).toEqual([
    "config.json",
    "README.md",
    "preprocessor_config.json",
    "model.safetensors",
  ]);
});

describe("Meta's files", () => {
  const TORCH = Uint8Array.from({ length: 5000 }, (_, i) => (i === 0 ? 0x50 : i === 1 ? 0x4b : i % 251));

  test("are pulled by their ids from a link of one's own, checked by the sha256 given; the token stays at home", async () => {
    await using store = await HubServer.start();
    store.files.set("/d/dino_deitsmall16_pretrain.pth", { body: TORCH, headers: { etag: '"x"' } });
    const url = `${store.url}/d/dino_deitsmall16_pretrain.pth?Signature=secret`;
    const result = await pull("dino_vits16", { url, sha256: sha256(TORCH).toUpperCase(), token: "hf_secret" });
    expect(result.path).toBe(join(dir, "models", "dino_vits16", "dino_deitsmall16_pretrain.pth"));
    expect(result.files[0]?.checkedBy).toBe("sha256");
    expect(store.asked[0]?.headers).not.toHaveProperty("authorization");
    expect(await readFile(join(dir, "models", "dino_vits16", "tricera-model.json"), "utf8")).not.toContain("secret");
    expect(await resolveCached("dino_vits16", { cacheDir: dir })).toBe(result.path);
  });

  test("say what to do when the link is gated or has expired, and without the signature", async () => {
    await using store = await HubServer.start();
    store.files.set("/x.pth", { body: TORCH, instead: (response) => (response.writeHead(403).end(), true) });
    const error = await failure("dinov3_vits16", { url: `${store.url}/x.pth?Signature=secret`, accept: true });
    expect(error.message).toMatch(
      /Meta gives these files by links of one's own \(403\); ask for one at https:\S+ and pull with --url "LINK"/,
    );
    expect(JSON.stringify([error.message, error, notices])).not.toContain("secret");
  });

  test("are refused where they are no file of PyTorch", async () => {
    await using store = await HubServer.start();
    store.files.set("/x.pth", { body: bytes("not found") });
    expect((await failure("dino_vits16", { url: `${store.url}/x.pth` })).message).toContain("no file of PyTorch");
  });

  test("a name's mark that is not the beginning of the hash is said", async () => {
    await using store = await HubServer.start();
    store.files.set("/a-12345678.pth", { body: TORCH });
    await pull("dinov3_vits16", { url: `${store.url}/a-12345678.pth`, accept: true });
    expect(notices.at(-1)).toContain("not with the 12345678 of its name");
  });

  test.each([
    ["dino_vits16", { revision: "v1" }, /Meta's files have no revisions/],
    ["dino_vits16", { sha256: "12" }, /wanted 64 hexadecimal digits/],
    ["dino_vits16", { url: "ftp://x/y" }, /wanted an http or https address/],
    [ID, { url: "http://x/y" }, /leave --url and --sha256 out/],
    ["dino_vits15", {}, /did you mean "dino_vits16"\?/],
    ["dino_vitt16", {}, /none were released/],
    [ID, { revision: "../x" }, /no branch, tag or commit/],
  ])("%s %j is refused before anything is asked", async (id, options, message) => {
    expect((await failure(id, options)).message).toMatch(message);
    expect(hub.asked).toEqual([]);
  });
});
