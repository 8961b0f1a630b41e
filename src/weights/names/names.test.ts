import { describe, expect, test } from "vitest";
import { FormatError, type HostTensor, Rng, type Shape, sizeOf } from "../../core/index.ts";
import { hasGolden, loadGolden } from "../../core/testing/golden.ts";
import { initParam, type ViTConfig, vitPreset, vitSpecs } from "../../nn/index.ts";
import {
  adjustToShapes,
  backboneRoot,
  checkPeriods,
  detectDialect,
  type Dialect,
  dialectOf,
  fromHuggingFace,
  fromMeta,
  fromTimm,
  inferViT,
  likeliestArchitecture,
  type Naming,
  plainName,
  published,
  storedShapes,
  TABLES,
  toHuggingFace,
  toTimm,
  vitLinks,
} from "./index.ts";
import { SMALL_VIT } from "../../nn/testing/small-vit.ts";

/** Key lists of released checkpoints, and our preset. */
const RELEASED: readonly (readonly [golden: string, naming: Naming, preset: string])[] = [
  ...["vits16", "vits8", "vitb16", "vitb8"].flatMap((v) => [
    [`hf_dino_${v}`, "huggingface", `dino_${v}`] as const,
    [`meta_dino_${v}`, "meta", `dino_${v}`] as const,
  ]),
  ["timm_vit_small_patch16_224_dino", "timm", "vit_small_patch16_224.dino"],
  ["timm_vit_small_patch8_224_dino", "timm", "vit_small_patch8_224.dino"],
  ["timm_vit_base_patch16_224_dino", "timm", "vit_base_patch16_224.dino"],
  ["timm_vit_base_patch8_224_dino", "timm", "vit_base_patch8_224.dino"],
  ...["small", "base", "large", "giant"].flatMap((size) => {
    const id = `vit${size.charAt(0)}14`;
    return [
      [`hf_dinov2_${size}`, "huggingface", `facebook/dinov2-${size}`] as const,
      [`hf_dinov2_with_registers_${size}`, "huggingface", `facebook/dinov2-with-registers-${size}`] as const,
      [`meta_dinov2_${id}`, "meta", `dinov2_${id}`] as const,
      [`meta_dinov2_${id}_reg4`, "meta", `dinov2_${id}_reg4`] as const,
      [`timm_vit_${size}_patch14_dinov2_lvd142m`, "timm", `vit_${size}_patch14_dinov2.lvd142m`] as const,
      [`timm_vit_${size}_patch14_reg4_dinov2_lvd142m`, "timm", `vit_${size}_patch14_reg4_dinov2.lvd142m`] as const,
    ];
  }),
  ...["vits16", "vits16plus", "vitb16", "vitl16", "vith16plus", "vit7b16"].flatMap((v) => [
    [`hf_dinov3_${v}`, "huggingface", `facebook/dinov3-${v}-pretrain-lvd1689m`] as const,
    [`meta_dinov3_${v}`, "meta", `dinov3_${v}`] as const,
  ]),
  ["meta_dinov3_vitl16_sat", "meta", "dinov3_vitl16_sat"],
  ["meta_dinov3_vitl16plus", "meta", "dinov3_vitl16plus"],
  ...["small", "small_plus", "base", "large", "huge_plus"].flatMap((size) => [
    [`timm_vit_${size}_patch16_dinov3_lvd1689m`, "timm", `vit_${size}_patch16_dinov3.lvd1689m`] as const,
    [`timm_vit_${size}_patch16_dinov3_qkvb_lvd1689m`, "timm", `vit_${size}_patch16_dinov3_qkvb.lvd1689m`] as const,
  ]),
  ["timm_vit_7b_patch16_dinov3_lvd1689m", "timm", "vit_7b_patch16_dinov3.lvd1689m"],
];

function keysOf(golden: string): Map<string, Shape> {
  return new Map(Object.entries(loadGolden("keys", golden).json as Record<string, Shape>)); // our own reference file
}

