/** @file Weights of Hugging Face, Meta and timm, opened as a user opens them, meet the outputs of the libraries they come from. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { HostTensor } from "../core/index.ts";
import { expectClose, goldenPart, goldenTensor, goldenTolerance, type GoldenCase, hasGolden, loadGolden } from "../core/testing/golden.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { swigluHidden, type ViTConfig } from "../nn/index.ts";
import { type Backbone, readBackbone, writeModelFolder, writeSafetensors } from "../weights/index.ts";
import { asViT } from "../weights/testing/as-vit.ts";
import { Encoder } from "./encoder.ts";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera backbones "));
});
afterAll(() => rm(root, { recursive: true }));

/** Runs every square input of a golden, `y.<output>` being all tokens; patches, mean and attention must be parts of them. */
async function compare(golden: GoldenCase, { config, tensors }: Backbone, output: string): Promise<void> {
  using device = openCpu({ threads: 1 });
  const params = new Map([...tensors].map(([name, t]) => [name, t.data as Float32Array])); // readBackbone gives float32
  using encoder = new Encoder({ config, params, device });
  const inputs = [...golden.tensors].filter(([name, { shape }]) => /^x(@|$)/.test(name) && shape[2] === shape[3]);
  expect(inputs.length).toBeGreaterThan(0);
  for (const [name, x] of inputs) {
    const sizePx = x.shape[3] ?? 0;
    const images = x.data as Float32Array; // goldens are float32
    const wanted = goldenTensor(golden, `y${name.slice(1)}.${output}`);
    const all = (await encoder.encode(images, { pool: "all", sizePx })).features.slice();
    const tolerance = { ...goldenTolerance(golden), what: name };
    expectClose({ dtype: "f32", shape: wanted.shape, data: all }, wanted, tolerance);
    await comparePools(encoder, {
      images,
      sizePx,
      all,
      tolerance,
      attention: name === "x" ? golden.tensors.get("y.attn_last") : undefined,
    });
  }
}

interface Pools {
  readonly images: Float32Array;
  readonly sizePx: number;
  readonly all: Float32Array;
  readonly tolerance: { readonly atol: number; readonly rtol: number };
  readonly attention: HostTensor | undefined;
}

/** Class token, patches without registers, their mean, and the class token's attention over them. */
async function comparePools(encoder: Encoder, { images, sizePx, all, tolerance, attention }: Pools): Promise<void> {
  const { width: d, registers = 0, heads: h } = asViT(encoder.config);
  const [tokens, patches] = [encoder.tokens("all", sizePx), encoder.tokens("patch", sizePx)];
  const first = 1 + registers;
  expect(tokens).toBe(first + patches);
  const rows = (b: number, from: number, to: number): Float32Array => all.subarray((b * tokens + from) * d, (b * tokens + to) * d);
  const cls = (await encoder.encode(images, { pool: "cls", sizePx })).features.slice();
  const patch = (await encoder.encode(images, { pool: "patch", sizePx })).features.slice();
  const both = (await encoder.encode(images, { pool: "cls+mean", sizePx })).features.slice();
  for (const b of [0, 1]) {
    expectClose(cls.subarray(b * d, (b + 1) * d), rows(b, 0, 1), tolerance);
    expectClose(patch.subarray(b * patches * d, (b + 1) * patches * d), rows(b, first, tokens), tolerance);
    const own = rows(b, first, tokens);
    const mean = Float32Array.from({ length: d }, (_, i) => {
      let sum = 0;
      for (let p = 0; p < patches; p++) sum += own[p * d + i] ?? 0;
      return sum / patches;
    });
    expectClose(both.subarray(b * 2 * d, (b + 1) * 2 * d), [...rows(b, 0, 1), ...mean], tolerance);
  }
  if (attention === undefined) return;
  const seen = (await encoder.encode(images, { pool: "cls", sizePx, attention: true })).attention ?? new Float32Array();
  const wanted = Float32Array.from({ length: 2 * h * patches }, (_, i) =>
    Number(attention.data[Math.floor(i / patches) * tokens * tokens + first + (i % patches)]),
  );
  expectClose(seen, wanted, tolerance);
}

