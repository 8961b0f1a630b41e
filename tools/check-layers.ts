/** @file Layer rules: a room imports lower rooms only, through their index; native libraries live in one place. */
import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize, sep } from "node:path";

/** Low to high. */
const ROOMS = "core engine nn objectives optim weights images data features evals views methods train tasks curate studio cli".split(" ");
const NATIVE: readonly (readonly [pattern: RegExp, only: string])[] = [
  [/^sharp$/, "src/images/node/"],
  [/^(koffi|onnxruntime-node)$/, "src/engine/runtime/"],
];

const roomOf = (file: string): string | undefined => /^src\/([^/]+)\//.exec(file)?.[1];

/** The rules that a file's import breaks, in words. */
export function checkImport(file: string, specifier: string): string | undefined {
  for (const [pattern, only] of NATIVE)
    if (pattern.test(specifier) && !file.startsWith(only)) return `${file} imports ${specifier}: only ${only} may`;
  if (!specifier.startsWith(".")) return undefined;
  const target = normalize(join(dirname(file), specifier))
    .split(sep)
    .join("/");
  const [from, to] = [roomOf(file), roomOf(target)];
  if (from === undefined || to === undefined || from === to) return undefined;
  if (ROOMS.indexOf(to) > ROOMS.indexOf(from)) return `${file} imports ${target}: ${to} is above ${from}`;
  const isTest = /\.test\.ts$|\/testing\//.test(file);
  const isEntry = target.endsWith("/index.ts");
  if (!isEntry && !isTest) return `${file} imports ${target}: import ${to}'s index.ts`;
  return undefined;
}

const MAX_LINES = 400;

function checkFile(file: string): readonly string[] {
  const text = readFileSync(file, "utf8");
  const lines = text.split("\n").length;
  const imports = [...text.matchAll(/^(?:import|export)[^;]*?from "([^"]+)"|import\("([^"]+)"\)/gms)].map((m) => m[1] ?? m[2] ?? "");
  const broken = imports.flatMap((specifier) => checkImport(file, specifier) ?? []);
  return lines > MAX_LINES && !file.includes(".test.") ? [...broken, `${file} has ${lines} lines: at most ${MAX_LINES}`] : broken;
}

const problems = globSync("src/**/*.ts").flatMap(checkFile);
for (const problem of problems) process.stdout.write(`${problem}\n`);
process.exitCode = problems.length > 0 ? 1 : 0;
