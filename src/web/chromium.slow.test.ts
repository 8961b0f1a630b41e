import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ImageFeatures, loadModel } from "../features/index.ts";
import { randomWeights, TINY, writePicture, writeTinyModel } from "../features/testing/tiny-model.ts";
import { decodeImage } from "../images/node/index.ts";
import { PIL_CASES } from "../images/testing/pil-cases.ts";
import type { BackboneConfig, ViTConfig } from "../nn/index.ts";
import { writeModelFolder } from "../weights/index.ts";
import { randomBackbone, TINY_CONVNEXT } from "../weights/testing/random-weights.ts";
import { bundleWeb, whyNoBrowser } from "./testing/bundle.ts";
import { openChromium } from "./testing/chromium.ts";
import type { loadModel as loadInPage, LoadModelOptions } from "./load-model.ts";
import type { readWebPicture } from "./read-picture.ts";
import { serveStatic, type StaticServer } from "./testing/static-server.ts";

const REGISTERS: ViTConfig = { ...TINY, registers: 2, layerScale: 1, maskToken: true, posInterpolation: "size-antialias" };
const ROPE: ViTConfig = {
  ...REGISTERS,
  width: 16,
  registerName: "storage_tokens",
  positions: "rope",
  keyBiasMask: true,
  ffn: "swiglu",
  ffnHidden: 24,
  rope: { base: 100, normalize: "separate" },
};

/** Features as they come out of the page. */
type Plain = { readonly [K in "cls" | "registers" | "patches" | "attention"]: number[] } & { readonly grid: unknown };

interface Inside {
  readonly tricera: { readonly loadModel: typeof loadInPage; readonly readWebPicture: typeof readWebPicture };
}

interface Ask {
  readonly model: string;
  readonly picture: string;
  readonly options?: LoadModelOptions;
}

/** A browser scales greys of 16 bits, where Pillow clips them. */
const PIL_NAMES = Object.keys(PIL_CASES).filter((name) => name !== "g16.png");
const PAGE = `<!doctype html><script type="module">import * as tricera from "/web.js"; globalThis.tricera = tricera;</script>`;

const missing = whyNoBrowser();

