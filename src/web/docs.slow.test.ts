/** @file The programs of docs/web.md, type-checked and run in Chromium as the page says. */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writePicture, writeTinyModel } from "../features/testing/tiny-model.ts";
import { whyNoBrowser } from "./testing/bundle.ts";
import { openChromium } from "./testing/chromium.ts";
import { serveStatic, type StaticServer } from "./testing/static-server.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const tsc = join(root, "node_modules/typescript/bin/tsc");
const missing = whyNoBrowser();

describe.skipIf(missing !== undefined)(`docs/web.md${missing === undefined ? "" : ` (${missing})`}`, () => {
  let dir = "";
  let browser: Browser;
  let server: StaticServer;
  let blocks: readonly { readonly language: string; readonly code: string }[] = [];
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "tricera docs "));
    const text = await readFile(join(root, "docs/web.md"), "utf8");
    blocks = [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language = "", code = ""]) => ({ language, code }));
    for (const name of ["model", "hub"]) await writeTinyModel(join(dir, name));
    await writePicture(join(dir, "cat.png"), { colour: [10, 20, 200], seed: 1 });
    await cp(join(dir, "cat.png"), join(dir, "cat.jpg")); // browsers look at the content
    [browser, server] = [await openChromium(), await serveStatic([join(dir, "dist"), dir])];
  });
  afterAll(async () => {
    await browser?.close();
    await server?.[Symbol.asyncDispose]();
    await rm(dir, { recursive: true });
  });

  const block = (language: string, holding: string): string =>
    blocks.find((b) => b.language === language && b.code.includes(holding))?.code ?? `throw new Error("no ${language} with ${holding}")`;

  /** A project that finds the package's sources under its name. */
  async function project(files: Readonly<Record<string, string>>): Promise<string> {
    const at = await mkdtemp(join(dir, "project "));
    for (const [name, code] of Object.entries(files)) await writeFile(join(at, name), code);
    return at;
  }

  /** Builds a project as its vite.config.js says, and opens its page. */
  async function open(files: Readonly<Record<string, string>>): Promise<{ readonly page: Page; readonly said: readonly string[] }> {
    const config = block("js", "defineConfig");
    const at = await project({ ...files, "package.json": '{ "type": "module" }', "vite.config.js": config });
    await symlink(join(root, "node_modules"), join(at, "node_modules"), "dir");
    const { build } = await import("vite");
    await build({
      root: at,
      logLevel: "error",
      resolve: { alias: { "tricera/web": join(root, "src/web.ts") } },
      build: { outDir: join(dir, "dist"), emptyOutDir: true },
    });
    const page = await browser.newPage();
    const said: string[] = [];
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", (error) => said.push(String(error)));
    await page.goto(server.origin);
    return { page, said };
  }

  test("its programs type-check", async () => {
    const programs = blocks.filter(({ language }) => language === "js").map(({ code }, i) => [`${i}.js`, code] as const);
    expect(programs.length).toBe(3);
    const paths = { "tricera/web": [join(root, "src/web.ts")], vite: [join(root, "node_modules/vite/dist/node/index.d.ts")] };
    const lib = ["es2024", "esnext.disposable", "esnext.iterator", "dom", "dom.iterable"];
    const kind = { target: "es2024", lib, module: "esnext", moduleResolution: "bundler", paths };
    const strictness = { strict: true, checkJs: true, allowJs: true, skipLibCheck: true, noEmit: true };
    const sources = { allowImportingTsExtensions: true, typeRoots: [join(root, "node_modules/@types")], types: ["node"] };
    const compilerOptions = { ...kind, ...strictness, ...sources };
    const at = await project({ ...Object.fromEntries(programs), "tsconfig.json": JSON.stringify({ compilerOptions, include: ["*.js"] }) });
    const { stdout } = await promisify(execFile)(process.execPath, [tsc, "-p", at]).catch((error: { stdout: string }) => error);
    expect(stdout).toBe("");
  });

  test("the first program runs, built by its configuration of Vite", async () => {
    const main = block("js", "similarityMap({ patches }");
    const shown = await openWithHub({ "index.html": `<!doctype html><script type="module" src="./main.js"></script>`, "main.js": main });
    expect(shown.some((line) => /^model\.safetensors: (\d+) of \1 bytes$/.test(line))).toBe(true);
    expect(shown.some((line) => line.startsWith("4 x 4 patches of 12 numbers"))).toBe(true);
    expect(shown.at(-1)).toMatch(/^Float32Array\(16\)/);
  });

  /** What a page says whose hub is the folder `hub`. */
  async function openWithHub(files: Readonly<Record<string, string>>): Promise<readonly string[]> {
    const { page, said } = await open(files);
    await page.route("https://huggingface.co/facebook/dinov2-small/resolve/main/*", async (route) => {
      const name = new URL(route.request().url()).pathname.split("/").at(-1) ?? "";
      const body = await readFile(join(dir, "hub", name));
      await route.fulfill({ body, headers: { "access-control-allow-origin": "*", "content-type": "application/octet-stream" } });
    });
    await page.reload();
    await expect.poll(() => said.at(-1), { timeout: 30_000 }).toMatch(/Float32Array|Error/);
    await page.close();
    return said;
  }

  test("the worker answers", async () => {
    const worker = block("js", "postMessage").replace("https://models.example/my-run/exported/best/", `${server.origin}/model/`);
    const main = `const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
      worker.addEventListener("message", ({ data }) => console.log(JSON.stringify([data.patches.length, data.grid])));
      worker.addEventListener("error", (event) => console.log(event.message));
      worker.postMessage(await (await fetch("/cat.png")).blob());`;
    const { page, said } = await open({
      "index.html": `<!doctype html><link rel="icon" href="data:," /><script type="module" src="./main.js"></script>`,
      "main.js": main,
      "worker.js": worker,
    });
    await expect.poll(() => said.at(-1), { timeout: 30_000 }).toBe('[192,{"rows":4,"columns":4}]');
    await page.close();
  });

  /** The package as it is built, with what it needs. */
  async function installInto(at: string): Promise<void> {
    const modules = join(at, "node_modules");
    await mkdir(join(modules, "tricera"), { recursive: true });
    for (const name of ["zod", "onnxruntime-web", "vite"]) await symlink(join(root, "node_modules", name), join(modules, name), "dir");
    const build = [tsc, "-p", join(root, "tsconfig.build.json"), "--outDir", join(modules, "tricera/dist"), "--declaration", "false"];
    await promisify(execFile)(process.execPath, build).catch(() => undefined); // types are another test's; what is written is run
    await cp(join(root, "package.json"), join(modules, "tricera/package.json"));
  }

  test("the first program runs in development, too, from the package as it is built", async () => {
    const main = block("js", "similarityMap({ patches }").replace('"facebook/dinov2-small"', '"/model/"');
    const at = await project({
      "package.json": '{ "type": "module" }',
      "vite.config.js": block("js", "defineConfig"),
      "index.html": `<!doctype html><link rel="icon" href="data:," /><script type="module" src="./main.js"></script>`,
      "main.js": main,
    });
    await installInto(at);
    await cp(join(dir, "model"), join(at, "public/model"), { recursive: true });
    await cp(join(dir, "cat.jpg"), join(at, "public/cat.jpg"));
    const { createServer } = await import("vite");
    const development = await createServer({ root: at, logLevel: "error", server: { port: 0, host: "127.0.0.1", fs: { strict: false } } });
    try {
      await development.listen();
      const page = await browser.newPage();
      const said: string[] = [];
      page.on("console", (message) => said.push(message.text()));
      page.on("pageerror", (error) => said.push(String(error)));
      await page.goto(development.resolvedUrls?.local[0] ?? "");
      await expect.poll(() => said.at(-1), { timeout: 60_000 }).toMatch(/^Float32Array\(16\)|Error/);
      expect(said.at(-1)).toMatch(/^Float32Array/);
      await page.close();
    } finally {
      await development.close();
    }
  });

  test("the page without a bundler shows what it says, from the package as it is built", async () => {
    await installInto(join(dir, "plain"));
    await writeFile(join(dir, "plain", "index.html"), block("html", "importmap"));
    await using plain = await serveStatic([join(dir, "plain"), dir]);
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(plain.origin);
    await expect
      .poll(async () => [await page.locator("output").innerText(), ...errors], { timeout: 30_000 })
      .toEqual(["12 numbers, 4 x 4 patches"]);
    await page.close();
  });
});
