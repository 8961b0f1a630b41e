/** @file The package as a user gets it: packed from a clean clone, installed into an empty folder, run and imported there. */
import { execFile, type ExecFileException } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodePng } from "../src/images/node/index.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const NOT_COPIED = new Set(["node_modules", ".git", "dist", "runs", ".cache", "coverage"]);
/** The tests' own PATH begins with this repository's tools, which a user does not have. */
const path = (process.env["PATH"] ?? "")
  .split(delimiter)
  .filter((part) => !part.includes("node_modules"))
  .join(delimiter);
const env = { ...process.env, PATH: path, ONNXRUNTIME_NODE_INSTALL: "skip" };

interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(command: string, args: readonly string[], cwd: string): Promise<Output> {
  const options = { cwd, env, maxBuffer: 1 << 26, timeout: 240_000, shell: process.platform === "win32" };
  return promisify(execFile)(command, [...args], options).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: ExecFileException) => ({ code: Number(error.code ?? 1), stdout: error.stdout ?? "", stderr: error.stderr ?? error.message }),
  );
}

let dir = "";
let unreachable: string | undefined;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-package-"));
  const { code } = await run("npm", ["view", "koffi", "version", "--fetch-retries=0", "--fetch-timeout=15000"], dir);
  if (code !== 0) unreachable = "the npm registry is not reachable from here";
}, 60_000);
afterAll(() => rm(dir, { recursive: true, force: true }));

/** A clone without what is not in the repository; the packages are those of this one. */
async function cloneInto(to: string): Promise<void> {
  await cp(root, to, { recursive: true, filter: (from) => !NOT_COPIED.has(relative(root, from).split(/[\\/]/, 1)[0] ?? "") });
  await symlink(join(root, "node_modules"), join(to, "node_modules"), "dir");
}

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

describe("the packed package", () => {
  const clone = (): string => join(dir, "clone");
  const app = (): string => join(dir, "app");
  let packed: Packed = { filename: "", files: [] };

  test("holds the program, its documents and nothing else", { timeout: 120_000 }, async () => {
    await cloneInto(clone());
    await mkdir(join(clone(), "dist"));
    await writeFile(join(clone(), "dist", "stale.js"), "");
    const { code, stdout, stderr } = await run("npm", ["pack", "--json"], clone());
    expect(code, stderr).toBe(0);
    expect(stderr).not.toContain("Unknown");
    const said: Readonly<Record<string, Packed>> = JSON.parse(stdout.slice(stdout.search(/^[[{]/m)));
    packed = Object.values(said)[0] ?? packed;
    const names = packed.files.map((file) => file.path);
    expect(names).toEqual(
      expect.arrayContaining(["package.json", "bin/tricera.js", "LICENSE", "README.md", "CHANGELOG.md", "docs/tour.md"]),
    );
    expect(names).toEqual(expect.arrayContaining(["dist/index.js", "dist/index.d.ts", "dist/cli/main.js"]));
    const allowed = /^(package\.json|bin\/tricera\.js|LICENSE|README\.md|CHANGELOG\.md|docs\/.+\.(md|png|svg)|dist\/.+\.(js|d\.ts))$/;
    expect(names.filter((name) => !allowed.test(name))).toEqual([]);
    expect(names.filter((name) => /stale|\.test\.|\/testing\//.test(name))).toEqual([]);
  });

  test("installs into an empty folder, without warnings of ours", { timeout: 300_000 }, async ({ skip }) => {
    if (unreachable !== undefined) skip(unreachable);
    await mkdir(app());
    const { code, stderr } = await run("npm", ["install", "--no-audit", "--no-fund", join(clone(), packed.filename), "node@24"], app());
    expect(code, stderr).toBe(0);
    expect(stderr).not.toMatch(/deprecated (koffi|sharp|yaml|zod|onnxruntime-node)/);
  });

  test("runs its doctor and a training there", { timeout: 120_000 }, async ({ skip }) => {
    if (unreachable !== undefined) skip(unreachable);
    const doctor = await run("npx", ["tricera", "doctor", "--json"], app());
    expect(JSON.parse(doctor.stdout), doctor.stderr).toMatchObject({ ok: true });
    await mkdir(join(app(), "photos"));
    for (let i = 0; i < 8; i++) {
      const data = Uint8Array.from({ length: 24 * 24 * 3 }, (_, j) => (j * (i + 3)) % 251);
      await writeFile(join(app(), "photos", `${i}.png`), await encodePng({ width: 24, height: 24, data }));
    }
    const sizes = ["arch=vit", "depth=1", "width=16", "heads=2", "patchSizePx=4", "imageSizePx=16"].map((s) => `model.${s}`);
    const sets = [...sizes, "crops.globalSizePx=16", "crops.localSizePx=8", "head.prototypes=16"].flatMap((s) => ["--set", s]);
    const options = ["--data", "photos", "--out", "run", "--steps", "2", "--batch-size", "4", "--json"];
    const trained = await run("npx", ["tricera", "train", ...options, ...sets], app());
    expect(JSON.parse(trained.stdout), trained.stderr).toMatchObject({ steps: 2 });
  });

  test("runs its doctor on Node 22 too", { timeout: 120_000 }, async ({ skip }) => {
    if (unreachable !== undefined) skip(unreachable);
    const { code, stderr } = await run("npm", ["install", "--no-audit", "--no-fund", "node22@npm:node@22"], app());
    expect(code, stderr).toBe(0);
    const modules = join(app(), "node_modules");
    const doctor = await run(
      join(modules, "node22", "bin", "node"),
      [join(modules, "tricera", "bin", "tricera.js"), "doctor", "--json"],
      app(),
    );
    expect(JSON.parse(doctor.stdout), doctor.stderr).toMatchObject({ ok: true });
  });

  test("is imported there, with types that resolve", { timeout: 60_000 }, async ({ skip }) => {
    if (unreachable !== undefined) skip(unreachable);
    const lines = [
      'import { embed, evalKnn, train, type TrainResult } from "tricera";',
      'import { weightedVote } from "tricera/evals";',
      'if (typeof weightedVote !== "function") throw new Error("a room is not what it should be");',
      "const jobs: readonly ((options: never) => Promise<unknown>)[] = [train, embed, evalKnn];",
      'const preview: TrainResult = await train({ config: { data: { path: "photos" } }, printConfig: true });',
      'console.log(jobs.map((job) => typeof job).join(), (preview.text ?? "").split("\\n", 1)[0]);',
      "export {};",
    ];
    await writeFile(join(app(), "use.mts"), lines.join("\n"));
    const node = join(app(), "node_modules", ".bin", "node");
    expect(await run(node, ["use.mts"], app())).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^function,function,function seed = 0/),
    });
    const typeRoots = [join(root, "node_modules", "@types")];
    const compilerOptions = { strict: true, noEmit: true, target: "es2024", module: "nodenext", types: ["node"], typeRoots };
    for (const more of [{}, { module: "esnext", moduleResolution: "bundler" }]) {
      const config = { compilerOptions: { ...compilerOptions, ...more, skipLibCheck: false }, files: ["use.mts"] };
      await writeFile(join(app(), "tsconfig.json"), JSON.stringify(config));
      const checked = await run(node, [join(root, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.json"], app());
      expect(checked).toMatchObject({ code: 0, stdout: "" });
    }
  });
});