const HF_CASES = [
  ["hf_dino_v1", "vit", "ViTModel"],
  ["hf_dinov2", "dinov2", "Dinov2Model"],
  ["hf_dinov2_swiglu", "dinov2", "Dinov2Model"],
  ["hf_dinov2_reg", "dinov2_with_registers", "Dinov2WithRegistersModel"],
  ["hf_dinov3", "dinov3_vit", "DINOv3ViTModel"],
  ["hf_dinov3_gated", "dinov3_vit", "DINOv3ViTModel"],
  ["hf_dinov3_nobias", "dinov3_vit", "DINOv3ViTModel"],
] as const;

describe("a Hugging Face folder gives what transformers gives, and is written again byte for byte", () => {
  test.for(HF_CASES)("%s", async ([name, type, className], { skip }) => {
    skip(!hasGolden("models", name));
    const golden = loadGolden("models", name);
    const dir = join(root, name);
    await mkdir(dir);
    const weights = new Map([...goldenPart(golden, "w.")].toSorted(([a], [b]) => (a < b ? -1 : 1)));
    await writeSafetensors(join(dir, "model.safetensors"), weights, { format: "pt" });
    const described = golden.json["config"] as object; // our own reference file
    await writeFile(join(dir, "config.json"), JSON.stringify({ ...described, model_type: type }));
    const backbone = await readBackbone(dir);
    expect(backbone).toMatchObject({ source: "huggingface", processor: undefined });
    expect(asViT(backbone.config).posInterpolation).toBe(name === "hf_dinov2_reg" ? "size-antialias" : "size");
    await compare(golden, backbone, "last_hidden_state");
    const again = join(root, `${name} again`);
    await writeModelFolder(again, backbone);
    expect(await readFile(join(again, "model.safetensors"))).toEqual(await readFile(join(dir, "model.safetensors")));
    const json = JSON.parse(await readFile(join(again, "config.json"), "utf8")) as Record<string, unknown>; // written above
    expect(json).toMatchObject({
      ...described,
      model_type: type,
      architectures: [className],
      layer_norm_eps: asViT(backbone.config).layerNormEps,
    });
    const reread = await readBackbone(again);
    expect({ ...reread, processor: undefined }).toEqual({ ...backbone, file: join(again, "model.safetensors") });
    expect(reread.processor).toMatchObject({ do_normalize: true, image_mean: [0.485, 0.456, 0.406] });
  });
});

const COMMON = { depth: 2, mlpRatio: 4, posInterpolation: "size" } as const;
const V2 = {
  ...COMMON,
  imageSizePx: 42,
  patchSizePx: 14,
  width: 36,
  heads: 3,
  layerNormEps: 1e-6,
  layerScale: 1,
  maskToken: true,
} as const;
const V3 = {
  ...COMMON,
  imageSizePx: 32,
  patchSizePx: 8,
  width: 36,
  heads: 3,
  layerNormEps: 1e-5,
  layerScale: 1,
  maskToken: true,
  positions: "rope",
  registers: 4,
  registerName: "storage_tokens",
  keyBiasMask: true,
} as const;
const TIMM_V3 = { ...V3, width: 48, patchSizePx: 16 } as const;

const BARE: readonly (readonly [name: string, config: ViTConfig, output: string, source: string, positions: string])[] = [
  [
    "timm_dino_v1",
    { ...COMMON, imageSizePx: 32, patchSizePx: 8, width: 48, heads: 3, layerNormEps: 1e-6 },
    "forward_features",
    "meta",
    "meta-offset",
  ],
  ["timm_dinov2", { ...V2, width: 48 }, "forward_features", "timm", "size-antialias"],
  ["timm_dinov2_giant", { ...V2, width: 48, ffn: "swiglu-fused", ffnHidden: 128 }, "forward_features", "timm", "size-antialias"],
  ["timm_dinov2_reg", { ...V2, width: 48, registers: 4 }, "forward_features", "timm", "size-antialias"],
  ["timm_dinov3", { ...TIMM_V3, qkvBias: false }, "forward_features", "timm", "size"],
  ["timm_dinov3_plus", { ...TIMM_V3, qkvBias: false, ffn: "swiglu", ffnHidden: 192 }, "forward_features", "timm", "size"],
  ["timm_dinov3_qkvb", TIMM_V3, "forward_features", "timm", "size"],
];

