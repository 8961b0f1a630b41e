/** @file What goes wrong in browsers and on the way to them, each told by an error that says what to do. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { writePicture, writeTinyModel } from "../features/testing/tiny-model.ts";
import { bundleWeb, whyNoBrowser } from "./testing/bundle.ts";
import { openChromium } from "./testing/chromium.ts";
import { serveStatic, type StaticServer } from "./testing/static-server.ts";
import type { loadModel, LoadModelOptions } from "./load-model.ts";

interface Inside {
  readonly tricera: { readonly loadModel: typeof loadModel; clearWeights(): Promise<void> };
  readonly WebAssembly: { readonly Memory: { readonly prototype: { grow(pages: number): number } } };
}

const PAGE = `<!doctype html><script type="module">import * as tricera from "/web.js"; globalThis.tricera = tricera;</script>`;

/** What Safari 17 and Firefox of 2024 lack. Symbols cannot be deleted, so that `Symbol` is another one without them. */
const OLD_BROWSER = `
  const all = Symbol;
  const own = new Map();
  globalThis.Symbol = new Proxy(function () {}, {
    apply: (_, __, args) => all(...args),
    get: (_, key) => own.get(key) ?? (key === "dispose" || key === "asyncDispose" ? undefined : all[key]),
    has: (_, key) => own.has(key) || (key !== "dispose" && key !== "asyncDispose" && key in all),
    defineProperty: (_, key, { value }) => (own.set(key, value), Reflect.defineProperty(_, key, { value, configurable: true })),
  });
  delete globalThis.SuppressedError;
  delete globalThis.DisposableStack;
  delete globalThis.Iterator;
  for (const name of ["map", "filter", "take", "drop", "flatMap", "reduce", "toArray", "forEach", "some", "every", "find"])
    delete Object.getPrototypeOf(Object.getPrototypeOf([].values()))[name];
  for (const name of ["union", "intersection", "difference", "isSubsetOf", "isSupersetOf", "isDisjointFrom"]) delete Set.prototype[name];
  delete URL.parse; delete Promise.try; delete RegExp.escape; delete Math.sumPrecise; delete globalThis.Float16Array;
  delete Uint8Array.fromBase64; delete Array.fromAsync; delete Error.isError;
`;

const missing = whyNoBrowser();