const isBuffer = (name: string): boolean => /bias_mask$|^rope_embed\.periods$/.test(name);
const sorted = (shapes: Iterable<readonly [string, Shape]>): unknown => [...shapes].toSorted(([a], [b]) => (a < b ? -1 : 1));

describe("every released checkpoint's names and shapes", () => {
  test.for(RELEASED)("%s", ([golden, naming, preset], { skip }) => {
    skip(!hasGolden("keys", golden));
    const keys = keysOf(golden);
    const config = vitPreset(preset);
    const links = vitLinks(config, dialectOf(naming, config));
    expect(sorted(storedShapes(links))).toEqual(sorted([...keys].filter(([name]) => !isBuffer(name))));
    const ours = naming === "meta" ? config : published(config);
    expect(links.map(({ name, shape }) => [name, shape])).toEqual(vitSpecs(ours).map(({ name, shape }) => [name, shape]));
    for (const { shape, parts } of links) expect(parts.reduce((n, p) => n + sizeOf(p.shape), 0)).toBe(sizeOf(shape));
  });

  test.for(RELEASED)("%s is recognised by them", ([golden, naming, preset], { skip }) => {
    skip(!hasGolden("keys", golden));
    const keys = keysOf(golden);
    const wanted = vitPreset(preset);
    const isDino = golden.startsWith("timm_") && golden.endsWith("_dino"); // Meta's names, letter for letter
    const dialect = detectDialect(keys);
    expect(dialect).toBe(dialectOf(isDino ? "meta" : naming, wanted));
    const periods = keys.get("rope_embed.periods");
    const config = inferViT(keys, { dialect: dialect ?? "meta", file: golden, periods: periods && periodsOf(wanted, periods[0] ?? 0) });
    const { posInterpolation: _a, ...rest } = config;
    const { posInterpolation: _b, ...expected } = wanted;
    expect(rest).toEqual(expected);
    const { posInterpolation: _c, ...likely } = vitPreset(likeliestArchitecture(keys, dialect ?? "meta") ?? "");
    expect(storedShapes(vitLinks({ ...likely, posInterpolation: "size" }, dialect ?? "meta"))).toEqual(
      storedShapes(vitLinks(wanted, dialect ?? "meta")),
    );
  });
});

function periodsOf({ rope }: ViTConfig, count: number): HostTensor {
  return { dtype: "f32", shape: [count], data: Float32Array.from({ length: count }, (_, i) => (rope?.base ?? 100) ** (i / count)) };
}

const BASE = { ...SMALL_VIT, imageSizePx: 12, width: 8 } as const;
const V2 = { ...BASE, layerScale: 1, maskToken: true } as const;
const V3 = { ...V2, positions: "rope", registers: 3, registerName: "storage_tokens", keyBiasMask: true, rope: { base: 100 } } as const;
const FUSED = { ffn: "swiglu-fused", ffnHidden: 12 } as const;
const GATED = { ffn: "swiglu", ffnHidden: 12 } as const;
const TINY: Readonly<Record<string, ViTConfig>> = {
  dino: BASE,
  dinov2: V2,
  "dinov2 with registers": { ...V2, registers: 3 },
  "dinov2 fused": { ...V2, ...FUSED },
  dinov3: V3,
  "dinov3 without registers": { ...V3, registers: 0 },
  "dinov3 gated": { ...V3, ...GATED },
  "dinov3 without biases": { ...V3, ...GATED, qkvBias: false },
};

/** Random weights; nothing is zero or alike, so that a swap shows. */
function weightsOf(config: ViTConfig, seed = 1): Map<string, HostTensor> {
  const rng = new Rng(seed);
  return new Map(
    vitSpecs(config).map((spec) => {
      const data = new Float32Array(sizeOf(spec.shape));
      initParam({ ...spec, init: { kind: "normal", std: 1 } }, data, rng);
      return [spec.name, { dtype: "f32", shape: spec.shape, data }] as const;
    }),
  );
}

