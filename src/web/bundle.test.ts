import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
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

  test("is as small as what a page imports of it: the package says that its modules only declare", async () => {
    const entry = join(dir, "entry.js");
    await writeFile(
      entry,
      `export { bestPatch, similarityMap } from ${JSON.stringify(fileURLToPath(new URL("../web.ts", import.meta.url)))};`,
    );
    const [few] = await bundleWeb(join(dir, "few"), pathToFileURL(entry).href);
    expect(gzipSync(few?.text ?? "").length).toBeLessThanOrEqual(2 * 1024);
    expect(few?.text).toContain("Cannot compare patch");
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