describe.skipIf(missing !== undefined)(`tricera/web in Chromium${missing === undefined ? "" : ` (${missing})`}`, () => {
  let root = "";
  let browser: Browser;
  let server: StaticServer;
  let page: Page;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "tricera web "));
    await bundleWeb(join(root, "dist"), "./inside.ts");
    await writeTinyModel(join(root, "plain"));
    await writeTinyModel(join(root, "registers"), { config: REGISTERS });
    await writeModelFolder(join(root, "convnext"), { config: TINY_CONVNEXT, tensors: randomBackbone(TINY_CONVNEXT) });
    await writeModelFolder(join(root, "rope"), { config: ROPE, tensors: randomWeights(ROPE, 3) });
    await writePicture(join(root, "1.png"), { colour: [10, 20, 200], seed: 1 });
    await writeFile(join(root, "index.html"), PAGE);
    browser = await openChromium();
    server = await serveStatic([join(root, "dist"), root]);
    page = await browser.newPage();
    await page.goto(server.origin);
    await page.waitForFunction("globalThis.tricera !== undefined");
  });
  afterAll(async () => {
    await browser?.close();
    await server?.[Symbol.asyncDispose]();
    await rm(root, { recursive: true });
  });

  /** What a page computes. */
  function inPage(ask: Ask): Promise<Plain> {
    return page.evaluate(async ({ model: path, picture, options = {} }) => {
      const { tricera } = globalThis as unknown as Inside; // put there by the page
      const model = await tricera.loadModel(path, options);
      try {
        const f = await model.embed(picture, { attention: model.heads > 0 });
        const plain = (x: Float32Array | undefined): number[] => [...(x ?? [])];
        return { cls: plain(f.cls), registers: plain(f.registers), patches: plain(f.patches), attention: plain(f.attention), grid: f.grid };
      } finally {
        await model.dispose();
      }
    }, ask);
  }

  async function inNode(name: string, picture: string, options = {}): Promise<ImageFeatures> {
    await using model = await loadModel(join(root, name), { threads: 1, ...options });
    return await model.embed(join(root, picture), { attention: model.heads > 0 });
  }

  function expectSame(mine: Plain, wanted: ImageFeatures, least = 0.99999): void {
    for (const key of ["cls", "registers", "patches", "attention"] as const) {
      expect(mine[key].length, key).toBe(wanted[key]?.length ?? 0);
      if (mine[key].length > 0) expect(cosine(mine[key], wanted[key] ?? []), key).toBeGreaterThanOrEqual(least);
    }
    expect(mine.grid).toEqual(wanted.grid);
  }

  test.each<[string, BackboneConfig]>([
    ["plain", TINY],
    ["registers", REGISTERS],
    ["rope", ROPE],
    ["convnext", TINY_CONVNEXT],
  ])("loadModel() gives what Node gives: %s, on WebAssembly", async (name) => {
    expectSame(await inPage({ model: `/${name}/`, picture: "/1.png" }), await inNode(name, "1.png"));
  });

  /** SwiftShader has an adapter; a Chromium built without it has none. */
  function hasWebGpu(): Promise<boolean> {
    return page.evaluate(async () => {
      const { gpu } = navigator as { gpu?: { requestAdapter(): Promise<object | null> } };
      return ((await gpu?.requestAdapter()) ?? null) !== null;
    });
  }

  test("and on WebGPU; where there is none, it says so", async () => {
    const ask: Ask = { model: "/registers/", picture: "/1.png", options: { device: "webgpu" } };
    if (await hasWebGpu()) expectSame(await inPage(ask), await inNode("registers", "1.png"));
    else await expect(inPage(ask)).rejects.toThrow(/this browser gives no adapter/);
  });

  test.for(["wasm", "webgpu"] as const)(
    "embed() can be stopped between blocks and asked again, also after another load: %s",
    async (device, { skip }) => {
      skip(device === "webgpu" && !(await hasWebGpu()), "this Chromium gives no WebGPU adapter");
      const said = await page.evaluate(
        async (ask) => {
          const { tricera } = globalThis as unknown as Inside; // as above
          const open = () => tricera.loadModel("/plain/", { device: ask.device });
          const first = await open();
          const stop = new AbortController();
          const stopped = first.embed("/1.png", { signal: stop.signal }).then(String, String);
          stop.abort(new Error("enough"));
          const one = await first.embed("/1.png");
          const layers = await first.embed(["/1.png", "/1.png"], { layers: [0, -1] });
          await first.dispose();
          const refused = await first.embed("/1.png").then(String, String);
          const second = await open();
          const again = await second.embed("/1.png");
          await second.dispose();
          const last = layers.map((f) => [...(f.layers?.[1]?.cls ?? [])]);
          return { stopped: await stopped, refused, cls: [...one.cls], again: [...again.cls], last };
        },
        { device },
      );
      const { cls } = await inNode("plain", "1.png");
      expect(said?.stopped).toBe("Error: enough");
      expect(said?.refused).toMatch(/^ConfigError: Cannot embed: the model is disposed of/);
      for (const mine of [said?.cls, said?.again, ...(said?.last ?? [])]) expect(cosine(mine ?? [], cls)).toBeGreaterThanOrEqual(0.99999);
    },
  );

  test.each<[string, LoadModelOptions & { readonly model?: string }, RegExp]>([
    ["no model's name", { model: "dinov2" }, /has no model\.safetensors/],
    ["no address", { model: "ftp://x/y" }, /neither an id like "facebook\/dinov2-small" nor the URL of a folder/],
    ["a hub without it", { model: "a/b", endpoint: "/hub/" }, /Cannot open model "a\/b": it has no model\.safetensors/],
    ["a size that no patches fill", { imageSizePx: 17 }, /patches are 4 px; use 16 or 20/],
    ["a policy that is none", { resize: "fill" as "pad" }, /there is no such policy; use stretch/],
  ])("loadModel() refuses %s", async (_, { model: path = "/plain/", ...options }, message) => {
    await expect(inPage({ model: path, picture: "/1.png", options })).rejects.toThrow(message);
  });

  test("loadModel() takes an id from another hub", async () => {
    await writeTinyModel(join(root, "hub", "some", "tiny.model", "resolve", "v1"));
    const mine = await inPage({
      model: "some/tiny.model",
      picture: "/1.png",
      options: { endpoint: `${server.origin}/hub`, revision: "v1" },
    });
    expectSame(mine, await inNode("plain", "1.png"));
  });

  test("a network of four bands is given pixels, and refuses what a browser decodes", async () => {
    const config: ViTConfig = { ...TINY, channels: 4 };
    const processor = { size: { height: 16, width: 16 }, resample: 3, image_mean: [0.1, 0.2, 0.3, 0.4], image_std: [1, 1, 1, 2] };
    await writeModelFolder(join(root, "bands"), { config, tensors: randomWeights(config, 3), processor });
    const data = Uint16Array.from({ length: 20 * 18 * 4 }, (_, i) => (i * 977) % 65_536);
    await using model = await loadModel(join(root, "bands"), { threads: 1 });
    const wanted = await model.embed({ data, width: 20, height: 18 });
    const said = await page.evaluate(
      async (values) => {
        const { tricera } = globalThis as unknown as Inside; // as above
        const inPage4 = await tricera.loadModel("/bands/");
        const picture = { data: Uint16Array.from(values), width: 20, height: 18 };
        const { cls } = await inPage4.embed(picture);
        const refused = await inPage4.embed("/1.png").then(String, String);
        await inPage4.dispose();
        return { cls: [...cls], refused };
      },
      [...data],
    );
    expect(cosine(said.cls, wanted.cls)).toBeGreaterThanOrEqual(0.99999);
    expect(said.refused).toMatch(
      /^ConfigError: Cannot embed a picture: the network takes 4 channels, and a browser decodes colours; give pixels/,
    );
  });

  test("runs on several threads where the page is cross-origin isolated", async () => {
    await using isolated = await serveStatic([join(root, "dist"), root], { isolated: true });
    const other = await browser.newPage();
    await other.goto(isolated.origin);
    await other.waitForFunction("globalThis.tricera !== undefined && crossOriginIsolated");
    const cls = await other.evaluate(async () => {
      const { tricera } = globalThis as unknown as Inside; // as above
      const model = await tricera.loadModel("/plain/", { threads: 2 });
      return [...(await model.embed("/1.png")).cls];
    });
    expect(other.workers().length).toBeGreaterThanOrEqual(1);
    expect(page.workers()).toEqual([]);
    expect(cosine(cls, (await inNode("plain", "1.png")).cls)).toBeGreaterThanOrEqual(0.99999);
    await other.close();
  });

  test("embed() refuses what is no picture", async () => {
    await expect(inPage({ model: "/plain/", picture: "/plain/config.json" })).rejects.toThrow(
      /Cannot decode picture: the browser refuses it/,
    );
    await expect(inPage({ model: "/plain/", picture: "/none.png" })).rejects.toThrow(/the server answers 404/);
  });

  test("pictures that are no squares, by policy", async () => {
    const options = { resize: "multiple", imageSizePx: 24 } as const;
    const mine = await inPage({ model: "/plain/", picture: "/1.png", options });
    expectSame(mine, await inNode("plain", "1.png", options));
    expect(mine.grid).toEqual({ rows: 6, columns: 7 });
  });

  /** RGB of a file as the page decodes it. */
  function decodeInPage(url: string, decode: "python" | "managed" = "python"): Promise<number[]> {
    return page.evaluate(
      async (ask) => {
        const { tricera } = globalThis as unknown as Inside; // as above
        return [...(await tricera.readWebPicture(ask.url, { decode: ask.decode, alpha: "drop" })).data];
      },
      { url, decode },
    );
  }

  test.each(PIL_NAMES)('pixels are those of Pillow\'s convert("RGB"), low alpha and turned pictures too: %s', async (name) => {
    const bytes = Buffer.from(PIL_CASES[name]?.base64 ?? "", "base64");
    await writeFile(join(root, name), bytes);
    const wanted = (await decodeImage(bytes, { decode: "python", alpha: "drop" })).data;
    const mine = await decodeInPage(`/${name}`);
    expect(mine.length).toBe(wanted.length);
    expect(mine.findIndex((value, i) => value !== wanted[i])).toBe(-1);
  });

  test('decode: "managed" turns a picture by EXIF', async () => {
    const wanted = (await decodeImage(Buffer.from(PIL_CASES["exif.jpg"]?.base64 ?? "", "base64"), { decode: "managed" })).data;
    expect(await decodeInPage("/exif.jpg", "managed")).toEqual([...wanted]);
  });

  test("weights are fetched once, by ranges, and then come from the cache", async () => {
    await writeTinyModel(join(root, "cached"));
    await inPage({ model: "/cached/", picture: "/1.png" });
    const first = server.asked.filter((a) => a.path === "/cached/model.safetensors");
    expect(first.map((a) => a.range)).toEqual([`bytes=0-${4 * 2 ** 20 - 1}`]);
    await inPage({ model: "/cached/", picture: "/1.png" });
    expect(server.asked.filter((a) => a.path.startsWith("/cached/"))).toHaveLength(3);
    await inPage({ model: "/cached/", picture: "/1.png", options: { cache: "reload" } });
    expect(server.asked.filter((a) => a.path.startsWith("/cached/"))).toHaveLength(6);
  });
});

function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] ?? Number.NaN, b[i] ?? Number.NaN];
    [ab, aa, bb] = [ab + x * y, aa + x * x, bb + y * y];
  }
  return ab / Math.sqrt(aa * bb);
}
