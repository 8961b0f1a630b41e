import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { PlatformError, type Progress } from "../../core/index.ts";
import { DownloadError, listCache, resolveCached } from "./index.ts";
import { change, COMMIT, HubServer, serve, sha256 } from "./testing/hub-server.ts";
import { CONFIG, dir, failure, FILES, hub, ID, notices, partPath, PROCESSOR, pull, WEIGHTS, weightsOf } from "./testing/pull-setup.ts";

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
