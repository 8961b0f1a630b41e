import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BundledFile, bundleWeb, whyNoBundle } from "./testing/bundle.ts";

const missing = whyNoBundle();

describe.skipIf(missing !== undefined)(`tricera/web in a bundle${missing === undefined ? "" : ` (${missing})`}`, () => {
  let dir = "";
  let files: readonly BundledFile[] = [];
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "tricera bundle "));
    files = await bundleWeb(dir);
  });
  afterAll(() => rm(dir, { recursive: true }));

  const own = (): BundledFile => files.find((file) => file.name === "web.js")!; // the entry's name

  test("is at most 150 KB gzip without the runtime, which comes in files of its own", () => {
    expect(gzipSync(own().text).length).toBeLessThanOrEqual(150 * 1024);
    expect(own().modules.filter((file) => file.includes("onnxruntime"))).toEqual([]);
    expect(files.filter((file) => file.modules.some((m) => m.includes("onnxruntime-web")))).toHaveLength(2);
  });

  test("needs nothing of Node", async () => {
    const asked = own().text.match(/\bfrom\s*["`']node:|\bimport\(\s*["`']node:|\brequire\(|externalized for browser/g);
    expect(asked).toBeNull();
    const sources = own().modules.filter((file) => file.includes("/src/") && !file.includes("/node_modules/"));
    const texts = await Promise.all(sources.map((file) => readFile(file, "utf8")));
    const asking = sources.filter((_, i) => /\bfrom "node:/.test(texts[i] ?? ""));
    expect(asking).toEqual([]);
    expect(sources.length).toBeGreaterThan(50);
    expect(own().modules.filter((file) => /\/(?:sharp|koffi|onnxruntime-node|yaml)\//.test(file))).toEqual([]);
  });
});
