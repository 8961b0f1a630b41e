import { expect, test } from "vitest";
import { backboneSpecs, CONVNEXT_PRESETS, RESNET_PRESETS, VIT_PRESETS } from "../../nn/index.ts";
import { parseArch } from "./arch.ts";
import { ARCH_PRESETS, backboneParameters, resolveConfig, type RunFacts } from "./index.ts";

const FACTS: RunFacts = { images: 2_000_000, medianSidePx: 600, cores: 64, memoryBytes: 2 ** 42 };

/** DINO family spec §1.6, 2.3, 3.1, 3.3; ResNets: torchvision's counts (11,689,512 and 25,557,032) less their classifiers. */
const COUNTS: Readonly<Record<string, number>> = {
  dino_vitt16: 5_524_416,
  dino_vits16: 21_665_664,
  dino_vits8: 21_670_272,
  dino_vitb16: 85_798_656,
  dino_vitb8: 85_807_872,
  dinov2_vits14: 22_056_576,
  dinov2_vits14_reg: 22_058_112,
  dinov2_vitb14: 86_580_480,
  dinov2_vitb14_reg: 86_583_552,
  dinov2_vitl14: 304_368_640,
  dinov2_vitl14_reg: 304_372_736,
  dinov2_vitg14: 1_136_480_768,
  dinov2_vitg14_reg: 1_136_486_912,
  dinov3_vits16: 21_601_152,
  dinov3_vitsplus16: 28_697_472,
  dinov3_vitb16: 85_669_632,
  dinov3_vitl16: 303_154_176,
  dinov3_vitl16_sat: 303_154_176 + 2048,
  dinov3_vitlplus16: 403_915_776,
  dinov3_vithplus16: 840_633_600,
  dinov3_vit7b16: 6_716_043_264,
  dinov3_convnext_tiny: 27_820_128,
  dinov3_convnext_small: 49_454_688,
  dinov3_convnext_base: 87_566_464,
  dinov3_convnext_large: 196_230_336,
  resnet18: 11_689_512 - 513_000,
  resnet50: 25_557_032 - 2_049_000,
};

test("ARCH_PRESETS lists every published network with its exact number of parameters", () => {
  const listed = new Map(ARCH_PRESETS.map(({ name, parameters }) => [name, parameters]));
  for (const [name, count] of Object.entries(COUNTS)) expect([name, listed.get(name)]).toEqual([name, count]);
  expect(listed.size).toBe(ARCH_PRESETS.length);
});

test("backboneParameters() counts what backboneSpecs() makes, for every preset under every name", () => {
  const count = (shapes: readonly { readonly shape: readonly number[] }[]): number =>
    shapes.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  for (const [name, config] of [...VIT_PRESETS, ...CONVNEXT_PRESETS, ...RESNET_PRESETS]) {
    if (!/^(dinov2|dinov3|facebook|dino_vit.16|convnext|resnet|dino_resnet)/.test(name)) continue;
    const imageSizePx = "imageSizePx" in config ? config.imageSizePx : 224;
    const { model } = resolveConfig({ method: "dinov2", model: { arch: name, imageSizePx }, crops: { globalSizePx: 224 } }, FACTS).config;
    const maskToken = "maskToken" in config && config.maskToken === true;
    expect([name, backboneParameters({ ...model, maskToken })]).toEqual([name, count(backboneSpecs(config))]);
  }
});

test("resolveConfig() gives a published network its own ingredients, whatever the method", () => {
  const of = (arch: string, method: "dino" | "dinov2" | "dinov3" = "dino"): object =>
    resolveConfig({ method, model: { arch } }, FACTS).config.model;
  expect(of("dinov3_vithplus16")).toMatchObject({
    ffn: "swiglu",
    ffnHidden: 5120,
    registers: 4,
    positions: "rope",
    width: 1280,
    depth: 32,
  });
  expect(of("dinov2_vitg14_reg")).toMatchObject({ ffn: "swiglu-fused", ffnHidden: 4096, registers: 4, posInterpolation: "size-antialias" });
  expect(of("dinov3_vit7b16", "dinov3")).toMatchObject({ qkvBias: false, localClsNorm: true, ffnHidden: 8192, maskToken: true });
  expect(of("convnext_tiny", "dinov3")).toMatchObject({ family: "convnext", width: 768, depth: 18, patchSizePx: 32, maskToken: false });
  expect(of("resnet50")).toMatchObject({ family: "resnet", width: 2048, depth: 16, dropPath: 0 });
  expect(of("dino_vits16", "dinov2")).toMatchObject({ layerScale: 0, maskToken: true });
});

