// Builds the package into dist/. The new build takes the old one's place when it is whole: no file of an earlier build stays, and a
// build that fails leaves the old one. Runs on the host's own Node.
import { spawnSync } from "node:child_process";
import { mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const [target, fresh, old] = ["dist", ".cache/dist.new", ".cache/dist.old"].map((name) => join(root, name));

rmSync(fresh, { recursive: true, force: true });
mkdirSync(join(root, ".cache"), { recursive: true });
const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
const { status } = spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json", "--outDir", fresh], { cwd: root, stdio: "inherit" });
if (status !== 0) {
  rmSync(fresh, { recursive: true, force: true });
  process.exit(status ?? 1);
}
rmSync(old, { recursive: true, force: true });
try {
  renameSync(target, old);
} catch (error) {
  if (error.code !== "ENOENT") throw error;
}
renameSync(fresh, target);
rmSync(old, { recursive: true, force: true });
