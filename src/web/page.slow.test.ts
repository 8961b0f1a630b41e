/** @file The page of examples/web, built as its README says and used as a person uses it. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writePicture, writeTinyModel } from "../features/testing/tiny-model.ts";
import { decodeImage, encodePng } from "../images/node/index.ts";
import { whyNoBrowser } from "./testing/bundle.ts";
import { openChromium } from "./testing/chromium.ts";
import { serveStatic, type StaticServer } from "./testing/static-server.ts";

/** What of a page's globals is used inside it. */
interface Inside {
  readonly document: {
    querySelector(selector: string): { getAttribute(name: string): string | null; dispatchEvent(event: object): boolean } | null;
  };
  readonly DataTransfer: new () => { readonly items: { add(file: object): void } };
  readonly DragEvent: new (name: string, options: object) => object;
  readonly File: new (parts: readonly string[], name: string) => object;
}

const missing = whyNoBrowser();
const NAMES = ["config.json", "preprocessor_config.json", "model.safetensors"] as const;

describe.skipIf(missing !== undefined)(`examples/web in Chromium${missing === undefined ? "" : ` (${missing})`}`, () => {
  let root = "";
  let browser: Browser;
  let server: StaticServer;
  let page: Page;
  const errors: string[] = [];
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "tricera page "));
    const { build } = await import("vite");
    await build({
      root: fileURLToPath(new URL("../../examples/web", import.meta.url)),
      logLevel: "error",
      build: { outDir: join(root, "page"), emptyOutDir: true },
    });
    await writeTinyModel(join(root, "model"));
    await writePicture(join(root, "wide.png"), { colour: [10, 20, 200], seed: 1 });
    await writeFile(join(root, "halves.png"), await encodePng(halves(24)));
    [browser, server] = [await openChromium(), await serveStatic([join(root, "page"), root])];
    page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    page.on("pageerror", (error) => errors.push(error.message));
    await page.goto(server.origin);
    await page.selectOption("#device", "wasm");
  });
  afterAll(async () => {
    await browser?.close();
    await server?.[Symbol.asyncDispose]();
    await rm(root, { recursive: true });
  });

  const text = (selector: string): Promise<string> => page.locator(selector).innerText();
  const pixels = (slot: "a" | "b"): Promise<string> =>
    page.locator(`#panel-${slot} canvas`).evaluate((canvas) => (canvas as unknown as { toDataURL(): string }).toDataURL());

  test("says what is wrong with a model that is not there", async () => {
    await page.fill("#source", `${server.origin}/none/`);
    await page.click("#model button.main");
    await page.waitForSelector("#status.bad");
    expect(await text("#status")).toMatch(/^Cannot open model ".*\/none\/": it has no model\.safetensors; /);
  });

  test("stops a load that is under way", async () => {
    let asked: (() => void) | undefined;
    const isAsked = new Promise<void>((resolve) => (asked = resolve));
    server.special = (path) => path === "/model/model.safetensors" && (asked?.(), true); // and no answer
    await page.fill("#source", `${server.origin}/model/`);
    await page.click("#model button.main");
    await isAsked;
    await page.click("#stop");
    await page.locator("#status", { hasText: /^Stopped; a new try goes on where it was$/ }).waitFor();
    expect(await page.locator("#stop").isVisible()).toBe(false);
    server.special = undefined;
  });

  test("loads chosen files, and pictures that are dropped before and after", async () => {
    await page.setInputFiles("#panel-a input", join(root, "halves.png"));
    await page.setInputFiles(
      "#files",
      NAMES.map((name) => join(root, "model", name)),
    );
    await page.waitForSelector("#status.good");
    expect(await text("#status")).toBe("Ready on WebAssembly: 12 numbers a patch, 2 heads, patches of 4 px, short side 16 px");
    await page.setInputFiles("#panel-b input", join(root, "wide.png"));
    await page.locator("#panel-a .note", { hasText: /^4 × 4 patches/ }).waitFor();
    await page.locator("#panel-b .note", { hasText: /^4 × 4 patches/ }).waitFor();
  });

  test("shows colours, similarity and attention, each another picture", async () => {
    const seen = [await pixels("a")];
    const box = (await page.locator("#panel-a canvas").boundingBox())!; // it is shown
    await page.mouse.click(box.x + box.width * 0.1, box.y + box.height * 0.1);
    await page.waitForSelector("#panel-a .mark.own:not([hidden])");
    expect(await page.locator("#panel-b .mark.best").isVisible()).toBe(true);
    expect(await text("#hint")).toMatch(/^Cosine with the framed patch, .* \(-?\d\.\d{3}\) is ringed\.$/);
    seen.push(await pixels("a"));
    await page.click("button[data-view=attention]");
    seen.push(await pixels("a"));
    expect(await page.locator("#heads button").allInnerTexts()).toEqual(["all heads", "head 1", "head 2"]);
    await page.click("#heads button:nth-child(3)");
    seen.push(await pixels("a"));
    await page.click("button[data-view=picture]");
    seen.push(await pixels("a"));
    expect(new Set(seen).size).toBe(5);
  });

  test("tells the value of a patch under the pointer, on one scale for both pictures", async () => {
    await page.click("button[data-view=similar]");
    expect(await text("#low")).toMatch(/^-?[01]\.\d\d$/);
    expect(await text("#high")).toBe("1");
    const box = (await page.locator("#panel-a canvas").boundingBox())!; // it is shown
    await page.mouse.move(box.x + box.width * 0.1, box.y + box.height * 0.1);
    expect(await page.locator("#panel-a .mark.hover").getAttribute("data-value")).toBe("1.00"); // the framed patch with itself
  });

  test("keys move over the patches and choose one", async () => {
    const own = (): Promise<string | null> => page.locator("#panel-a .mark.own").getAttribute("style");
    const before = await own();
    await page.focus("#panel-a canvas");
    for (const key of ["ArrowDown", "ArrowRight", "Enter"]) await page.keyboard.press(key);
    await page.waitForFunction(
      (style) => (globalThis as unknown as Inside).document.querySelector("#panel-a .mark.own")?.getAttribute("style") !== style,
      before,
    );
    expect(await page.locator("#panel-a .mark.hover").getAttribute("data-value")).not.toBe("");
  });

  test("saves what is shown", async () => {
    const [saved] = await Promise.all([page.waitForEvent("download"), page.click("#panel-a .save")]);
    expect(saved.suggestedFilename()).toBe("tricera-a.png");
    const shown = await decodeImage(await readFile(await saved.path()));
    expect([shown.width, shown.height]).toEqual([1024, 1024]);
  });

  test("takes a model that is dropped beside the panels, and tells what it cannot take", async () => {
    await page.evaluate(() => {
      const { DataTransfer, DragEvent, File, document } = globalThis as unknown as Inside;
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(["PK"], "pytorch_model.bin"));
      document.querySelector("#top")?.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    });
    await page.waitForSelector("#status.bad");
    expect(await text("#status")).toMatch(/it has no model\.safetensors; convert "pytorch_model\.bin" with "tricera models convert"/);
  });

  test("takes a picture away, and is dark where dark is wanted", async () => {
    await page.click("#panel-b .remove");
    await page.waitForSelector("#panel-b .drop:not([hidden])");
    const paper = (): Promise<string> => page.evaluate("getComputedStyle(document.documentElement).backgroundColor").then(String);
    const light = await paper();
    await page.emulateMedia({ colorScheme: "dark" });
    expect(await paper()).not.toBe(light);
  });

  test("loads by URL, and throws nothing that nobody catches", async () => {
    await page.goto(`${server.origin}/?model=/model/`);
    await page.waitForSelector("#status.good");
    expect(errors).toEqual([]);
  });
});

/** Left half red, right half blue. */
function halves(side: number): { readonly width: number; readonly height: number; readonly data: Uint8Array } {
  const data = Uint8Array.from({ length: side * side * 3 }, (_, i) => {
    const isLeft = Math.floor(i / 3) % side < side / 2;
    return i % 3 === (isLeft ? 0 : 2) ? 220 : 20;
  });
  return { width: side, height: side, data };
}
