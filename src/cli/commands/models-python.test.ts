import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { embed, exportModel, loadModel, type Pooling, readFeatureTable } from "../../features/index.ts";
import { writePicture } from "../../features/testing/tiny-model.ts";
import { convnextPreset, type ViTConfig, vitPreset } from "../../nn/index.ts";
import { convertModel, writeModelFolder, writeSafetensors } from "../../weights/index.ts";
import { randomBackbone } from "../../weights/testing/random-weights.ts";

const EXAMPLES = fileURLToPath(new URL("../../../examples/python/", import.meta.url));
const PYTHON = process.env["TRICERA_PYTHON"] ?? "python3";
const run = promisify(execFile);
/** No network, one thread, no files of bytecode among the examples. */
const QUIET = { HF_HUB_OFFLINE: "1", OMP_NUM_THREADS: "1", PYTHONDONTWRITEBYTECODE: "1", TRANSFORMERS_VERBOSITY: "error" };

/** What a script prints. */
async function python(script: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await run(PYTHON, [join(EXAMPLES, script), ...args], { env: { ...process.env, ...QUIET }, timeout: 240_000 });
  return stdout;
}

/** What is missing: Python itself, or packages by the names that pip has. Nothing is imported, which takes long. */
async function missing(modules: readonly string[]): Promise<string | undefined> {
  const code = `import importlib.util as u; print(" ".join(m for m in ${JSON.stringify(modules)} if u.find_spec(m) is None))`;
  try {
    const absent = (await run(PYTHON, ["-c", code])).stdout.trim().replace("PIL", "pillow");
    return absent === "" ? undefined : `"${PYTHON}" lacks packages: pip install ${absent} (TRICERA_PYTHON names another Python)`;
  } catch {
    return `there is no "${PYTHON}": install Python 3, or name one by TRICERA_PYTHON`;
  }
}

/** The network of all tests: small, of a size that timm has a name for. */
const TINY: ViTConfig = { ...vitPreset("vit_tiny_patch16_224"), imageSizePx: 32 };

let root = "";
const at = (...parts: string[]): string => join(root, ...parts);
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera python "));
  await writeModelFolder(at("model"), { config: TINY, tensors: randomBackbone(TINY) });
  for (const [i, name] of ["cat/a", "cat/b", "dog/c"].entries())
    await writePicture(at("photos", `${name}.png`), { colour: [60 * i, 100, 180 - 60 * i], seed: i });
});
afterAll(() => rm(root, { recursive: true }));

async function embedTo(file: string, pool: Pooling = "cls"): Promise<string> {
  const out = at(file);
  await embed({ model: at("model"), data: at("photos"), out, pool, overwrite: true });
  return out;
}

/** The numbers that a line of output begins with these words holds. */
function numbersAfter(words: string, text: string): Float32Array {
  const line = text.split("\n").find((one) => one.startsWith(`${words} `)) ?? expect.fail(text);
  return Float32Array.from(line.slice(words.length).trim().split(/\s+/), Number);
}

/** From file to feature: decoders are the same, resizing is one of Pillow's or torchvision's arithmetics, a last bit of a pixel apart. */
function expectSame(found: Float32Array, wanted: Float32Array): void {
  expect(found.length).toBe(wanted.length);
  const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, x, i) => sum + x * (b[i] ?? Number.NaN), 0);
  expect(dot(found, wanted) / Math.sqrt(dot(found, found) * dot(wanted, wanted))).toBeGreaterThan(0.9999);
  expect(Math.sqrt(dot(found, found) / dot(wanted, wanted))).toBeCloseTo(1, 3);
}

describe("features that embed wrote are read in Python", () => {
  test.for([
    ["f.safetensors", ["numpy", "safetensors"]],
    ["f.npy", ["numpy"]],
    ["f.csv", ["numpy"]],
    ["f.parquet", ["numpy", "pyarrow"]],
  ] as const)("%s", { timeout: 120_000 }, async ([file, modules], { skip }) => {
    const lacks = await missing(modules);
    skip(lacks !== undefined, lacks);
    const out = await embedTo(file);
    const { features } = await readFeatureTable(out);
    const text = await python("read_features.py", out);
    expect(text).toMatch(/^3 pictures, features \[3, 192\] float32\nfirst: .*cat\/a\.png \(cat\): \[/);
    const shown = /\[([^\]]+)\]\s*$/.exec(text)?.[1]?.trim().split(/\s+/).map(Number) ?? [];
    expect(shown.length).toBe(3);
    for (const [i, x] of shown.entries()) expect(x).toBeCloseTo(features[i] ?? Number.NaN, 5);
  });

  test("of patches", { timeout: 120_000 }, async ({ skip }) => {
    const lacks = await missing(["numpy", "safetensors"]);
    skip(lacks !== undefined, lacks);
    expect(await python("read_features.py", await embedTo("p.safetensors", "patch"))).toContain("features [3, 4, 192] float32");
  });

  test("and searched", { timeout: 120_000 }, async ({ skip }) => {
    const lacks = await missing(["numpy", "pyarrow"]);
    skip(lacks !== undefined, lacks);
    const lines = (await python("nearest.py", await embedTo("n.parquet"))).trim().split("\n");
    expect(lines[0]).toMatch(/^1\.0000 .*cat\/a\.png$/);
    expect(lines.length).toBe(3);
  });
});