/** What a naming that does not store these leaves of them. */
function without(weights: ReadonlyMap<string, HostTensor>, config: ViTConfig, naming: Naming): Map<string, HostTensor> {
  const out = new Map(weights);
  const zero = (name: string, from: number, to: number): void => {
    const t = out.get(name);
    if (t !== undefined) out.set(name, { ...t, data: Float32Array.from(t.data as Float32Array, (x, i) => (i >= from && i < to ? 0 : x)) }); // float32
  };
  const { width, keyBiasMask = false, registers = 0, positions } = config;
  if (keyBiasMask) for (let i = 0; i < config.depth; i++) zero(`blocks.${i}.attn.qkv.bias`, width, 2 * width);
  if (naming !== "timm") return out;
  zero("mask_token", 0, width);
  if (registers === 0 || positions === "rope") return out;
  const [cls, pos] = ["cls_token", "pos_embed"].map((name) => weights.get(name)?.data as Float32Array) as [Float32Array, Float32Array]; // float32
  out.set("cls_token", { dtype: "f32", shape: [1, 1, width], data: cls.map((x, i) => x + (pos[i] ?? 0)) });
  zero("pos_embed", 0, width);
  return out;
}

describe("weights go to another naming and come back", () => {
  test.each(Object.entries(TINY))("%s", (_, config) => {
    const weights = weightsOf(config);
    expect(fromHuggingFace(toHuggingFace(weights, config), config)).toEqual(without(weights, config, "huggingface"));
    expect(fromTimm(toTimm(weights, config), config)).toEqual(without(weights, config, "timm"));
    expect(fromMeta(weights, config)).toEqual(weights);
  });

  test("a second trip changes nothing", () => {
    for (const config of Object.values(TINY))
      for (const [to, from] of [
        [toHuggingFace, fromHuggingFace],
        [toTimm, fromTimm],
      ] as const) {
        const first = to(weightsOf(config), config);
        expect(to(from(first, config), config)).toEqual(first);
      }
  });
});

test("toHuggingFace() takes rows of the joint layer in the order query, key, value", () => {
  const weights = weightsOf(BASE);
  const joint = weights.get("blocks.1.attn.qkv.weight")?.data as Float32Array; // float32 above
  const out = toHuggingFace(weights, BASE);
  for (const [i, part] of ["query", "key", "value"].entries())
    expect(out.get(`encoder.layer.1.attention.attention.${part}.weight`)?.data).toEqual(joint.subarray(64 * i, 64 * (i + 1)));
});

test("toTimm() puts the class token's position into the class token where there are registers", () => {
  const config = { ...V2, registers: 3 };
  const weights = weightsOf(config);
  const [cls, pos] = ["cls_token", "pos_embed"].map((name) => weights.get(name)?.data as Float32Array) as [Float32Array, Float32Array]; // float32
  const out = toTimm(weights, config);
  expect(out.get("cls_token")?.data).toEqual(cls.map((x, i) => x + (pos[i] ?? 0)));
  expect(out.get("pos_embed")).toMatchObject({ shape: [1, 9, 8] });
  expect(toTimm(weightsOf(V2), V2).get("pos_embed")).toMatchObject({ shape: [1, 10, 8] });
  expect([...out.keys()]).not.toContain("mask_token");
});

test("fromMeta() multiplies biases by bias_mask, drops buffers, and refuses a mask that was never set", () => {
  const config: ViTConfig = V3;
  const weights = weightsOf(config);
  const mask = Float32Array.from({ length: 24 }, (_, i) => (i >= 8 && i < 16 ? 0 : 1));
  const tensor = (data: Float32Array): HostTensor => ({ dtype: "f32", shape: [data.length], data });
  const given = new Map([...weights, ["blocks.0.attn.qkv.bias_mask", tensor(mask)], ["rope_embed.periods", periodsOf(config, 1)]] as const);
  const out = fromMeta(given, config);
  expect([...out.keys()]).toEqual([...weights.keys()]);
  const bias = weights.get("blocks.0.attn.qkv.bias")?.data as Float32Array; // float32 above
  expect(out.get("blocks.0.attn.qkv.bias")?.data).toEqual(bias.map((x, i) => (mask[i] === 0 ? 0 : x)));
  expect(out.get("blocks.1.attn.qkv.bias")?.data).toEqual(weights.get("blocks.1.attn.qkv.bias")?.data);
  for (const bad of [mask.map(() => Number.NaN), mask.map(() => 0.5), mask.slice(1)])
    expect(() => fromMeta(new Map([...given, ["blocks.0.attn.qkv.bias_mask", tensor(bad)]]), config)).toThrow(
      /is no mask of 24 zeros and ones/,
    );
});

