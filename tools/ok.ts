/** @file The gate: format, types, layers, error wording, lint, tests (with --slow the long ones too). The last line is the tests' count; any step that fails counts as a failure. */
import { spawnSync } from "node:child_process";

const STEPS = [
  { name: "format", args: ["node_modules/oxfmt/bin/oxfmt", "--check", "src", "bench", "tools", "recipes", "examples", "vitest.config.ts"] },
  { name: "types", args: ["node_modules/typescript/bin/tsc", "-p", "tsconfig.json"] },
  { name: "types of the page", args: ["node_modules/typescript/bin/tsc", "-p", "examples/web/tsconfig.json"] },
  { name: "layers", args: ["tools/check-layers.ts"] },
  { name: "errors", args: ["tools/check-errors.ts"] },
  { name: "lint", args: ["node_modules/oxlint/bin/oxlint", "src", "tools", "bench", "recipes", "bin", "examples/web", "vitest.config.ts"] },
] as const;

const failed: string[] = [];
for (const { name, args } of STEPS) {
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  const ok = status === 0;
  if (!ok) {
    failed.push(name);
    process.stdout.write(`${stdout}${stderr}`);
  }
  process.stdout.write(`${name}: ${ok ? "ok" : "FAILED"} (${((performance.now() - started) / 1000).toFixed(1)} s)\n`);
}
const tests = spawnSync(process.execPath, ["node_modules/vitest/vitest.mjs", "run", "--reporter=./tools/reporter.ts"], {
  encoding: "utf8",
  maxBuffer: 1 << 28,
  env: { ...process.env, ...(process.argv.includes("--slow") ? { TRICERA_SLOW: "1" } : {}) },
});
const [, passed = "0", bad = "1", skipped = "0"] = /(\d+) passed, (\d+) failed, (\d+) skipped\s*$/.exec(tests.stdout) ?? [];
process.stdout.write(tests.stdout.replace(/\d+ passed, \d+ failed, \d+ skipped\s*$/, ""));
if (tests.status !== 0) process.stdout.write(tests.stderr);
const crashed = tests.status !== 0 && bad === "0" ? 1 : 0;
process.stdout.write(
  `${failed.length > 0 ? `failed steps: ${failed.join(", ")}\n` : ""}${passed} passed, ${Number(bad) + failed.length + crashed} failed, ${skipped} skipped\n`,
);
process.exitCode = failed.length > 0 || tests.status !== 0 ? 1 : 0;
