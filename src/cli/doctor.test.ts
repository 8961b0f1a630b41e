/** @file Doctor as a process, in an installation from which one native package is missing. */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Check } from "./doctor-checks.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const modules = join(root, "node_modules");
const RUN_TIME = ["hyparquet", "hyparquet-writer", "onnxruntime-node", "sharp", "yaml", "zod", "koffi"];

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-doctor-"));
  for (const part of ["bin", "package.json"]) await cp(join(root, part), join(dir, part), { recursive: true });
  await cp(join(root, "src"), join(dir, "src"), { recursive: true, filter: (from) => !from.endsWith(".test.ts") });
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** Lays out node_modules with links to every run-time package but one, which `put` puts there in another state. */
async function install(but: string, put: (at: string) => Promise<void> = () => Promise.resolve()): Promise<void> {
  const to = join(dir, "node_modules");
  await rm(to, { recursive: true, force: true });
  await mkdir(to);
  for (const name of RUN_TIME.filter((n) => n !== but)) await symlink(join(modules, name), join(to, name), "dir");
  await put(join(to, but));
}

/** A package whose own files are there without the packages that carry its binaries. */
const withoutBinary =
  (name: string) =>
  async (at: string): Promise<void> => {
    await cp(join(modules, name), at, { recursive: true, filter: (from) => !from.endsWith(".node") });
    for (const dependency of ["detect-libc", "semver", "@img/colour"])
      if (name === "sharp") await cp(join(modules, dependency), join(at, "..", dependency), { recursive: true });
  };

async function tricera(...argv: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return promisify(execFile)(process.execPath, [join(dir, "bin/tricera.js"), ...argv], { cwd: dir }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  );
}

async function failures(): Promise<Readonly<Record<string, string>>> {
  const { code, stdout, stderr } = await tricera("doctor", "--json");
  expect(code, stderr).toBe(1);
  const { checks }: { readonly checks: readonly Check[] } = JSON.parse(stdout);
  return Object.fromEntries(
    checks.filter(({ status }) => status === "failed").map(({ name, found, todo }) => [name, `${found} -> ${todo}`]),
  );
}

test("doctor without koffi's build says how to install it, and other commands send to doctor", async () => {
  await install("koffi", withoutBinary("koffi"));
  const failed = await failures();
  expect(failed["Native calls"]).toMatch(/koffi does not load .*npm install/);
  expect(failed["ONNX Runtime"]).toContain("mend Native calls first");
  const trained = await tricera("train", "--data", "photos", "--out", "run");
  expect(trained).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^Error: Cannot load the library: .*\n[\s\S]*Hint: run `tricera doctor`/),
  });
});

test("doctor without koffi at all runs, and so does --help", async () => {
  await install("koffi");
  expect((await failures())["Native calls"]).toMatch(/koffi does not load .*npm install/);
  expect(await tricera("train", "--help")).toMatchObject({ code: 0 });
});

test("doctor without sharp's binary names the command that installs it", async () => {
  await install("sharp", withoutBinary("sharp"));
  const failed = await failures();
  expect(Object.keys(failed)).toEqual(["Images"]);
  expect(failed["Images"]).toMatch(/sharp does not load .*--include=optional --os=\w+ --cpu=\w+ sharp/);
});

test.each([
  ["the package, which npm took back", undefined],
  ["the library, whose package is not whole", "package.json"],
])("doctor without %s says to skip the post-install", async (_, part) => {
  await install("onnxruntime-node", async (at) => {
    if (part !== undefined) await cp(join(modules, "onnxruntime-node", part), join(at, part));
  });
  const failed = await failures();
  expect(Object.keys(failed)).toEqual(["ONNX Runtime", "Computing"]);
  expect(failed["ONNX Runtime"]).toContain("ONNXRUNTIME_NODE_INSTALL=skip npm install");
});

test("this test's list of run-time packages is the package's own", async () => {
  const { dependencies }: { readonly dependencies: object } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  expect(RUN_TIME.toSorted()).toEqual(Object.keys(dependencies).toSorted());
  expect(await readdir(modules)).toEqual(expect.arrayContaining(RUN_TIME));
});