describe("a file of timm's weights gives what timm gives", () => {
  test.for(BARE)("%s", async ([name, arch, output, source, positions], { skip }) => {
    skip(!hasGolden("models", name));
    const golden = loadGolden("models", name);
    const file = join(root, `${name}.safetensors`);
    await writeSafetensors(file, new Map([...goldenPart(golden, "w."), ["head.weight", goldenTensor(golden, "w.norm.weight")]]));
    const backbone = await readBackbone(file, { arch });
    expect(backbone).toMatchObject({ source, config: { posInterpolation: positions } });
    await compare(golden, backbone, output);
  });
});

const META: readonly (readonly [name: string, config: ViTConfig])[] = [
  ["meta_dino_v1", { ...COMMON, depth: 3, imageSizePx: 32, patchSizePx: 8, width: 36, heads: 3, layerNormEps: 1e-6 }],
  ["meta_dinov2", V2],
  ["meta_dinov2_reg_swiglu", { ...V2, registers: 4, ffn: "swiglu-fused", ffnHidden: swigluHidden(36, { ratio: 4 }) }],
  ["meta_dinov3", V3],
  ["meta_dinov3_swiglu", { ...V3, ffn: "swiglu", ffnHidden: swigluHidden(36, { ratio: 6 }) }],
  [
    "meta_dinov3_7bstyle",
    { ...V3, ffn: "swiglu", ffnHidden: swigluHidden(36, { ratio: 3, align: 64 }), qkvBias: false, localClsNorm: true },
  ],
];

describe("a training checkpoint of Meta's names gives what Meta's network gives", () => {
  test.for(META)("%s", async ([name, arch], { skip }) => {
    skip(!hasGolden("models", name));
    const golden = loadGolden("models", name);
    const file = join(root, `${name}.safetensors`);
    const weights = goldenPart(golden, "w.");
    const chunked = [...weights].map(([key, t]) => [`teacher.backbone.${key.replace(/^blocks\.(\d+)/, "blocks.0.$1")}`, t] as const);
    const student = [...weights].map(([key, { shape }]) => [`student.module.backbone.${key}`, zeros(shape)] as const);
    await writeSafetensors(file, new Map([...student, ...chunked, ["teacher.dino_head.last_layer.weight_g", zeros([3, 1])]]));
    const backbone = await readBackbone(file, { arch });
    const isRope = arch.positions === "rope";
    expect(backbone).toMatchObject({
      source: "meta",
      config: { ...arch, posInterpolation: isRope ? "size" : arch.registers === 4 ? "size-antialias" : "meta-offset" },
    });
    expect([...backbone.tensors.keys()]).not.toContain("rope_embed.periods");
    const asTokens = { ...golden, tensors: new Map([...golden.tensors, ...tokensOf(golden)]) };
    await compare(asTokens, backbone, "tokens");
  });
});

function zeros(shape: readonly number[]): HostTensor {
  return { dtype: "f32", shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) };
}

/** Meta's network gives class token, registers and patches apart. */
function tokensOf(golden: GoldenCase): (readonly [string, HostTensor])[] {
  return [...golden.tensors.keys()].flatMap((name) => {
    const prefix = /^(y(?:@\d+x\d+)?)\.x_norm_clstoken$/.exec(name)?.[1];
    if (prefix === undefined) return [];
    const parts = ["x_norm_clstoken", "x_norm_regtokens", "x_storage_tokens", "x_norm_patchtokens"].flatMap(
      (key) => golden.tensors.get(`${prefix}.${key}`) ?? [],
    );
    const [b = 1, d = 1] = parts[0]?.shape ?? [];
    const per = parts.map(({ data }) => data.length / b);
    const tokens = per.reduce((a, n) => a + n, 0) / d;
    const data = Float32Array.from(
      Array.from({ length: b }, (_, i) =>
        parts.flatMap((p, j) => Array.from((p.data as Float32Array).subarray(i * (per[j] ?? 0), (i + 1) * (per[j] ?? 0)))),
      ).flat(), // goldens are float32
    );
    return [[`${prefix}.tokens`, { dtype: "f32", shape: [b, tokens, d], data }] as const];
  });
}