test("weights are read by safetensors alone", { timeout: 120_000 }, async ({ skip }) => {
  const lacks = await missing(["numpy", "safetensors"]);
  skip(lacks !== undefined, lacks);
  await convertModel(at("model"), { to: "meta", out: at("meta.safetensors"), overwrite: true });
  const text = await python("read_weights.py", at("meta.safetensors"));
  expect(text).toMatch(/blocks\.0\.attn\.proj\.bias \[192\]\n[^]*150 tensors; \S+ begins \[/);
});

describe("a model gives in Python what it gives here", () => {
  const picture = (): string => at("photos", "cat", "a.png");
  /** The class token that our own code computes from the file. */
  const ours = async (folder: string): Promise<Float32Array> => {
    await using model = await loadModel(folder, { threads: 1 });
    return (await model.embed(picture())).cls;
  };

  test("in transformers", { timeout: 300_000 }, async ({ skip }) => {
    const lacks = await missing(["transformers", "torch", "PIL"]);
    skip(lacks !== undefined, lacks);
    const text = await python("use_transformers.py", at("model"), picture());
    expect(text).toContain("ViTModel: tokens [1, 5, 192]");
    expectSame(numbersAfter("class token", text), await ours(at("model")));
  });

  test("in timm, after models convert", { timeout: 300_000 }, async ({ skip }) => {
    const lacks = await missing(["timm", "torch", "PIL"]);
    skip(lacks !== undefined, lacks);
    await convertModel(at("model"), { to: "timm", out: at("timm"), overwrite: true });
    const text = await python("use_timm.py", at("timm"), picture());
    expect(text).toContain("VisionTransformer: features [1, 192]");
    expectSame(numbersAfter("features", text), await ours(at("timm")));
  });

  test("in timm, of a ConvNeXt", { timeout: 300_000 }, async ({ skip }) => {
    const lacks = await missing(["timm", "torch", "PIL"]);
    skip(lacks !== undefined, lacks);
    const config = { ...convnextPreset("dinov3_convnext_tiny"), depths: [1, 1, 2, 1], widths: [16, 24, 32, 40] } as const;
    await writeSafetensors(at("convnext.safetensors"), randomBackbone(config));
    await convertModel(at("convnext.safetensors"), { to: "timm", out: at("timm-convnext"), overwrite: true });
    const text = await python("use_timm.py", at("timm-convnext"), picture());
    expectSame(numbersAfter("features", text), await ours(at("timm-convnext")));
  });
});

describe("an export gives in onnxruntime what it gives here", () => {
  test.for([
    ["of weights inside", {}],
    ["of weights beside the graph, float16", { externalData: true, dtype: "f16" }],
  ] as const)("%s", { timeout: 120_000 }, async ([, options], { skip }) => {
    const lacks = await missing(["numpy", "onnxruntime", "PIL"]);
    skip(lacks !== undefined, lacks);
    const out = at("graph.onnx");
    await exportModel({ model: at("model"), out, outputs: ["last_hidden_state"], overwrite: true, ...options });
    const text = await python("run_onnx.py", out, at("photos", "cat", "a.png"));
    expect(text).toContain("last_hidden_state [1, 5, 192]");
    await using model = await loadModel(out, { threads: 1 });
    expectSame(numbersAfter("last_hidden_state begins", text), (await model.embed(at("photos", "cat", "a.png"))).cls);
  });
});

test("every example is run here", async () => {
  const scripts = (await readdir(EXAMPLES)).filter((name) => name.endsWith(".py"));
  expect(scripts.toSorted()).toEqual([
    "nearest.py",
    "read_features.py",
    "read_weights.py",
    "run_onnx.py",
    "use_timm.py",
    "use_transformers.py",
  ]);
});
