/**
 * @file Makes the picture of the page that the documents show: `node examples/web/picture.ts --model runs/demo/exported/last`. Needs
 * Chromium and playwright-core.
 */
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Page } from "playwright-core";
import { openChromium } from "../../src/web/testing/chromium.ts";
import { serveStatic } from "../../src/web/testing/static-server.ts";
import { drawScene, type Scene, SCENES } from "./scenes.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const { values } = parseArgs({
  options: {
    model: { type: "string", default: join(here, "../../runs/demo/exported/last") },
    out: { type: "string", default: join(here, "../../docs/pictures/web.png") },
    view: { type: "string", default: "similar" },
    size: { type: "string", default: "128" },
    /** Where to click in the first picture, as parts of its sides. */
    at: { type: "string", default: "0.17,0.3" },
    dark: { type: "boolean", default: false },
  },
});

async function writeScene(page: Page, scene: Scene, dir: string): Promise<string> {
  const path = join(dir, scene.name);
  await page.setViewportSize({ width: scene.width, height: scene.height });
  await page.setContent(`<style>body{margin:0}svg{display:block}</style>${await drawScene(scene)}`);
  await writeFile(path, await page.screenshot({ type: "png" }));
  return path;
}

async function show(page: Page, pictures: readonly string[]): Promise<void> {
  await page.selectOption("#device", "wasm");
  await page.selectOption("#size", values.size);
  const names = (await readdir(values.model)).filter((name) => /\.(?:json|safetensors)$/.test(name));
  await page.setInputFiles(
    "#files",
    names.map((name) => join(values.model, name)),
  );
  await page.waitForSelector("#status.good");
  for (const [i, slot] of (["a", "b"] as const).entries()) {
    await page.setInputFiles(`#panel-${slot} input`, pictures[i] ?? "");
    await page.locator(`#panel-${slot} .note`, { hasText: /patches/ }).waitFor({ timeout: 120_000 });
  }
  const [x = 0.5, y = 0.5] = values.at.split(",").map(Number);
  const box = await page.locator("#panel-a canvas").boundingBox();
  if (box === null) throw new Error("Cannot click into the first picture: it is not shown; look at the page");
  await page.mouse.click(box.x + x * box.width, box.y + y * box.height);
  await page.waitForSelector("#panel-a .mark.own:not([hidden])");
  if (values.view !== "similar") await page.click(`button[data-view=${values.view}]`);
  await page.mouse.move(1, 1);
}

const dir = await mkdtemp(join(tmpdir(), "tricera picture "));
try {
  const { build } = await import("vite");
  await build({ root: here, logLevel: "error", build: { outDir: join(dir, "page"), emptyOutDir: true } });
  await using server = await serveStatic([join(dir, "page")], { isolated: true });
  const browser = await openChromium();
  try {
    const drawing = await browser.newPage();
    const pictures = [await writeScene(drawing, SCENES[0], dir), await writeScene(drawing, SCENES[1], dir)];
    const page = await browser.newPage({ viewport: { width: 1280, height: 776 }, colorScheme: values.dark ? "dark" : "light" });
    await page.goto(server.origin);
    await show(page, pictures);
    await mkdir(dirname(values.out), { recursive: true });
    await writeFile(values.out, await page.screenshot({ type: "png", animations: "disabled" }));
  } finally {
    await browser.close();
  }
} finally {
  await rm(dir, { recursive: true });
}
