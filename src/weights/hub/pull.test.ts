import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { FormatError, PlatformError, type Progress } from "../../core/index.ts";
import { listCache, resolveCached } from "./index.ts";
import { change, COMMIT, HubServer, serve, sha256 } from "./testing/hub-server.ts";
import {
  bytes,
  CONFIG,
  dir,
  failure,
  FILES,
  hub,
  ID,
  notices,
  partPath,
  PROCESSOR,
  pull,
  WEIGHTS,
  weightsOf,
} from "./testing/pull-setup.ts";

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
