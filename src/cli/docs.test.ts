import { execFile } from "node:child_process";
import { existsSync, globSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Rng } from "../core/index.ts";
import { TINY as TINY_VIT, writeTinyModel } from "../features/testing/tiny-model.ts";
import { encodeJpeg } from "../images/node/index.ts";
import { COMMANDS } from "./commands/index.ts";
import { findCommand } from "./main.ts";
import { runCli } from "./testing/run-cli.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const pages = ["README.md", "CONTRIBUTING.md", ...globSync("{docs,notes}/**/*.md", { cwd: root })];
const LANGUAGES = ["sh", "ts", "yaml", "python", "json", "js", "html"]; // the last two are run in a browser by src/web/docs.slow.test.ts
/** What the pages' shell lines may begin with besides `npx tricera`; these are not run. */
const NOT_RUN = /^(#|$|npm |git |cd |npx vitest |ONNXRUNTIME_NODE_INSTALL=skip npm )/;

interface Fence {
  readonly language: string;
  readonly code: string;
}

async function fencesOf(page: string): Promise<readonly Fence[]> {
  const text = await readFile(join(root, page), "utf8");
  return [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language = "", code = ""]) => ({ language, code }));
}

const linesOf = (fences: readonly Fence[]): readonly string[] =>
  fences.filter(({ language }) => language === "sh").flatMap(({ code }) => code.split("\n").map((line) => line.replace(/\s+# .*$/, "")));

/** The arguments of `npx tricera ...`, as a shell would split them; the pages use no quotes. */
const wordsOf = (line: string): readonly string[] => line.split(/\s+/).slice(2);
const commandsOf = async (page: string): Promise<readonly string[]> =>
  linesOf(await fencesOf(page)).filter((line) => line.startsWith("npx tricera "));

/** A network that trains in a moment, over whatever a page says. */
const TINY = {
  model: { arch: "vit", depth: 2, width: 16, heads: 2, patchSizePx: 4, imageSizePx: 32 },
  crops: { globalSizePx: 32, localSizePx: 16, localCount: 2 },
  head: { prototypes: 32, hidden: 32, bottleneck: 16 },
  train: { steps: 4, batchSize: 8 },
  data: { workers: 1 },
};
const TINY_SETS = Object.entries(TINY).flatMap(([section, values]) =>
  Object.entries(values).flatMap(([key, value]) => ["--set", `${section}.${key}=${value}`]),
);

let dir = "";
const before = { cwd: process.cwd(), home: process.env["HOME"] };
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-docs-"));
  const rng = new Rng(3);
  for (const [c, label] of ["cat", "dog", "sea"].entries()) {
    for (const set of ["photos", "other-photos"]) await mkdir(join(dir, set, label), { recursive: true });
    for (let i = 0; i < 8; i++) {
      const data = Uint8Array.from({ length: 32 * 32 * 3 }, (_, j) => (j % 3 === c ? 120 : 20) + rng.int(100));
      const jpeg = await encodeJpeg({ width: 32, height: 32, data });
      for (const set of ["photos", "other-photos"]) await writeFile(join(dir, set, label, `${i}.jpg`), jpeg);
    }
  }
  // a folder of that name wins over the cache: the released architecture at a width that trains in a moment
  await writeTinyModel(join(dir, "facebook", "dinov2-small"), { config: { ...TINY_VIT, patchSizePx: 16, imageSizePx: 32, layerScale: 1 } });
  process.chdir(dir);
  process.env["HOME"] = dir;
});
afterAll(async () => {
  process.chdir(before.cwd);
  process.env["HOME"] = before.home;
  await rm(dir, { recursive: true, force: true });
});

/** Type-checks programs that import "tricera", the source standing for the package. */
async function typeCheck(programs: readonly string[]): Promise<void> {
  const at = join(dir, "types");
  await mkdir(at, { recursive: true });
  await Promise.all(programs.map((code, i) => writeFile(join(at, `${i}.mts`), code)));
  const typeRoots = [join(root, "node_modules/@types")];
  const compilerOptions = { paths: { tricera: [join(root, "src/index.ts")] }, typeRoots, noUnusedLocals: false };
  await writeFile(join(at, "tsconfig.json"), JSON.stringify({ extends: join(root, "tsconfig.json"), compilerOptions, include: ["*.mts"] }));
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const { stdout } = await promisify(execFile)(process.execPath, [tsc, "-p", at]).catch((error: { stdout: string }) => error);
  expect(stdout).toBe("");
}

describe.each(pages)("%s", (page) => {
  test("marks every fence with a language that the tests know", async () => {
    for (const { language } of await fencesOf(page)) expect(LANGUAGES).toContain(language);
  });

  test("names commands, options and scripts that exist", async () => {
    for (const line of await commandsOf(page)) {
      const { command, rest } = findCommand(wordsOf(line));
      expect(() => command.check(rest), line).not.toThrow();
    }
    const others = linesOf(await fencesOf(page)).filter((line) => !line.startsWith("npx tricera "));
    for (const line of others) expect(line).toMatch(NOT_RUN);
    const { scripts }: { readonly scripts: object } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
    for (const [, script = ""] of others.join("\n").matchAll(/npm run (?:-s )?([\w:]+)/g)) expect(Object.keys(scripts)).toContain(script);
  });

  test("links to files that exist", async () => {
    const text = await readFile(join(root, page), "utf8");
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, to = ""]) => join(root, page, "..", to));
    for (const link of links) await expect(readFile(link), link).resolves.toBeDefined();
  });
});

