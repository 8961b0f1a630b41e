/** @file `npm run -s bench -- NAME [options]`: runs one benchmark of this folder; without a known name it lists them. */
import { readdirSync, readFileSync } from "node:fs";
import { nameHint } from "../src/core/index.ts";

const folder = new URL("./", import.meta.url);
const names = readdirSync(folder)
  .filter((file) => file.endsWith(".ts") && file !== "run.ts")
  .map((file) => file.slice(0, -".ts".length))
  .toSorted();

/** The first sentence of a benchmark's file comment. */
function aboutOf(name: string): string {
  const text = readFileSync(new URL(`${name}.ts`, folder), "utf8");
  return /@file\s+([^\n]*?)(?:\s*\*\/|\n)/.exec(text)?.[1] ?? "";
}

const [name = ""] = process.argv.splice(2, 1); // the benchmark reads the rest as its own options
if (names.includes(name)) await import(new URL(`${name}.ts`, folder).href);
else {
  const listed = name === "" || name === "--help";
  if (!listed)
    process.stderr.write(`Error: Cannot run benchmark "${name}": there is none of that name\nHint: ${nameHint(name, names)}\n\n`);
  const wide = Math.max(...names.map((n) => n.length));
  const lines = names.map((n) => `  ${n.padEnd(wide)}  ${aboutOf(n)}\n`);
  (listed ? process.stdout : process.stderr).write(`npm run -s bench -- NAME [options]\n\n${lines.join("")}`);
  process.exitCode = name === "--help" ? 0 : 2;
}