test("one error lists every missing, extra and wrongly shaped key, blocks together, and the likeliest architecture", () => {
  const weights = weightsOf(V2);
  weights.delete("blocks.0.ls1.gamma");
  weights.delete("blocks.1.ls1.gamma");
  weights.set("blocks.1.wrong", { dtype: "f32", shape: [1], data: new Float32Array(1) });
  weights.set("norm.bias", { dtype: "f32", shape: [4], data: new Float32Array(4) });
  const read = (): unknown => fromMeta(weights, V2, { file: "some.pth" });
  expect(read).toThrow(FormatError);
  expect(read).toThrow(
    'Cannot read weights of "some.pth": they do not fit the network, 2 missing (blocks.{0-1}.ls1.gamma [8]), 1 extra (blocks.1.wrong), 1 wrongly shaped (norm.bias [4] instead of [8]); choose the architecture of these weights',
  );
});

test.skipIf(!hasGolden("keys", "meta_dinov2_vits14_reg4", "hf_dinov3_vits16plus"))(
  "the likeliest architecture is told from a few wrong keys",
  () => {
    const keys = keysOf("meta_dinov2_vits14_reg4");
    keys.delete("norm.bias");
    expect(likeliestArchitecture(keys, "meta")).toBe("dinov2_vits14_reg");
    const gated = keysOf("hf_dinov3_vits16plus");
    gated.delete("embeddings.mask_token");
    gated.set("other", [1]);
    expect(likeliestArchitecture(gated, "hf-dinov3")).toBe("dinov3_vitsplus16");
    expect(likeliestArchitecture(new Map([["cls_token", [1, 1, 5]]]), "meta")).toBeUndefined();
  },
);

test("integers are no weights", () => {
  const weights = weightsOf(BASE);
  weights.set("norm.bias", { dtype: "i32", shape: [8], data: new Int32Array(8) });
  expect(() => fromMeta(weights, BASE)).toThrow(/"norm\.bias" holds i32; give float32/);
});

test.skipIf(!hasGolden("keys", "meta_dino_vits16_full_checkpoint"))("backboneRoot() chooses the teacher of a full checkpoint", () => {
  const keys = keysOf("meta_dino_vits16_full_checkpoint");
  const root = backboneRoot(keys.keys(), "f");
  expect(root).toBe("teacher.backbone.");
  const shapes = new Map(
    [...keys].flatMap(([name, shape]) => [[plainName(name, root), shape] as const]).filter(([name]) => name !== undefined),
  );
  expect(sorted(shapes as Map<string, Shape>)).toEqual(sorted(keysOf("meta_dino_vits16"))); // no undefined is left
});

test.each([
  [["cls_token", "pos_embed"], ""],
  [["module.backbone.cls_token", "module.dino_head.mlp.0.weight"], "module.backbone."],
  [["student.module.backbone.cls_token", "teacher.backbone.cls_token"], "teacher.backbone."],
  [["student.backbone.cls_token"], "student.backbone."],
  [["gram_backbone.cls_token", "model.cls_token"], "model."],
  [["vit.embeddings.cls_token", "classifier.weight"], "vit."],
  [["embeddings.cls_token"], ""],
  [["module.stem.0.weight", "module.stem.1.weight"], "module."],
  [["teacher.backbone.downsample_layers.0.0.weight", "student.backbone.downsample_layers.0.0.weight"], "teacher.backbone."],
  [["model.stages.0.downsample_layers.0.weight"], "model."],
  [["student.cls_token", "backbone.conv1.weight", "backbone.layer1.0.conv1.weight", "backbone.layer1.1.conv1.weight"], "backbone."],
])("backboneRoot() of %j is %j", (names, root) => {
  expect(backboneRoot(names, "f")).toBe(root);
});

