// Makes a fresh clone ready (install, build) and then runs what follows on the command line. Runs on the host's own Node, without packages.
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const at = (...parts) => join(root, ...parts);

function run(title, command, args) {
  const started = Date.now();
  const env = {
    ...process.env,
    ONNXRUNTIME_NODE_INSTALL: "skip",
    PATH: `${at("node_modules", ".bin")}${process.platform === "win32" ? ";" : ":"}${process.env.PATH}`,
  };
  const { status } = spawnSync(command, args, { cwd: root, stdio: "inherit", env, shell: process.platform === "win32" });
  if (status !== 0) {
    process.stderr.write(`${title} failed\n`);
    process.exit(status ?? 1);
  }
  process.stdout.write(`${title}: ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
}

const mark = at("node_modules", ".package-lock.json");
const isInstalled =
  existsSync(mark) &&
  existsSync(at("node_modules", ".bin", "node")) &&
  statSync(mark).mtimeMs >= statSync(at("package-lock.json")).mtimeMs - 1000;
if (!isInstalled) run("Install", "npm", ["ci", "--no-fund", "--no-audit", "--loglevel=error"]);
run("Build", at("node_modules", ".bin", "node"), [at("tools", "build.mjs")]);
const [script, ...args] = process.argv.slice(2);
if (script !== undefined) run(script, at("node_modules", ".bin", "node"), [at(script), ...args]);