describe.skipIf(missing !== undefined)(`tricera/web in trouble${missing === undefined ? "" : ` (${missing})`}`, () => {
  let root = "";
  let browser: Browser;
  let server: StaticServer;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "tricera troubles "));
    await bundleWeb(join(root, "dist"), "./inside.ts");
    await writeTinyModel(join(root, "tiny"));
    await writePicture(join(root, "1.png"), { colour: [10, 20, 200], seed: 1 });
    browser = await openChromium();
    server = await serveStatic([join(root, "dist"), root]);
  });
  afterEach(async () => {
    server.special = undefined;
    server.asked.length = 0;
    for (const context of browser.contexts()) await context.close();
  });
  afterAll(async () => {
    await browser?.close();
    await server?.[Symbol.asyncDispose]();
    await rm(root, { recursive: true });
  });

  /** A page of a browser of its own, with nothing in its cache; `before` runs in it first. */
  async function openPage(before?: string, path = "/"): Promise<Page> {
    const special = server.special;
    server.special = (asked, request, response) => {
      if (special?.(asked, request, response) === true) return true;
      if (asked !== path) return false;
      response.setHeader("content-type", "text/html");
      response.end(PAGE);
      return true;
    };
    const page = await (await browser.newContext()).newPage();
    if (before !== undefined) await page.addInitScript(before);
    await page.goto(server.origin + path);
    await page.waitForFunction("globalThis.tricera !== undefined");
    return page;
  }

  /** Class token of the picture, or the error. */
  function embed(page: Page, options: LoadModelOptions = {}): Promise<number[] | string> {
    return page.evaluate(async (ask) => {
      const { tricera } = globalThis as unknown as Inside; // put there by the page
      try {
        const model = await tricera.loadModel("/tiny/", ask);
        try {
          return [...(await model.embed("/1.png")).cls];
        } finally {
          await model.dispose();
        }
      } catch (error) {
        return String(error);
      }
    }, options);
  }

  /** Answers a path in another way. */
  function onPath(path: string, answer: (response: Parameters<NonNullable<StaticServer["special"]>>[2]) => void): void {
    server.special = (asked, _, response) => {
      if (asked !== path) return false;
      answer(response);
      return true;
    };
  }

  const fetched = (): number => server.asked.filter((a) => a.path.startsWith("/tiny/")).length;

  test("a browser of 2024 gives what a new one gives", async () => {
    const wanted = await embed(await openPage());
    expect(wanted).toHaveLength(12);
    expect(await embed(await openPage(OLD_BROWSER))).toEqual(wanted);
  });

  test.each<[string, string, RegExp]>([
    [
      "WebAssembly",
      "delete globalThis.WebAssembly",
      /^PlatformError: Cannot run models: this browser has no WebAssembly, .*use another one$/,
    ],
    ["its SIMD", "WebAssembly.validate = () => false", /^PlatformError: Cannot run models: .* has no SIMD; use Chrome 116, /],
  ])("without %s: told before any weights are fetched", async (_, before, message) => {
    expect(await embed(await openPage(before))).toMatch(message);
    expect(server.asked.filter((a) => a.path.endsWith(".safetensors"))).toEqual([]);
  });

  test("a Content-Security-Policy that forbids WebAssembly is named", async () => {
    onPath("/strict", (response) => {
      response.setHeader("content-type", "text/html");
      response.setHeader("content-security-policy", "script-src 'self' 'unsafe-inline'");
      response.end(PAGE);
    });
    expect(await embed(await openPage(undefined, "/strict"))).toMatch(
      /may not compile WebAssembly \(.*\); add 'wasm-unsafe-eval' to script-src/,
    );
  });

  test("a .wasm file that is not served is told by loadModel(), with what to do", async () => {
    server.special = (asked, _, response) => {
      if (!asked.endsWith(".wasm")) return false;
      response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>"); // as servers of one page do
      return true;
    };
    const page = await openPage();
    expect(await embed(page)).toMatch(
      /^PlatformError: Cannot start onnxruntime-web on wasm: .*check that its \.wasm file is served .*wasmPaths/s,
    );
  });

  test("weights that are not there, or a page in their place", async () => {
    const page = await openPage();
    onPath("/tiny/model.safetensors", (response) => response.writeHead(404).end());
    expect(await embed(page)).toMatch(/^FormatError: Cannot open model "\/tiny\/": it has no model\.safetensors; give the files/);
    onPath("/tiny/model.safetensors", (response) => response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>"));
    expect(await embed(page)).toMatch(/it has no model\.safetensors/);
    onPath("/tiny/model.safetensors", (response) => response.writeHead(200).end("<!DOCTYPE html><title>Sign in</title>"));
    expect(await embed(page)).toMatch(/^FormatError: Cannot read weights of ".*": it is a web page, saved instead of the weights; /);
    onPath("/tiny/config.json", (response) => response.writeHead(200).end("<!DOCTYPE html>"));
    expect(await embed(page, { cache: "reload" })).toMatch(/^FormatError: Cannot open model: ".*\/config\.json" is not JSON; /);
  });

  test("a server without ranges serves, too", async () => {
    const page = await openPage();
    const wanted = await embed(page);
    const ranges = server.special;
    server.special = (path, request, response) => {
      delete request.headers.range;
      return ranges?.(path, request, response) === true;
    };
    expect(await embed(page, { cache: "reload" })).toEqual(wanted);
  });

  test("a full cache does not stop a load", async () => {
    const page = await openPage();
    const wanted = await embed(page);
    await page.evaluate(() => (globalThis as unknown as Inside).tricera.clearWeights());
    const session = await page.context().newCDPSession(page);
    await session.send("Storage.overrideQuotaForOrigin", { origin: server.origin, quotaSize: 1 });
    const before = fetched();
    expect(await embed(page)).toEqual(wanted);
    expect(await embed(page)).toEqual(wanted);
    expect(fetched()).toBe(before + 6); // nothing was kept: both loads fetched three files
  });

  test('cache: "check" sees that a file changed, and does without a server', async () => {
    const page = await openPage();
    const wanted = await embed(page, { cache: "check" });
    const first = fetched();
    expect(await embed(page, { cache: "check" })).toEqual(wanted);
    expect(fetched()).toBe(2 * first);
    const changed = { image_mean: [0.1, 0.2, 0.3], image_std: [1, 1, 1], size: { height: 16, width: 16 }, resample: 3 };
    onPath("/tiny/preprocessor_config.json", (r) => r.writeHead(200, { etag: '"new"' }).end(JSON.stringify(changed)));
    expect(await embed(page)).toEqual(wanted);
    const other = await embed(page, { cache: "check" });
    expect(other).toHaveLength(12);
    expect(other).not.toEqual(wanted);
    server.special = (path, _, response) => path.startsWith("/tiny/") && response.destroy() !== undefined;
    expect(await embed(page, { cache: "check" })).toEqual(other);
    expect(await embed(page, { cache: "reload" })).toMatch(/no answer \(Failed to fetch\); check the address/);
  });

  test("a load is stopped in the middle of a download, and the next one goes on", async () => {
    const page = await openPage();
    const wanted = await embed(page, { cache: "none" });
    let asked: (() => void) | undefined;
    const isAsked = new Promise<void>((resolve) => (asked = resolve));
    server.special = (path) => path === "/tiny/model.safetensors" && (asked?.(), true); // and no answer, ever
    const stopped = page.evaluate(async () => {
      const { tricera } = globalThis as unknown as Inside; // as above
      const stop = new AbortController();
      Object.assign(globalThis, { stop: () => stop.abort(new Error("enough")) });
      return await tricera.loadModel("/tiny/", { signal: stop.signal }).then(() => "loaded", String);
    });
    await isAsked;
    await page.evaluate("stop()");
    expect(await stopped).toBe("Error: enough");
    server.special = undefined;
    server.asked.length = 0;
    expect(await embed(page)).toEqual(wanted);
    expect(server.asked.filter((a) => a.path === "/tiny/config.json")).toEqual([]);
  });

  test("a picture's fetch is stopped, too", async () => {
    const page = await openPage();
    server.special = (path) => path === "/1.png"; // no answer, ever
    const said = await page.evaluate(async () => {
      const { tricera } = globalThis as unknown as Inside; // as above
      const model = await tricera.loadModel("/tiny/");
      return await model.embed("/1.png", { signal: AbortSignal.timeout(300) }).then(() => "", String);
    });
    expect(said).toMatch(/^TimeoutError/);
  });

  test("memory that runs out is told as such, with what to do", async () => {
    const page = await openPage();
    const said = await page.evaluate(async () => {
      const { tricera } = globalThis as unknown as Inside; // as above
      const model = await tricera.loadModel("/tiny/", { resize: "multiple" });
      await model.embed("/1.png");
      const { prototype } = (globalThis as unknown as Inside).WebAssembly.Memory;
      prototype.grow = () => {
        throw new RangeError("no memory");
      };
      const long = { data: new Uint8Array(16 * 32_000 * 3), width: 16, height: 32_000 }; // 32,000 patches: 4 GB of scores a head
      return await model.embed(long).then(() => "embedded", String);
    });
    expect(said).toMatch(
      /^PlatformError: Cannot run the network on wasm: onnxruntime-web failed \(.*\); reload the page, and give smaller/s,
    );
  });

  test.each<[string, unknown, RegExp]>([
    ["nothing", undefined, /^ConfigError: Cannot load undefined: it is no model; give an id/],
    ["a number", 7, /^ConfigError: Cannot load number: it is no model/],
    ["an empty name", "", /^ConfigError: Cannot load model "": /],
    ["an empty list", [], /^ConfigError: Cannot load a model: there are no files/],
  ])("loadModel() refuses %s", async (_, model, message) => {
    const page = await openPage();
    const said = await page.evaluate(async (source) => {
      const { tricera } = globalThis as unknown as Inside; // as above
      return await tricera.loadModel(source as string).then(() => "loaded", String);
    }, model);
    expect(said).toMatch(message);
  });

  test("embed() refuses what is no picture, loadModel() words that are none", async () => {
    const page = await openPage();
    const said = await page.evaluate(async (origin) => {
      const { tricera } = globalThis as unknown as Inside; // as above
      const model = await tricera.loadModel(new URL("/tiny/", origin));
      const refused = (picture: unknown): Promise<string> => model.embed(picture as string).then(() => "embedded", String);
      const loaded = (options: object): Promise<string> => tricera.loadModel("/tiny/", options).then(() => "loaded", String);
      return [await refused(7), await refused(null), await loaded({ device: "cpu" }), await loaded({ cache: "always" })];
    }, server.origin);
    expect(said[0]).toMatch(/^FormatError: Cannot embed number: it is no picture; give a URL, a file/);
    expect(said[1]).toMatch(/^FormatError: Cannot embed null/);
    expect(said[2]).toMatch(/^ConfigError: Cannot run on "cpu": there is no such device; use wasm, webgpu or auto/);
    expect(said[3]).toMatch(/^ConfigError: Cannot cache by "always"/);
  });
});