test("backboneRoot() refuses files of none and of several", () => {
  expect(() => backboneRoot(["fc.weight", "fc.bias"], "f")).toThrow(/no class token among fc\.weight, fc\.bias and 0 others/);
  expect(() => backboneRoot(["conv1.weight", "other"], "f")).toThrow(/nor the stem of a ConvNeXt or ResNet/);
  expect(() => backboneRoot(["a.cls_token", "b.stem.0.weight"], "f")).toThrow(/several backbones, under "a\.", "b\."/);
  expect(() => backboneRoot(["a.cls_token", "b.cls_token"], "f")).toThrow(/several backbones, under "a\.", "b\."/);
});

test("plainName() takes prefixes off and flattens chunks of blocks, whose second number counts on", () => {
  expect(plainName("teacher.backbone.blocks.1.12.ls1.gamma", "teacher.backbone.")).toBe("blocks.12.ls1.gamma");
  expect(plainName("blocks.3.mlp.fc1.weight", "")).toBe("blocks.3.mlp.fc1.weight");
  expect(plainName("dino_head.weight", "backbone.")).toBeUndefined();
});

describe("inferViT()", () => {
  const shapes = (config: ViTConfig, dialect: Dialect): Map<string, Shape> => storedShapes(vitLinks(config, dialect));
  const read = (config: ViTConfig, dialect: Dialect, periods?: HostTensor): ViTConfig =>
    inferViT(shapes(config, dialect), { dialect, file: "f", periods });

  test("reads heads and base of a free network from its rotary periods", () => {
    const config: ViTConfig = { ...V3, width: 48, heads: 3, rope: { base: 40 } };
    const found = read(config, "meta", periodsOf(config, 4));
    expect(found).toMatchObject({ width: 48, depth: 2, heads: 3, registers: 3, keyBiasMask: true, layerNormEps: 1e-5, positions: "rope" });
    expect(found.rope?.base).toBeCloseTo(40, 3);
    expect(() => checkPeriods(config, periodsOf(config, 4), "f")).not.toThrow();
    expect(() => checkPeriods({ ...config, rope: { base: 100 } }, periodsOf(config, 4), "f")).toThrow(/its 4 rotary periods are not those/);
    expect(() => checkPeriods({ ...config, heads: 6 }, periodsOf(config, 4), "f")).toThrow(/rotary periods/);
  });

  test("asks for the architecture where nothing tells the heads", () => {
    expect(() => read(V2, "meta")).toThrow(/weights of width 8 and depth 2 do not say how many heads .*--arch/);
  });

  test("keeps a preset's heads at another size of positions and other channels", () => {
    const config: ViTConfig = { ...vitPreset("dinov2_vits14"), imageSizePx: 98, channels: 4 };
    for (const dialect of ["meta", "hf-dinov2", "timm"] as const)
      expect(read(config, dialect)).toEqual({ ...config, posInterpolation: "size" });
    const named = adjustToShapes(vitPreset("dinov2_vits14"), shapes(config, "meta"), { dialect: "meta", file: "f" });
    expect(named).toEqual(config);
  });

  test("refuses positions of no square grid", () => {
    const given = shapes(V2, "meta").set("pos_embed", [1, 13, 8]);
    expect(() => inferViT(given, { dialect: "meta", file: "f" })).toThrow(/its 13 positions are of no square grid/);
  });
});

test("vitLinks() refuses networks that a naming has no words for", () => {
  expect(() => vitLinks({ ...V3, keyBiasMask: false }, "timm-rope")).toThrow(/timm has no bias of keys/);
  expect(() => vitLinks({ ...BASE, ...FUSED }, "hf-vit")).toThrow(/"blocks\.0\.mlp\.w12\.weight" has no place among the names of hf-vit/);
  expect(Object.keys(TABLES)).toHaveLength(6);
});
