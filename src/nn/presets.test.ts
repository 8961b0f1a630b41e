import { describe, expect, test } from "vitest";
import { ConfigError, sizeOf } from "../core/index.ts";
import { hasGolden, loadGolden } from "../core/testing/golden.ts";
import { swigluHidden, VIT_PRESETS, type ViTConfig, vitPreset, vitSpecs } from "./index.ts";

/** Id, the reference's list of keys, the published number of parameters. DINO spec §1.6, §2.3, §3.1. */
const PUBLISHED: readonly (readonly [id: string, keys: string, parameters: number])[] = [
  ["dino_vits16", "meta_dino_vits16", 21_665_664],
  ["dino_vits8", "meta_dino_vits8", 21_670_272],
  ["dino_vitb16", "meta_dino_vitb16", 85_798_656],
  ["dino_vitb8", "meta_dino_vitb8", 85_807_872],
  ["dinov2_vits14", "meta_dinov2_vits14", 22_056_576],
  ["dinov2_vits14_reg", "meta_dinov2_vits14_reg4", 22_058_112],
  ["dinov2_vitb14", "meta_dinov2_vitb14", 86_580_480],
  ["dinov2_vitb14_reg", "meta_dinov2_vitb14_reg4", 86_583_552],
  ["dinov2_vitl14", "meta_dinov2_vitl14", 304_368_640],
  ["dinov2_vitl14_reg", "meta_dinov2_vitl14_reg4", 304_372_736],
  ["dinov2_vitg14", "meta_dinov2_vitg14", 1_136_480_768],
  ["dinov2_vitg14_reg", "meta_dinov2_vitg14_reg4", 1_136_486_912],
  ["dinov3_vits16", "meta_dinov3_vits16", 21_601_152],
  ["dinov3_vitsplus16", "meta_dinov3_vits16plus", 28_697_472],
  ["dinov3_vitb16", "meta_dinov3_vitb16", 85_669_632],
  ["dinov3_vitl16", "meta_dinov3_vitl16", 303_154_176],
  ["dinov3_vitl16_sat", "meta_dinov3_vitl16_sat", 303_156_224],
  ["dinov3_vitlplus16", "meta_dinov3_vitl16plus", 403_915_776],
  ["dinov3_vithplus16", "meta_dinov3_vith16plus", 840_633_600],
  ["dinov3_vit7b16", "meta_dinov3_vit7b16", 6_716_043_264],
];

function parameters(config: ViTConfig): number {
  return vitSpecs(config).reduce((sum, s) => sum + sizeOf(s.shape), 0);
}

const isBuffer = (name: string): boolean => name === "rope_embed.periods" || name.endsWith(".bias_mask");

