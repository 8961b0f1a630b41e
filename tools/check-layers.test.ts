import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { checkSource } from "./check-layers.ts";

test.each([
  ["a room above", "src/nn/vit.ts", 'import { train } from "../train/index.ts";', "train is above nn"],
  ["a type of a room above", "src/evals/knn.ts", 'import type { X } from "../methods/index.ts";', "methods is above evals"],
  ["a re-export from above", "src/core/index.ts", 'export { a } from "../engine/ir/index.ts";', "engine is above core"],
  ["a dynamic import from above", "src/data/list.ts", 'const x = await import("../cli/main.ts");', "cli is above data"],
  ["an import over several lines", "src/core/rng.ts", 'import {\n  a,\n  b,\n} from "../optim/index.ts";', "optim is above core"],
  ["a file inside another room", "src/train/train.ts", 'import { a } from "../weights/half.ts";', "import weights's index.ts"],
  ["more of the engine than trace", "src/objectives/dino.ts", 'import { a } from "../engine/grad/index.ts";', "trace only"],
  ["a higher room of the engine", "src/engine/ir/verify.ts", 'import { a } from "../passes/index.ts";', "passes is above ir"],
  ["a room nobody knows", "src/utils/x.ts", 'import { a } from "../core/index.ts";', "utils is in no list"],
  ["sharp outside of images/node", "src/data/list.ts", 'import sharp from "sharp";', "only src/images/node/ may"],
  ["a native runtime outside of engine/runtime", "src/cli/main.ts", 'import "koffi";', "only src/engine/runtime/ may"],
  ["Node where a browser runs", "src/images/blur.ts", 'import { cpus } from "node:os";', "without Node"],
  ["Node's part of images in the rest", "src/images/crops.ts", 'import { a } from "./node/index.ts";', "in a browser"],
])("checkSource() catches %s", (_, file, code, wrong) => {
  expect(checkSource(file, `/** @file x */\n${code}\n`)).toEqual([expect.stringContaining(wrong)]);
});

test.each([
  ["src/train/train.ts", 'import { a } from "../weights/index.ts";'],
  ["src/nn/vit.ts", 'import { Tensor } from "../engine/trace/index.ts";'],
  ["src/optim/ops.test.ts", 'import { runGraph } from "../engine/testing/run-graph.ts";'],
  ["src/images/node/sharp.ts", 'import type Sharp from "sharp";\nimport { a } from "../image.ts";'],
  ["src/engine/runtime/ort/api.ts", 'import koffi from "koffi";\nimport { a } from "../../onnx/index.ts";'],
  ["src/cli/doctor-checks.ts", 'export const name = "sharp";'],
])("checkSource() lets %s import %j", (file, code) => {
  expect(checkSource(file, code)).toEqual([]);
});

test("the step fails on a wrong import and names file and rule", () => {
  const dir = mkdtempSync(join(tmpdir(), "tricera-layers-"));
  try {
    const file = join(dir, "src/core/errors.ts");
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, 'import { train } from "../train/index.ts";\n');
    const script = fileURLToPath(new URL("./check-layers.ts", import.meta.url));
    const { status, stdout } = spawnSync(process.execPath, [script], { cwd: dir, encoding: "utf8" });
    expect({ status, stdout }).toEqual({ status: 1, stdout: "src/core/errors.ts imports src/train/index.ts: train is above core\n" });
  } finally {
    rmSync(dir, { recursive: true });
  }
});
