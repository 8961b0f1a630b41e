import { describe, expect, test } from "vitest";
import { CONVNEXT_PRESETS, RESNET_PRESETS, VIT_PRESETS } from "../../nn/index.ts";
import { CATALOGUE, catalogueNames, countForward, countParameters, findEntry, LICENCES, parseModelRef, weightBytes } from "./index.ts";

test("CATALOGUE has every preset once, under its canonical id or as an alias", () => {
  const names = CATALOGUE.flatMap(({ id, aliases }) => [id, ...aliases]);
  expect(new Set(names).size).toBe(names.length);
  expect(names.toSorted()).toEqual([...VIT_PRESETS.keys(), ...CONVNEXT_PRESETS.keys(), ...RESNET_PRESETS.keys()].toSorted());
  for (const name of catalogueNames()) expect(findEntry(name), name).toBeDefined();
  expect(findEntry("dinov9")).toBeUndefined();
});

test("every released model has a licence, every other has none", () => {
  for (const { id, licence, hub, originals } of CATALOGUE) expect(licence !== undefined, id).toBe(hub.length + originals.length > 0);
  expect(CATALOGUE.filter(({ licence }) => licence === "dinov3").every(({ id }) => id.startsWith("dinov3_"))).toBe(true);
  expect(LICENCES.dinov3.isAgreement).toBe(true);
});

/** Spec §1.8, §2.7, §3.1. */
test.each([
  ["dino_vits16", "https://dl.fbaipublicfiles.com/dino/dino_deitsmall16_pretrain/dino_deitsmall16_pretrain.pth"],
  ["dino_vitb8", "https://dl.fbaipublicfiles.com/dino/dino_vitbase8_pretrain/dino_vitbase8_pretrain.pth"],
  ["dino_resnet50", "https://dl.fbaipublicfiles.com/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth"],
  ["resnet50", "https://dl.fbaipublicfiles.com/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth"],
  ["dinov2_vitg14", "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitg14/dinov2_vitg14_pretrain.pth"],
  ["dinov2_vits14_reg", "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_reg4_pretrain.pth"],
  ["dinov2_vits14_reg4", "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_reg4_pretrain.pth"],
  ["dinov3_vits16plus", "https://dl.fbaipublicfiles.com/dinov3/dinov3_vits16plus/dinov3_vits16plus_pretrain_lvd1689m-4057cbaa.pth"],
  ["dinov3_vitl16_sat", "https://dl.fbaipublicfiles.com/dinov3/dinov3_vitl16/dinov3_vitl16_pretrain_sat493m-eadcf0ff.pth"],
  ["dinov3_vit7b16_sat", "https://dl.fbaipublicfiles.com/dinov3/dinov3_vit7b16/dinov3_vit7b16_pretrain_sat493m-a6675841.pth"],
  [
    "dinov3_convnext_tiny",
    "https://dl.fbaipublicfiles.com/dinov3/dinov3_convnext_tiny/dinov3_convnext_tiny_pretrain_lvd1689m-21b726bb.pth",
  ],
])("parseModelRef(%s) is Meta's file", (name, url) => {
  expect(parseModelRef(name)).toMatchObject({ kind: "file", url });
});

test("parseModelRef() knows timm's tagged names as timm's repositories", () => {
  expect(parseModelRef("vit_small_patch14_dinov2.lvd142m")).toEqual({
    kind: "hub",
    id: "timm/vit_small_patch14_dinov2.lvd142m",
    revision: "main",
  });
  expect(findEntry("facebook/dinov3-convnext-tiny-pretrain-lvd1689m")?.id).toBe("dinov3_convnext_tiny");
  expect(findEntry("facebook/dinov3-vitl16-pretrain-sat493m")?.id).toBe("dinov3_vitl16_sat");
  expect(findEntry("timm/vit_large_patch16_dinov3_qkvb.sat493m")?.id).toBe("dinov3_vitl16_sat");
});

/** Spec §1.6, §2.3, §3.1, §3.3. */
test.each([
  ["dino_vits16", 21_665_664],
  ["dino_vitb8", 85_807_872],
  ["dinov2_vits14_reg", 22_058_112],
  ["dinov2_vitg14", 1_136_480_768],
  ["dinov3_vitsplus16", 28_697_472],
  ["dinov3_vithplus16", 840_633_600],
  ["dinov3_vit7b16", 6_716_043_264],
  ["dinov3_convnext_large", 196_230_336],
  ["resnet50", 23_508_032],
])("countParameters() of %s is %i", (id, parameters) => {
  const { config } = findEntry(id) ?? expect.fail();
  expect(countParameters(config)).toBe(parameters);
  expect(weightBytes(config)).toBe(4 * parameters);
});

describe("countForward()", () => {
  const gflop = (id: string, sizePx: number): number => countForward((findEntry(id) ?? expect.fail()).config, sizePx).flop / 1e9;

  /** Spec §3.13: GFLOP at 256 and 512 px, given in whole numbers. */
  test.each([
    ["dinov3_vits16", 12, 63],
    ["dinov3_vitsplus16", 16, 79],
    ["dinov3_vitb16", 47, 216],
    ["dinov3_vitl16", 163, 721],
    ["dinov3_vithplus16", 450, 1903],
    ["dinov3_vit7b16", 3550, 14515],
  ])("of %s is what DINOv3's table says", (id, at256, at512) => {
    expect(Math.abs(gflop(id, 256) - at256)).toBeLessThan(Math.max(1, 0.015 * at256));
    expect(Math.abs(gflop(id, 512) - at512)).toBeLessThan(Math.max(1, 0.015 * at512));
  });

  test("of a ViT is the sum by hand", () => {
    // S/16 at 224: 197 tokens, per block 12·D²·T + 2·T²·D, patches 196·D·768
    const macs = 12 * (12 * 384 ** 2 * 197 + 2 * 197 ** 2 * 384) + 196 * 384 * 768;
    expect(countForward(VIT_PRESETS.get("dino_vits16")!, 224)).toMatchObject({ tokens: 197, macs, flop: 2 * macs }); // a preset
  });

  /** Multiply-accumulates of torchvision's cards at 224 px, less their classifiers: 4.09 − 2048·1000, 1.81 − 512·1000, ConvNeXt-T 4.46. */
  test.each([
    ["resnet50", 4.087],
    ["resnet18", 1.814],
    ["dinov3_convnext_tiny", 4.455],
  ])("of %s at 224 px is %f GMAC", (id, gmac) => {
    expect(gflop(id, 224) / 2).toBeCloseTo(gmac, 2);
  });

  test("refuses sizes that do not fit, and says which do", () => {
    const { config } = findEntry("dinov2_vits14") ?? expect.fail();
    expect(() => countForward(config, 224.5)).toThrow(/wants 14 px or more/);
    expect(() => countForward(config, 225)).toThrow(/no multiple of the patches of 14 px; give 224 or 238/);
  });

  test("memory is that of the largest tensors at once", () => {
    const bytesAt = (sizePx: number): number => countForward(VIT_PRESETS.get("dino_vits16")!, sizePx).activationBytes; // a preset
    // S/16 at 112 px, 50 tokens: tokens twice and the hidden layer twice
    expect(bytesAt(112)).toBe(4 * 50 * (2 * 384 + 2 * 1536));
    // at 896 px, 3137 tokens: tokens, q, k, v, and scores and probabilities of six heads
    expect(bytesAt(896)).toBe(4 * (4 * 3137 * 384 + 2 * 6 * 3137 ** 2));
  });
});