/** Paths of this repository in a page's text; `NAME`, `*` and the like stand for something. */
const PATH = /`((?:src|tools|bench|bin|docs|notes|recipes)\/[\w./-]*)`/g;

test.each(pages)("%s names files that exist", async (page) => {
  const text = await readFile(join(root, page), "utf8");
  for (const [, path = ""] of text.matchAll(PATH)) expect(existsSync(join(root, path)), path).toBe(true);
});

test("every command's examples parse", () => {
  for (const { help, name } of COMMANDS) {
    const examples = [...help.slice(help.indexOf("Examples")).matchAll(/^ {2}tricera (.*)$/gm)].map(([, line = ""]) => line.split(" "));
    expect(examples.length, name).toBeGreaterThan(0);
    for (const words of examples) {
      const { command, rest } = findCommand(words);
      expect(command.name).toBe(name);
      command.check(rest);
    }
  }
});

test("the pages' TypeScript programs type-check", async () => {
  const fences = (await Promise.all(pages.map(fencesOf))).flat();
  await typeCheck(fences.filter(({ language }) => language === "ts").map(({ code }) => code));
});

/** What makes a command's run small: a later stage and a distillation have network, crops and heads of the run before. */
function smallOf(argv: readonly string[]): readonly string[] {
  if ((argv[0] !== "train" && argv[0] !== "distill") || argv.includes("--resume")) return [];
  return argv.includes("--stage") || argv[0] === "distill" ? ["--set", "train.steps=2", "--set", "train.batchSize=4"] : TINY_SETS;
}

/** Runs a page's line as it stands, but small; what it printed is the message where it fails. */
async function runLine(line: string): Promise<void> {
  const argv = wordsOf(line).map((word) => word.replace(/^~\//, `${dir}/`));
  const { code, all } = await runCli([...argv, ...smallOf(argv)]);
  expect(code, `${line}\n${all}`).toBe(0);
}

describe("docs/methods.md", () => {
  test("its commands run one after another", async () => {
    const lines = await commandsOf("docs/methods.md");
    expect(lines.length).toBeGreaterThan(7);
    for (const line of lines) await runLine(line);
    for (const run of ["v2", "v3", "v3-gram", "v3-hr", "adapted", "lora"])
      expect(existsSync(join(dir, "runs", run, "exported/last/model.safetensors")), run).toBe(true);
    for (const student of ["small/exported/vit_tiny_patch16", "small/exported/vit_micro_patch16", "of-dinov2/exported/vit_tiny_patch16"])
      expect(existsSync(join(dir, "runs", student, "last/model.safetensors")), student).toBe(true);
  });
});

describe("docs/tour.md", () => {
  test("its commands run one after another", async () => {
    const fences = await fencesOf("docs/tour.md");
    const files = fences.flatMap(({ language, code }) => (language === "yaml" ? [[/^# (\S+)/.exec(code)?.[1] ?? "", code] as const] : []));
    for (const [name, code] of files) await writeFile(join(dir, name), code);
    const lines = await commandsOf("docs/tour.md");
    expect(lines.length).toBeGreaterThan(10);
    for (const line of lines) await runLine(line);
    const report = await readFile(join(dir, "runs/watched/report.html"), "utf8");
    expect(report).toContain("k-NN top-1");
  });

  test("its TypeScript program runs", async () => {
    const found = (await fencesOf("docs/tour.md")).find(({ language }) => language === "ts")?.code ?? "";
    const config = JSON.stringify(TINY).slice(1, -1);
    const code = found.replace('data: { path: "photos" }, train: { minutes: 30 }', config.replace('"data":{', '"data":{"path":"photos",'));
    expect(code).not.toBe(found);
    const tricera = join(dir, "node_modules", "tricera");
    await mkdir(tricera, { recursive: true });
    await writeFile(join(tricera, "package.json"), '{ "type": "module", "exports": "./index.js" }');
    await writeFile(join(tricera, "index.js"), `export * from ${JSON.stringify(new URL("../index.ts", import.meta.url).href)};\n`);
    await writeFile(join(dir, "program.mts"), code);
    const { stdout } = await promisify(execFile)(process.execPath, [join(dir, "program.mts")], { cwd: dir });
    expect(stdout).toMatch(/training 4\/4 steps[\s\S]*4 steps, loss \d[\s\S]*24 x 16\n/);
  });
});

describe("docs/features.md", () => {
  test("its commands run one after another on the tour's run", async () => {
    const lines = (await commandsOf("docs/features.md")).map((line) => line.replace("features.safetensors", "all.safetensors"));
    expect(lines.length).toBeGreaterThan(3);
    for (const line of lines) await runLine(line);
    for (const table of ["all.safetensors", "photos.parquet", "patches.safetensors", "looked.safetensors"])
      expect(existsSync(join(dir, table)), table).toBe(true);
  });
});
