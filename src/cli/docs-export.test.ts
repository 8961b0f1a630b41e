import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { writePicture } from "../features/testing/tiny-model.ts";
import { weightsInUse } from "../features/testing/small-networks.ts";
import type { ViTConfig } from "../nn/index.ts";
import { writeModelFolder } from "../weights/index.ts";
import { runCli } from "./testing/run-cli.ts";
import { SMALL_VIT } from "../nn/testing/small-vit.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const PYTHON = process.env["TRICERA_PYTHON"] ?? "python3";
const run = promisify(execFile);

/** A network that runs in a moment at 224 px. */
const TINY: ViTConfig = { ...SMALL_VIT, imageSizePx: 224, patchSizePx: 56 };

let dir = "";
const before = process.cwd();
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-docs-export-"));
  for (const model of ["runs/first/exported/last", "facebook/dinov2-small"])
    await writeModelFolder(join(dir, model), { config: TINY, tensors: weightsInUse(TINY) });
  for (let i = 0; i < 8; i++)
    for (const [c, label] of ["cat", "dog"].entries())
      await writePicture(join(dir, "photos", label, `${i}.png`), { colour: c === 0 ? [200, 40, 40] : [40, 40, 200], seed: i });
  await symlink(join(root, "node_modules"), join(dir, "node_modules"));
  process.chdir(dir);
});
afterAll(async () => {
  process.chdir(before);
  await rm(dir, { recursive: true });
});

/** The page's code in a language; programs are told apart by what they import. */
async function codeOf(language: string, part: string): Promise<string> {
  const text = await readFile(join(root, "docs/export.md"), "utf8");
  const found = [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].flatMap(([, word, code = ""]) => (word === language ? [code] : []));
  return found.filter((code) => code.includes(part)).join("");
}

test("docs/export.md: its commands run one after another", async () => {
  const lines = (await codeOf("sh", "")).trim().split("\n");
  expect(lines.length).toBeGreaterThan(8);
  for (const line of lines) {
    const { code, all } = await runCli(line.split(/\s+/).slice(2));
    expect(code, `${line}\n${all}`).toBe(0);
  }
  for (const file of ["first.onnx", "small.onnx", "first-hf/onnx/model.onnx", "first.safetensors", "dinov2.onnx_data", "same.safetensors"])
    expect(existsSync(join(dir, file)), file).toBe(true);
});

test("docs/export.md: its program for onnxruntime-node runs", async () => {
  await writeFile(join(dir, "node.mjs"), await codeOf("js", 'from "onnxruntime-node'));
  expect((await run(process.execPath, ["node.mjs"], { cwd: dir })).stdout).toMatch(/^\[ 1, 16 \] \[ 1, 16, 16 \]\n$/);
});

test("docs/export.md: its program for onnxruntime-web runs, the file served as a page has it", async () => {
  const server = createServer((_, response) => void readFile(join(dir, "first.onnx")).then((bytes) => response.end(bytes)));
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = server.address() as AddressInfo; // it listens on a port
    const code = await codeOf("js", 'from "onnxruntime-web');
    await writeFile(join(dir, "web.mjs"), code.replace('"first.onnx"', `"http://127.0.0.1:${port}/first.onnx"`));
    expect((await run(process.execPath, ["web.mjs"], { cwd: dir })).stdout).toMatch(/^\[ 1, 16 \]\n$/);
  } finally {
    server.close();
  }
});

test("docs/export.md: its program for transformers.js runs where TRICERA_TRANSFORMERS_JS names a folder with it", async ({ skip }) => {
  const code = await codeOf("js", "@huggingface/transformers");
  await writeFile(join(dir, "transformers.mjs"), code);
  await run(process.execPath, ["--check", "transformers.mjs"], { cwd: dir });
  const installed = process.env["TRICERA_TRANSFORMERS_JS"] ?? "";
  skip(installed === "", "TRICERA_TRANSFORMERS_JS names no folder with @huggingface/transformers installed");
  const inside = join(dir, "js");
  await mkdir(inside);
  await symlink(join(installed, "node_modules"), join(inside, "node_modules"));
  const placed = code.replace('"."', JSON.stringify(dir)).replace("photos/cat.jpg", join(dir, "photos/cat/0.png"));
  await writeFile(join(inside, "program.mjs"), placed);
  expect((await run(process.execPath, ["program.mjs"], { cwd: inside })).stdout).toMatch(/\[ 1, 17, 16 \]/);
});

test("docs/export.md: its program for Python runs where onnxruntime is installed", async ({ skip }) => {
  const there = await run(PYTHON, ["-c", "import numpy, onnxruntime"]).catch(() => undefined);
  skip(there === undefined, `"${PYTHON}" has no numpy and onnxruntime (TRICERA_PYTHON names another)`);
  const code = await codeOf("python", "");
  expect((await run(PYTHON, ["-c", code], { cwd: dir })).stdout).toContain("(1, 16) (1, 16, 16)");
});
