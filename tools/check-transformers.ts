/**
 * @file Opens folders that we write with Python's transformers and compares outputs with ours: `node tools/check-transformers.ts [python]`.
 *
 * Random weights, no network. One line a class with the largest error over the largest output; exits with 1 where keys are missing or left
 * over, or the error is above 1e-4. Says so and exits with 0 where Python has no torch, transformers and safetensors.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type HostTensor, Rng, sizeOf } from "../src/core/index.ts";
import { openCpu } from "../src/engine/runtime/index.ts";
import { Encoder } from "../src/features/index.ts";
import { initParam, type ViTConfig, vitSpecs } from "../src/nn/index.ts";
import { readBackbone, writeModelFolder, writeSafetensors } from "../src/weights/index.ts";

const V1: ViTConfig = {
  imageSizePx: 42,
  patchSizePx: 14,
  width: 36,
  depth: 2,
  heads: 3,
  mlpRatio: 4,
  layerNormEps: 1e-6,
  posInterpolation: "size",
};
const V2: ViTConfig = { ...V1, layerScale: 1, maskToken: true };
const V3: ViTConfig = {
  ...V2,
  layerNormEps: 1e-5,
  positions: "rope",
  registers: 4,
  registerName: "storage_tokens",
  keyBiasMask: true,
  rope: { base: 100, rescale: 2 },
};
const GATED = { ffn: "swiglu", ffnHidden: 96 } as const;
const CASES: Readonly<Record<string, ViTConfig>> = {
  vit: V1,
  dinov2: V2,
  "dinov2-without-mask-token": { ...V2, maskToken: false },
  "dinov2-swiglu": { ...V2, ffn: "swiglu-fused", ffnHidden: 96 },
  "dinov2-with-registers": { ...V2, registers: 4, posInterpolation: "size-antialias" },
  dinov3: V3,
  "dinov3-gated": { ...V3, ...GATED },
  "dinov3-without-biases": { ...V3, ...GATED, qkvBias: false, localClsNorm: true },
  "dinov3-without-registers": { ...V3, registers: 0, rope: { base: 50 } },
};

const PYTHON = `
import json, sys, torch
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModel
torch.set_num_threads(1)
bad = 0
for name in sys.argv[2:]:
    folder = sys.argv[1] + "/" + name
    is_vit = json.load(open(folder + "/config.json"))["model_type"] == "vit"
    model, info = AutoModel.from_pretrained(folder, output_loading_info=True, **({"add_pooling_layer": False} if is_vit else {}))
    model.eval()
    processor = AutoImageProcessor.from_pretrained(folder)
    keys = sum(len(info[k]) for k in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    case, worst = load_file(sys.argv[1] + "/" + name + ".safetensors"), 0.0
    for x in [k for k in case if k.startswith("x")]:
        more = {"interpolate_pos_encoding": True} if is_vit else {}
        with torch.no_grad():
            y = model(pixel_values=case[x], **more).last_hidden_state
        worst = max(worst, float((y - case["y" + x[1:]]).abs().max() / y.abs().max()))
    bad += keys > 0 or not worst <= 1e-4
    print(f"{name}: {type(model).__name__}, {type(processor).__name__}, keys that do not fit {keys}, error {worst:.2e}", flush=True)
sys.exit(1 if bad else 0)
`;

/** Weights that are all in use: about what training gives, norms near one. */
function randomWeights(config: ViTConfig, rng: Rng): Map<string, HostTensor> {
  return new Map(
    vitSpecs(config).map((spec) => {
      const data = new Float32Array(sizeOf(spec.shape));
      initParam({ ...spec, init: { kind: "normal", std: 0.2 } }, data, rng);
      if (/norm\d?\.weight$|gamma$/.test(spec.name)) for (const [i, x] of data.entries()) data[i] = x + 1;
      return [spec.name, { dtype: "f32", shape: spec.shape, data }] as const;
    }),
  );
}

/** Pictures of the stored size and of a larger one, and what the folder gives when we open it. */
async function writeCase(root: string, name: string, config: ViTConfig): Promise<void> {
  const rng = new Rng(1).split(name);
  const dir = join(root, name);
  await writeModelFolder(dir, { config, tensors: randomWeights(config, rng) });
  using device = openCpu({ threads: 1 });
  const { config: read, tensors } = await readBackbone(dir);
  const params = new Map([...tensors].flatMap(([key, { data }]) => (data instanceof Float32Array ? [[key, data] as const] : [])));
  using encoder = new Encoder({ config: read, params, device });
  const out = new Map<string, HostTensor>();
  for (const sizePx of [42, 70]) {
    const images = Float32Array.from({ length: 2 * 3 * sizePx ** 2 }, () => rng.normal(0, 1));
    const { features } = await encoder.encode(images, { pool: "all", sizePx });
    out.set(`x${sizePx}`, { dtype: "f32", shape: [2, 3, sizePx, sizePx], data: images });
    out.set(`y${sizePx}`, { dtype: "f32", shape: [2, encoder.tokens("all", sizePx), config.width], data: features.slice() });
  }
  await writeSafetensors(join(root, `${name}.safetensors`), out);
}

async function main(python: string): Promise<number> {
  const there = spawnSync(python, ["-c", "import torch, transformers, safetensors"], { stdio: "ignore" });
  if (there.status !== 0) {
    process.stdout.write(`Left out: "${python}" has no torch, transformers and safetensors\n`);
    return 0;
  }
  const root = mkdtempSync(join(tmpdir(), "tricera transformers "));
  try {
    for (const [name, config] of Object.entries(CASES)) await writeCase(root, name, config);
    const env = { ...process.env, HF_HUB_OFFLINE: "1", TRANSFORMERS_VERBOSITY: "error" };
    const { status, stdout, stderr } = spawnSync(python, ["-c", PYTHON, root, ...Object.keys(CASES)], { encoding: "utf8", env });
    process.stdout.write(status === 0 ? stdout : `${stdout}${stderr}`);
    return status === 0 ? 0 : 1;
  } finally {
    rmSync(root, { recursive: true });
  }
}

if (import.meta.main) process.exitCode = await main(process.argv[2] ?? "python3");
