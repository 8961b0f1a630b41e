/**
 * @file Opens folders that we write with Python's transformers (of ResNets: timm) and compares outputs with ours:
 * `node tools/check-transformers.ts [python]`.
 *
 * Random weights, no network. One line a class with the largest error over the largest output; exits with 1 where keys are missing or left
 * over, or the error is above 1e-4. Says so and exits with 0 where Python has no torch, transformers, timm and safetensors.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type HostTensor, Rng, sizeOf } from "../src/core/index.ts";
import { openCpu } from "../src/engine/runtime/index.ts";
import { Encoder } from "../src/features/index.ts";
import { type BackboneConfig, backboneSpecs, backboneState, backboneWidth, initParam, isViT, type ViTConfig } from "../src/nn/index.ts";
import { float32Of, readBackbone, writeModelFolder, writeSafetensors } from "../src/weights/index.ts";
import * as small from "./lib/small-networks.ts";

/** At the size of this check. */
const sized = (config: ViTConfig): ViTConfig => ({ ...config, imageSizePx: 42, width: 36, depth: 2 });
const [V2, V3] = [sized(small.V2), sized(small.V3)];
const GATED = { ffn: "swiglu", ffnHidden: 96 } as const;
const CASES: Readonly<Record<string, BackboneConfig>> = {
  vit: sized(small.V1),
  dinov2: V2,
  "dinov2-without-mask-token": { ...V2, maskToken: false },
  "dinov2-swiglu": { ...V2, ffn: "swiglu-fused", ffnHidden: 96 },
  "dinov2-with-registers": sized(small.V2_REGISTERS),
  dinov3: V3,
  "dinov3-gated": { ...V3, ...GATED },
  "dinov3-without-biases": { ...V3, ...GATED, qkvBias: false, localClsNorm: true },
  "dinov3-without-registers": { ...V3, registers: 0, rope: { base: 50 } },
  "dinov3-convnext": small.CONVNEXT,
  resnet18: { family: "resnet", block: "basic", depths: [2, 2, 2, 2], width: 64 },
  resnet50: { family: "resnet", block: "bottleneck", depths: [3, 4, 6, 3], width: 64 },
  "resnet-of-other-depths": { family: "resnet", block: "bottleneck", depths: [1, 2, 1, 1], width: 64, channels: 3 },
};

const PYTHON = `
import json, sys, timm, torch
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModel
torch.set_num_threads(1)
bad = 0

def largest(model, case, tokens):
    worst = 0.0
    for x in [k for k in case if k.startswith("x")]:
        with torch.no_grad():
            y = tokens(model, case[x])
        worst = max(worst, float((y - case["y" + x[1:]]).abs().max() / y.abs().max()))
    return worst

def of_timm(model, x):
    map = model.forward_features(x)
    return torch.cat([model(x)[:, None], map.flatten(2).transpose(1, 2)], 1)

for name in sys.argv[2:]:
    folder = sys.argv[1] + "/" + name
    described = json.load(open(folder + "/config.json"))
    case = load_file(sys.argv[1] + "/" + name + ".safetensors")
    if "architecture" in described:
        model = timm.create_model("local-dir:" + folder, pretrained=True).eval()
        data = timm.data.resolve_model_data_config(model)
        own, stored = model.state_dict(), load_file(folder + "/model.safetensors")
        keys = len({k for k in own if not k.endswith("num_batches_tracked")} ^ set(stored))
        worst = largest(model, case, of_timm)
        fits = list(data["input_size"]) == [3, 224, 224] and data["crop_pct"] == 0.875 and data["interpolation"] == "bicubic"
        bad += keys > 0 or not worst <= 1e-4 or not fits
        print(f"{name}: timm's {described['architecture']}, keys that do not fit {keys}, pictures {data['input_size']} {data['interpolation']}, error {worst:.2e}", flush=True)
        continue
    is_vit = described["model_type"] == "vit"
    model, info = AutoModel.from_pretrained(folder, output_loading_info=True, **({"add_pooling_layer": False} if is_vit else {}))
    model.eval()
    processor = AutoImageProcessor.from_pretrained(folder)
    keys = sum(len(info[k]) for k in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    more = {"interpolate_pos_encoding": True} if is_vit else {}
    worst = largest(model, case, lambda model, x: model(pixel_values=x, **more).last_hidden_state)
    bad += keys > 0 or not worst <= 1e-4
    print(f"{name}: {type(model).__name__}, {type(processor).__name__}, keys that do not fit {keys}, error {worst:.2e}", flush=True)
sys.exit(1 if bad else 0)
`;

/** Weights that are all in use: about what training gives, norms near one. */
function randomWeights(config: BackboneConfig, rng: Rng): Map<string, HostTensor> {
  return new Map(
    [...backboneSpecs(config), ...backboneState(config)].map((spec) => {
      const data = new Float32Array(sizeOf(spec.shape));
      const std = spec.init.kind === "normal" && !isViT(config) && config.family === "resnet" ? spec.init.std : 0.2;
      initParam({ ...spec, init: { kind: "normal", std } }, data, rng);
      const isNorm = /(?:norm\d?|bn\d|downsample\.1)\.weight$|gamma$|running_var$/.test(spec.name);
      if (isNorm) for (const [i, x] of data.entries()) data[i] = Math.abs(x + 1);
      return [spec.name, { dtype: "f32", shape: spec.shape, data }] as const;
    }),
  );
}

/** Pictures of the stored size and of a larger one, and what the folder gives when we open it. */
async function writeCase(root: string, name: string, config: BackboneConfig): Promise<void> {
  const rng = new Rng(1).split(name);
  const dir = join(root, name);
  await writeModelFolder(dir, { config, tensors: randomWeights(config, rng) });
  using device = openCpu({ threads: 1 });
  const { config: read, tensors } = await readBackbone(dir);
  const params = float32Of(tensors);
  using encoder = new Encoder({ config: read, params, device });
  const out = new Map<string, HostTensor>();
  for (const sizePx of isViT(config) ? [42, 70] : [64, 96]) {
    const images = Float32Array.from({ length: 2 * 3 * sizePx ** 2 }, () => rng.normal(0, 1));
    const { features } = await encoder.encode(images, { pool: "all", sizePx });
    out.set(`x${sizePx}`, { dtype: "f32", shape: [2, 3, sizePx, sizePx], data: images });
    out.set(`y${sizePx}`, { dtype: "f32", shape: [2, encoder.tokens("all", sizePx), backboneWidth(config)], data: features.slice() });
  }
  await writeSafetensors(join(root, `${name}.safetensors`), out);
}

async function main(python: string): Promise<number> {
  const there = spawnSync(python, ["-c", "import torch, transformers, timm, safetensors"], { stdio: "ignore" });
  if (there.status !== 0) {
    process.stdout.write(`Left out: "${python}" has no torch, transformers, timm and safetensors\n`);
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
