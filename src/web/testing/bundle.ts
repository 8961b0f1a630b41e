/** @file Bundles an entry as a page would, for tests: Vite with its defaults, one folder of static files. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const CHROMIUM = process.env["TRICERA_CHROMIUM"] ?? "/usr/bin/chromium";

function isInstalled(name: string): boolean {
  try {
    return require.resolve(name) !== "";
  } catch {
    return false;
  }
}

/** Why the browser's part cannot be bundled here, and what to do; undefined where it can. */
export function whyNoBundle(): string | undefined {
  const missing = ["vite", "onnxruntime-web"].filter((name) => !isInstalled(name));
  return missing.length === 0 ? undefined : `run "npm install --no-save ${missing.join(" ")}"`;
}

/** Why no browser can be driven here, and what to do; undefined where one can. */
export function whyNoBrowser(): string | undefined {
  if (!isInstalled("playwright-core")) return 'run "npm install --no-save playwright-core"';
  if (!existsSync(CHROMIUM)) return `install Debian's package "chromium", or name another one by TRICERA_CHROMIUM (${CHROMIUM} is missing)`;
  return whyNoBundle();
}

/** The path of Chromium. */
export function chromiumPath(): string {
  return CHROMIUM;
}

export interface BundledFile {
  readonly name: string;
  readonly text: string;
  /** Files of the sources that went into it. */
  readonly modules: readonly string[];
}

/**
 * Bundles an entry (default `src/web.ts`) as `web.js` into `outDir`, what it loads on demand beside it; gives the scripts. As a page is
 * built: under NODE_ENV=test Vite would put its own warnings into the bundle.
 */
export async function bundleWeb(outDir: string, entry = "../../web.ts"): Promise<readonly BundledFile[]> {
  const { build } = await import("vite");
  const before = process.env["NODE_ENV"];
  process.env["NODE_ENV"] = "production";
  try {
    const result = await build({
      root: fileURLToPath(new URL("..", import.meta.url)),
      configFile: false,
      logLevel: "error",
      base: "./",
      build: {
        outDir,
        emptyOutDir: true,
        target: "es2024",
        rolldownOptions: {
          input: { web: fileURLToPath(new URL(entry, import.meta.url)) },
          preserveEntrySignatures: "strict",
          output: { entryFileNames: "[name].js" },
        },
      },
    });
    if (!("output" in result)) throw new TypeError("Cannot bundle: Vite gave no output; give it one entry");
    return result.output.flatMap((file) => (file.type === "chunk" ? [describe(file)] : []));
  } finally {
    if (before === undefined) delete process.env["NODE_ENV"];
    else process.env["NODE_ENV"] = before;
  }
}

interface Chunk {
  readonly fileName: string;
  readonly code: string;
  readonly modules: Readonly<Record<string, { readonly renderedLength: number }>>;
}

function describe({ fileName, code, modules }: Chunk): BundledFile {
  const used = Object.entries(modules).filter(([, { renderedLength }]) => renderedLength > 0);
  return { name: fileName, text: code, modules: used.map(([name]) => name) };
}
