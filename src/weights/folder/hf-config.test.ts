import { describe, expect, test } from "vitest";
import { ConfigError, FormatError } from "../../core/index.ts";
import { VIT_PRESETS, type ViTConfig, vitPreset } from "../../nn/index.ts";
import { fromHuggingFaceConfig, huggingFaceClass, huggingFaceConfigText, huggingFacePositions, toHuggingFaceConfig } from "./hf-config.ts";
import { defaultProcessor } from "./write-model.ts";

const INIT_ONLY = ["tokenInitStd", "posEmbedInit", "localClsNorm"] as const;
const computed = (config: ViTConfig): object =>
  Object.fromEntries(Object.entries(config).filter(([key]) => !INIT_ONLY.some((k) => k === key)));

test.each([...new Set(VIT_PRESETS.values())].map((config) => [[...VIT_PRESETS].find(([, c]) => c === config)?.[0], config] as const))(
  "config.json of %s describes the same network",
  (_, config) => {
    const read = fromHuggingFaceConfig(JSON.parse(huggingFaceConfigText(config)), "config.json");
    expect(computed(read)).toEqual(computed({ ...config, posInterpolation: huggingFacePositions(config) }));
  },
);

test.each([
  ["dino_vits16", "ViTModel", "vit"],
  ["dinov2_vitg14", "Dinov2Model", "dinov2"],
  ["dinov2_vits14_reg", "Dinov2WithRegistersModel", "dinov2_with_registers"],
  ["dinov3_vitsplus16", "DINOv3ViTModel", "dinov3_vit"],
])("%s is a %s", (preset, name, type) => {
  expect(toHuggingFaceConfig(vitPreset(preset))).toMatchObject({ architectures: [name], model_type: type });
  expect(toHuggingFaceConfig(vitPreset(preset))).toHaveProperty("layer_norm_eps");
});

test("huggingFaceConfigText() writes Python floats, which transformers asks for", () => {
  const text = huggingFaceConfigText({ ...vitPreset("dinov3_vits16"), layerScale: 1 });
  expect(text).toContain('"layerscale_value": 1.0,');
  expect(text).toContain('"rope_theta": 100.0,');
  expect(text).toContain('"pos_embed_rescale": 2.0\n');
  expect(text).toContain('"pos_embed_shift": null,');
  expect(text).toContain('"num_register_tokens": 4,');
});

test("fromHuggingFaceConfig() fills in what transformers fills in", () => {
  const sizes = { hidden_size: 12, num_hidden_layers: 2, num_attention_heads: 3, patch_size: 14 };
  const read = (rest: object): ViTConfig => fromHuggingFaceConfig({ ...sizes, ...rest }, "f");
  expect(read({ model_type: "vit", intermediate_size: 24 })).toMatchObject({ layerNormEps: 1e-12, imageSizePx: 224, mlpRatio: 2 });
  expect(read({ model_type: "dinov2" })).toMatchObject({ layerNormEps: 1e-6, maskToken: true, mlpRatio: 4, posInterpolation: "size" });
  expect(read({ model_type: "dinov2", use_mask_token: false })).not.toHaveProperty("maskToken");
  expect(read({ model_type: "dinov2_with_registers" })).toMatchObject({ registers: 4, posInterpolation: "size-antialias" });
  const v3 = read({ model_type: "dinov3_vit", intermediate_size: 48, image_size: [224, 224] });
  expect(v3).toMatchObject({ layerNormEps: 1e-5, keyBiasMask: true, rope: { base: 100 }, imageSizePx: 224 });
  expect(v3).not.toHaveProperty("registers");
});