describe("vitPreset()", () => {
  test.each(PUBLISHED)("%s has the published number of parameters", (id, _, count) => expect(parameters(vitPreset(id))).toBe(count));

  test.for(PUBLISHED)("%s has the keys and shapes of %s", ([id, keys], { skip }) => {
    skip(!hasGolden("keys", keys));
    const wanted = Object.entries(loadGolden("keys", keys).json).filter(([name]) => !isBuffer(name));
    const found = vitSpecs(vitPreset(id)).map((s) => [s.name, s.shape] as const);
    expect(Object.fromEntries(found)).toEqual(Object.fromEntries(wanted));
    expect(found).toHaveLength(wanted.length);
  });

  /** Hugging Face names no bias of keys and no norm of local crops; its queries and values have the same numbers as ours. */
  const OF_HUGGING_FACE = [
    ...["small", "base", "large", "giant"].flatMap((size) => [
      [`facebook/dinov2-${size}`, `hf_dinov2_${size}`],
      [`facebook/dinov2-with-registers-${size}`, `hf_dinov2_with_registers_${size}`],
    ]),
    ...["vits16", "vits16plus", "vitb16", "vitl16", "vith16plus", "vit7b16"].map((arch) => [
      `facebook/dinov3-${arch}-pretrain-lvd1689m`,
      `hf_dinov3_${arch}`,
    ]),
    ...["vits16", "vits8", "vitb16", "vitb8"].map((arch) => [`facebook/dino-${arch}`, `hf_dino_${arch}`]),
  ] as [string, string][]; // pairs
  test.for(OF_HUGGING_FACE)("%s has as many parameters as its files", ([id, keys], { skip }) => {
    skip(!hasGolden("keys", keys));
    const config = vitPreset(id);
    const stored = Object.values(loadGolden("keys", keys).json as Record<string, number[]>).reduce((sum, shape) => sum + sizeOf(shape), 0); // our own reference file
    const keyBiases = config.keyBiasMask === true && config.qkvBias !== false ? config.depth * config.width : 0;
    expect(parameters(config) - keyBiases).toBe(stored);
  });

  const OF_TIMM = [
    ...["small", "base", "large", "giant"].flatMap((size) =>
      ["dinov2", "reg4_dinov2"].map((kind) => `vit_${size}_patch14_${kind}.lvd142m`),
    ),
    ...["small", "small_plus", "base", "large", "huge_plus", "7b"].map((size) => `vit_${size}_patch16_dinov3.lvd1689m`),
    ...["small", "small_plus", "base", "large", "huge_plus"].map((size) => `vit_${size}_patch16_dinov3_qkvb.lvd1689m`),
    ...["small", "base"].flatMap((size) => [16, 8].map((patch) => `vit_${size}_patch${patch}_224.dino`)),
  ].map((id) => [id, `timm_${id.replace(".", "_")}`] as const);
  test.for(OF_TIMM)("%s has as many parameters as its files", ([id, keys], { skip }) => {
    skip(!hasGolden("keys", keys));
    const config = vitPreset(id);
    const stored = Object.values(loadGolden("keys", keys).json as Record<string, number[]>).reduce((sum, shape) => sum + sizeOf(shape), 0); // our own reference file
    const { width, depth, registers = 0, positions, maskToken, keyBiasMask, qkvBias } = config;
    const keyBiases = keyBiasMask === true && qkvBias !== false ? depth * width : 0;
    const clsPosition = registers > 0 && positions !== "rope" ? width : 0; // timm stores none
    expect(parameters(config) - keyBiases - clsPosition - (maskToken === true ? width : 0)).toBe(stored);
  });

  test.each([
    ["dinov2_vits14_reg4", "dinov2_vits14_reg"],
    ["facebook/dinov2-with-registers-giant", "dinov2_vitg14_reg"],
    ["vit_base_patch14_dinov2", "dinov2_vitb14"],
    ["dinov3_vith16plus", "dinov3_vithplus16"],
    ["facebook/dinov3-vits16-pretrain-lvd1689m", "dinov3_vits16"],
    ["facebook/dinov3-vitl16-pretrain-sat493m", "dinov3_vitl16"],
    ["vit_small_plus_patch16_dinov3_qkvb.lvd1689m", "dinov3_vitsplus16"],
    ["vit_tiny_patch16", "dino_vitt16"],
    ["vit_small_patch8_224.dino", "dino_vits8"],
    ["facebook/dino-vitb16", "dino_vitb16"],
  ])("%s is %s", (alias, id) => expect(vitPreset(alias)).toEqual(vitPreset(id)));

  test("every preset is a network whose positions are resized as Hugging Face does", () => {
    for (const [name, config] of VIT_PRESETS) {
      expect(() => vitSpecs(config), name).not.toThrow();
      const resized = config.registers === 4 && config.positions !== "rope" ? "size-antialias" : "size";
      expect(config.posInterpolation, name).toBe(resized);
    }
    expect(["tiny", "small", "base"].flatMap((size) => [16, 8, 14].map((p) => vitPreset(`vit_${size}_patch${p}`).patchSizePx))).toEqual([
      16, 8, 14, 16, 8, 14, 16, 8, 14,
    ]);
  });

  test("refuses an unknown name and offers the nearest", () => {
    expect(() => vitPreset("dinov2_vits15")).toThrow(ConfigError);
    expect(() => vitPreset("dinov2_vits15")).toThrow(
      'Cannot find model "dinov2_vits15": there is no such preset; did you mean "dinov2_vits14"?',
    );
  });
});

test.each([
  [1024, 4, 8, 2736],
  [1536, 4, 8, 4096],
  [384, 6, 8, 1536],
  [1024, 6, 8, 4096],
  [1280, 6, 8, 5120],
  [4096, 3, 64, 8192],
  [1024, 4, 64, 2752],
])("swigluHidden(%d, { ratio: %d, align: %d }) is %d", (width, ratio, align, hidden) =>
  expect(swigluHidden(width, { ratio, align })).toBe(hidden),
);
