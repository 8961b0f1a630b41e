/** @file Builds the page to static files; in Tricera's own repository it takes the library from its sources. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig, type UserConfig } from "vite";

const sources = fileURLToPath(new URL("../../src/web.ts", import.meta.url));

/** A page that is cross-origin isolated may run WebAssembly on several threads. */
const headers = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

const config: UserConfig = defineConfig({
  base: "./",
  resolve: { alias: existsSync(sources) ? { "tricera/web": sources } : {} },
  build: { target: "es2024" },
  worker: { format: "es" },
  optimizeDeps: { exclude: ["onnxruntime-web"] },
  server: { headers, fs: { allow: ["../.."] } },
  preview: { headers },
});
export default config;
