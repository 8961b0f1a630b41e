/**
 * @file Disk use of the installed package and everything it needs at run time, by package.
 *
 *   npm run -s bench -- install-size [--keep DIR]
 *
 * Packs this repository, installs the file into an empty folder (no Node of its own, post-install of onnxruntime-node skipped) and adds
 * up the blocks that its files take, each file once, as `du` does. 1 MB is 2^20 bytes, as in `du -sm`. The peer is
 * `du -sm` of the site-packages of a fresh `pip install torch torchvision timm lightly`.
 */
import { spawnSync } from "node:child_process";
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { keep: { type: "string" } } });
const root = fileURLToPath(new URL("..", import.meta.url));

function npm(args: readonly string[], cwd: string): string {
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" };
  const { status, stdout, stderr } = spawnSync("npm", [...args, "--loglevel=error"], { cwd, env, encoding: "utf8" });
  if (status !== 0) throw new Error(`Cannot run npm ${args[0] ?? ""}: it failed; it said:\n${stderr}`);
  return stdout;
}

const seen = new Set<number>();

/** Bytes on disk below a path: 512-byte blocks, hard links once. */
function bytesOf(path: string): number {
  const stat = lstatSync(path);
  const own = seen.has(stat.ino) ? 0 : stat.blocks * 512;
  seen.add(stat.ino);
  if (!stat.isDirectory()) return own;
  return readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), own);
}

/** The packages of a node_modules folder, scoped ones by their full names. */
function packagesIn(folder: string): readonly string[] {
  const names = readdirSync(folder).filter((name) => !name.startsWith("."));
  return names.flatMap((name) => (name.startsWith("@") ? readdirSync(join(folder, name)).map((inner) => `${name}/${inner}`) : [name]));
}

const temp = values.keep ?? mkdtempSync(join(tmpdir(), "tricera-size-"));
mkdirSync(temp, { recursive: true });
try {
  npm(["pack", "--pack-destination", temp], root);
  const file = readdirSync(temp).find((name) => name.endsWith(".tgz"));
  if (file === undefined) throw new Error("Cannot install the package: npm pack wrote no file; look at its output");
  const app = join(temp, "app");
  mkdirSync(app, { recursive: true });
  npm(["install", "--no-audit", "--no-fund", join(temp, file)], app);
  const modules = join(app, "node_modules");
  const sizes = packagesIn(modules).map((name) => [name, bytesOf(join(modules, name))] as const);
  const total = sizes.reduce((sum, [, bytes]) => sum + bytes, 0) + bytesOf(modules); // what is left: .bin, the lock file, folders
  const packages = Object.fromEntries(sizes.toSorted(([, a], [, b]) => b - a));
  console.log(
    JSON.stringify({ script: "install-size", total_mb: Math.round(total / 2 ** 20), total_bytes: total, packages_bytes: packages }),
  );
} finally {
  if (values.keep === undefined) rmSync(temp, { recursive: true, force: true });
}