describe("fromHuggingFaceConfig() refuses, with the key,", () => {
  const v3 = toHuggingFaceConfig(vitPreset("dinov3_vits16"));
  const vit = toHuggingFaceConfig(vitPreset("dino_vits16"));
  test.each([
    [null, "form"],
    ["text", "form"],
    [{}, "model_type"],
    [{ ...vit, model_type: "bert" }, "model_type"],
    [{ ...vit, hidden_size: 0 }, "hidden_size"],
    [{ ...vit, hidden_size: 1e12 }, "hidden_size"],
    [{ ...vit, num_hidden_layers: 100_000 }, "num_hidden_layers"],
    [{ ...vit, num_attention_heads: 5 }, "num_attention_heads"],
    [{ ...vit, image_size: 225 }, "image_size"],
    [{ ...vit, image_size: [224, 256] }, "image_size"],
    [{ ...vit, hidden_act: "relu" }, "hidden_act"],
    [{ ...vit, layer_norm_eps: 0 }, "layer_norm_eps"],
    [{ ...v3, key_bias: true }, "key_bias"],
    [{ ...v3, value_bias: false }, "query_bias"],
    [{ ...v3, proj_bias: false }, "proj_bias"],
    [{ ...v3, use_gated_mlp: true }, "hidden_act"],
    [{ ...v3, num_attention_heads: 64 }, "num_attention_heads"],
  ])("%j", (raw, key) => {
    const read = (): unknown => fromHuggingFaceConfig(raw, "some/config.json");
    expect(read).toThrow(FormatError);
    expect(read).toThrow(new RegExp(`^Cannot open model: "some/config\\.json" has a wrong ${key} \\(.*; known are ViTModel`));
  });
});

describe("huggingFaceClass() refuses networks that no class computes:", () => {
  const v1 = vitPreset("dino_vits16");
  const v2 = vitPreset("dinov2_vits14");
  const v3 = vitPreset("dinov3_vits16");
  test.each<[string, ViTConfig, RegExp]>([
    ["RMSNorm", { ...v3, norm: "rmsnorm" }, /no class has rmsnorm/],
    ["untied norms", { ...v3, untieClsAndPatchNorms: true }, /norm of its own/],
    ["registers without scales", { ...v1, registers: 4 }, /ViTModel has neither registers/],
    ["registers without a mask token", { ...v2, maskToken: false, registers: 4 }, /has a mask token, this network has none/],
    ["DINOv3 without scales", { ...v1, positions: "rope", keyBiasMask: true, maskToken: true }, /scales its residual branches/],
    ["DINOv3 without a mask token", { ...v3, maskToken: false }, /has a mask token/],
    ["fused SwiGLU with rotary positions", { ...v3, ffn: "swiglu-fused" }, /no fused SwiGLU/],
    ["SwiGLU in three layers with learned positions", { ...v2, ffn: "swiglu" }, /only DINOv3ViTModel/],
    ["biases of keys with rotary positions", { ...v3, keyBiasMask: false }, /biases of keys turn/],
    ["periods by their ends", { ...v3, rope: { minPeriod: 1, maxPeriod: 9 } }, /by their base only/],
    ["coordinates by the longer side", { ...v3, rope: { normalize: "max" } }, /divides each axis by its own length, not by "max"/],
  ])("%s", (_, config, message) => {
    expect(() => huggingFaceClass(config)).toThrow(ConfigError);
    expect(() => toHuggingFaceConfig(config)).toThrow(message);
  });

  test("a hidden width that no whole ratio gives", () => {
    expect(() => toHuggingFaceConfig({ ...v2, ffnHidden: 1000 })).toThrow(/no feed-forward layer of 1000 for a width of 384/);
    expect(() => toHuggingFaceConfig({ ...v2, ffn: "swiglu-fused", ffnHidden: 1001 })).toThrow(/no feed-forward layer of 1001/);
  });
});

test("defaultProcessor() is that of the published models", () => {
  expect(defaultProcessor(vitPreset("dino_vits16"))).toMatchObject({ size: { height: 224, width: 224 }, resample: 3 });
  expect(defaultProcessor(vitPreset("dinov2_vits14"))).toMatchObject({
    image_processor_type: "BitImageProcessor",
    size: { shortest_edge: 256 },
    crop_size: { height: 224, width: 224 },
    do_center_crop: true,
  });
  expect(defaultProcessor({ ...vitPreset("dinov2_vits14_reg"), imageSizePx: 98 })).toMatchObject({
    size: { shortest_edge: 112 },
    crop_size: { height: 98, width: 98 },
  });
  expect(defaultProcessor(vitPreset("dinov3_vits16"))).toMatchObject({
    image_processor_type: "DINOv3ViTImageProcessor",
    size: { height: 224, width: 224 },
    resample: 2,
  });
});
