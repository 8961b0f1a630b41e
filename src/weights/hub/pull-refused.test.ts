import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { FormatError, UsageError } from "../../core/index.ts";
import { DownloadError, resolveCached } from "./index.ts";
import { change, COMMIT, HubServer, serve, sha256 } from "./testing/hub-server.ts";
import { bytes, CONFIG, dir, failure, FILES, hub, ID, notices, partPath, PROCESSOR, pull, WEIGHTS } from "./testing/pull-setup.ts";

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