test("resolveConfig() gives a bare ViT the ingredients of the method", () => {
  const of = (method: "dino" | "dinov2" | "dinov3" | "simclr"): object =>
    resolveConfig({ method, model: { arch: "vit_small_patch16" } }, FACTS).config.model;
  const v1 = { layerScale: 0, registers: 0, positions: "learned", layerNormEps: 1e-6, dropPathKind: "per-sample", dropPathUniform: false };
  expect(of("dino")).toMatchObject({ ...v1, maskToken: false });
  expect(of("simclr")).toMatchObject({ ...v1, maskToken: false });
  const v2 = { layerScale: 1e-5, maskToken: true, dropPathKind: "subset", dropPathUniform: true };
  expect(of("dinov2")).toMatchObject({ ...v2, positions: "learned", registers: 0, layerNormEps: 1e-6, keyBiasMask: false });
  expect(of("dinov3")).toMatchObject({
    ...v2,
    positions: "rope",
    ropeBase: 100,
    ropeRescale: 2,
    registers: 4,
    layerNormEps: 1e-5,
    keyBiasMask: true,
  });
});

test("resolveConfig() starts LayerScale at 1 for few pictures, and says why; published values and ConvNeXt's stay", () => {
  const few: RunFacts = { ...FACTS, images: 10_000 };
  for (const arch of ["vit_tiny_patch16", "dinov2_vits14"]) {
    const { config, reasons } = resolveConfig({ method: "dinov2", model: { arch } }, few);
    expect(config.model.layerScale).toBe(1);
    expect(reasons["model.layerScale"]).toBe(
      "10,000 pictures make short runs: from the published 0.00001 the class token sees nothing for too long",
    );
  }
  const of = (user: Parameters<typeof resolveConfig>[0], facts: RunFacts): number => resolveConfig(user, facts).config.model.layerScale;
  expect(of({ method: "dinov3", model: { arch: "dinov3_vits16" } }, FACTS)).toBe(1e-5);
  expect(of({ method: "dinov3", model: { arch: "convnext_tiny" } }, few)).toBe(1e-6);
  expect(of({ method: "dinov2", model: { arch: "dino_vits16" } }, few)).toBe(0);
  expect(of({ method: "dinov2", model: { layerScale: 1e-5 } }, few)).toBe(1e-5);
});

test("resolveConfig() gives a SwiGLU without a hidden width two thirds of the MLP's, in eights", () => {
  const { model } = resolveConfig({ method: "dinov2", model: { width: 1024, depth: 24, heads: 16, ffn: "swiglu-fused" } }, FACTS).config;
  expect(model.ffnHidden).toBe(2736);
});

test("parseArch() knows other projects' names of a network", () => {
  for (const alias of ["vit_small_patch14_dinov2", "facebook/dinov2-small"]) expect(parseArch(alias)?.name).toBe("dinov2_vits14");
  expect(parseArch("facebook/dinov2-with-registers-base")?.name).toBe("dinov2_vitb14_reg");
  expect(parseArch("facebook/dinov3-vits16-pretrain-lvd1689m")).toMatchObject({ line: "dinov3", size: { width: 384 }, own: {} });
  expect(parseArch("convnext_base")?.name).toBe("dinov3_convnext_base");
  expect(parseArch("dino_vits12")).toMatchObject({ line: "dino", patchSizePx: 12 });
  expect(parseArch("vit")).toBeUndefined();
  expect(() => parseArch("dinov3_vitss16")).toThrow(/there is no such preset; did you mean "dinov3_vits16"\?/);
});
