import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { vitPreset } from "../../nn/index.ts";
import { type ConvertResult, readBackbone, writeSafetensors } from "../../weights/index.ts";
import { randomBackbone } from "../../weights/testing/random-weights.ts";
import { type CliRun, runCli } from "../testing/run-cli.ts";
import { formatConverted } from "./models-convert.ts";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera-convert-"));
  await writeSafetensors(join(root, "teacher.safetensors"), randomBackbone({ ...vitPreset("dino_vitt16"), imageSizePx: 32 }));
});
afterAll(() => rm(root, { recursive: true }));

const run = (line: string): Promise<CliRun> => runCli(line.replaceAll("ROOT", root).split(" "));

test("models convert writes a folder for transformers and says what, where, and that it was checked", async () => {
  const { code, out, err } = await run("models convert ROOT/teacher.safetensors --arch dino_vitt16 --to hf --out ROOT/hf/");
  expect([code, err]).toEqual([0, expect.stringMatching(/^(?:converting.*\n)*$/)]);
  expect(out).toMatch(
    /^teacher\.safetensors: dino_vitt16, Meta's weights, 5\.5 M parameters\nwrote \S+\/hf\/ \(hf\): 198 tensors, 22\.0 MB\nchecked: 150 tensors read again, all equal bit by bit\n$/,
  );
  expect((await readdir(join(root, "hf"))).toSorted()).toEqual(["config.json", "model.safetensors", "preprocessor_config.json"]);
  expect((await readBackbone(join(root, "hf"))).config).toMatchObject({ width: 192, imageSizePx: 32 });
});

test("models convert takes any target, tells the architecture by the shapes, and prints JSON", async () => {
  const { code, out } = await run("models convert --to timm --out ROOT/timm ROOT/teacher.safetensors --json");
  expect(code, out).toBe(0);
  expect(JSON.parse(out)).toMatchObject({ to: "timm", architecture: "dino_vitt16", tensors: 150, checked: 150, leftOut: [] });
  for (const to of ["meta", "safetensors"])
    expect((await run(`models convert ROOT/teacher.safetensors --to ${to} --out ROOT/${to}.safetensors`)).code).toBe(0);
});

test.each([
  ["models convert --to hf --out ROOT/x", 2, /without --src/],
  ["models convert ROOT/teacher.safetensors --out ROOT/x", 2, /without --to: it says what to write \(hf, timm, meta, safetensors\)/],
  ["models convert ROOT/teacher.safetensors --to hf", 2, /without --out/],
  ["models convert ROOT/teacher.safetensors --to onnx --out ROOT/x", 2, /it takes hf, timm, meta, safetensors/],
  ["models convert ROOT/teacher.safetensors --to meta --out ROOT/x", 2, /one file is written/],
  ["models convert ROOT/teacher.safetensors ROOT/x --to hf", 2, /Cannot use argument/],
  ["models convert ROOT/teacher.safetensors --arch dino_vitz16 --to hf --out ROOT/x", 2, /did you mean "dino_vit[a-z]16"/],
  ["models convert ROOT/absent.pth --to hf --out ROOT/x", 1, /it does not exist/],
  ["models convert facebook/dinov2-huge --to hf --out ROOT/x", 2, /models pull facebook\/dinov2-huge/],
])("%s is refused", async (line, code, message) => {
  const result = await run(line);
  expect(result.err).toMatch(message);
  expect(result.code).toBe(code);
  expect(await readdir(root)).not.toContain("x");
});

test("a result is not replaced unless --overwrite says so", async () => {
  const line = "models convert ROOT/teacher.safetensors --to meta --out ROOT/again.safetensors";
  expect((await run(line)).code).toBe(0);
  expect(await run(line)).toMatchObject({ code: 2, err: expect.stringContaining("it exists") });
  expect((await run(`${line} --overwrite`)).code).toBe(0);
});

test("formatConverted() says what the target has no place for", () => {
  const result: ConvertResult = {
    to: "timm",
    out: "o",
    file: "/a/b.pth",
    source: "tricera",
    architecture: null,
    parameters: 2e9,
    tensors: 3,
    sizeBytes: 8e9,
    checked: 2,
    leftOut: ["mask_token"],
  };
  expect(formatConverted(result)).toBe(
    "b.pth: a network of no preset, a run's weights, 2.00 B parameters\nwrote o (timm): 3 tensors, 8.0 GB\nchecked: 2 tensors read again, all equal bit by bit\nleft out, since timm has no place for it: mask_token\n",
  );
});
