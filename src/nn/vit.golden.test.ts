import { describe, expect, test } from "vitest";
import type { HostTensor } from "../core/index.ts";
import { expectClose, goldenPart, goldenTensor, goldenTolerance, type GoldenCase, hasGolden, loadGolden } from "../core/testing/golden.ts";
import { gradients } from "../engine/grad/index.ts";
import { runGraph } from "../engine/testing/run-graph.ts";
import { add, Builder, concat, mul, reshape, slice, sumAll, type Tensor, transpose } from "../engine/trace/index.ts";
import {
  applyViT,
  finalNorm,
  type Params,
  prefixTokens,
  swigluHidden,
  traceParams,
  type ViTConfig,
  vitFeatures,
  vitSpecs,
} from "./index.ts";
import { fromHuggingFaceV2, fromHuggingFaceV3, fromTimm, type Named } from "./testing/published-names.ts";

const COMMON = { posInterpolation: "size", maskToken: true, layerScale: 1, mlpRatio: 4 } as const;
const V2 = { ...COMMON, imageSizePx: 42, patchSizePx: 14, width: 36, depth: 2, heads: 3, layerNormEps: 1e-6 } as const;
const V3 = {
  ...COMMON,
  imageSizePx: 32,
  patchSizePx: 8,
  width: 36,
  depth: 2,
  heads: 3,
  layerNormEps: 1e-5,
  positions: "rope",
  registers: 4,
  registerName: "storage_tokens",
  keyBiasMask: true,
} as const;
const ANTIALIAS = { posInterpolation: "size-antialias", registers: 4 } as const;
const TIMM = { width: 48, depth: 2, heads: 3 } as const;
const TIMM_V3 = { ...V3, ...TIMM, imageSizePx: 64, patchSizePx: 16 } as const;
const SWIGLU_2 = { ffn: "swiglu-fused", ffnHidden: swigluHidden(36, { ratio: 4 }) } as const;
const SWIGLU_3 = { ffn: "swiglu", ffnHidden: 96 } as const;

const CASES: readonly (readonly [name: string, config: ViTConfig])[] = [
  ["meta_dinov2", { ...V2, posInterpolation: "meta-offset" }],
  ["meta_dinov2_reg_swiglu", { ...V2, ...ANTIALIAS, ...SWIGLU_2 }],
  ["meta_dinov3", V3],
  ["meta_dinov3_swiglu", { ...V3, ffn: "swiglu", ffnHidden: swigluHidden(36, { ratio: 6 }) }],
  [
    "meta_dinov3_7bstyle",
    { ...V3, ffn: "swiglu", ffnHidden: swigluHidden(36, { ratio: 3, align: 64 }), qkvBias: false, localClsNorm: true },
  ],
  ["hf_dinov2", V2],
  ["hf_dinov2_swiglu", { ...V2, ...SWIGLU_2 }],
  ["hf_dinov2_reg", { ...V2, ...ANTIALIAS }],
  ["hf_dinov3", V3],
  ["hf_dinov3_gated", { ...V3, ...SWIGLU_3 }],
  ["hf_dinov3_nobias", { ...V3, ...SWIGLU_3, qkvBias: false }],
  ["timm_dinov2", { ...V2, ...TIMM, posInterpolation: "size-antialias" }],
  ["timm_dinov2_giant", { ...V2, ...TIMM, ffn: "swiglu-fused", ffnHidden: 128 }],
  ["timm_dinov2_reg", { ...V2, ...TIMM, ...ANTIALIAS }],
  ["timm_dinov3", { ...TIMM_V3, qkvBias: false }],
  ["timm_dinov3_plus", { ...TIMM_V3, ffn: "swiglu", ffnHidden: 192, qkvBias: false }],
  ["timm_dinov3_qkvb", TIMM_V3],
];

/** A reference's tensors under our names. */
function rename(name: string, config: ViTConfig, tensors: Named): Named {
  if (name.startsWith("hf_dinov2")) return fromHuggingFaceV2(tensors);
  if (name.startsWith("hf_dinov3")) return fromHuggingFaceV3(tensors, config);
  return name.startsWith("timm_") ? fromTimm(tensors, config) : tensors;
}

/** Every output a reference may have, by its name there; those of the layers for the native size only. */
function outputs(
  params: Params,
  { config, x, mask }: { readonly config: ViTConfig; readonly x: Tensor; readonly mask: Tensor | undefined },
): Map<string, Tensor> {
  const found = new Map<string, Tensor>();
  const first = prefixTokens(config);
  const [b = 1, , height = 1, wide = 1] = x.shape;
  const [rows, columns, d] = [height / config.patchSizePx, wide / config.patchSizePx, config.width];
  const cls = (t: Tensor): Tensor => reshape(slice(t, 1, [0, 1]), [b, d]);
  const patches = (t: Tensor): Tensor => slice(t, 1, [first, first + rows * columns]);
  const asMap = (t: Tensor): Tensor => transpose(reshape(patches(t), [b, rows, columns, d]), [0, 3, 1, 2]);
  const masked = mask === undefined ? {} : { mask };
  const features = vitFeatures(params, x, {
    config,
    ...masked,
    onAttention: (p) => found.set("attn_last", p),
    onHidden: (i, t) => {
      found.set(`hidden.${i}`, mul(t, 1));
      if (i === config.depth) found.set("x_prenorm", mul(t, 1));
      if (i === 0) return;
      const normed = finalNorm(params, t, { config });
      for (const [kind, y] of [
        ["raw", t],
        ["norm", normed],
      ] as const) {
        found.set(`layer.${i - 1}.${kind}.cls`, cls(y));
        found.set(`layer.${i - 1}.${kind}.patches`, patches(y));
      }
      found.set(`layer.${i - 1}.map`, asMap(t)).set(`layer.${i - 1}.prefix`, slice(t, 1, [0, first]));
      if (i === config.depth) found.set("reshaped_last", asMap(normed));
    },
  });
  const { registers } = features;
  if (registers !== undefined) found.set("x_norm_regtokens", registers).set("x_storage_tokens", registers);
  const parts = [reshape(features.cls, [b, 1, d]), ...(registers === undefined ? [] : [registers]), features.patches] as const;
  const all = concat(parts, 1);
  found.set("x_norm_patchtokens", features.patches).set("last_hidden_state", all).set("forward_features", all);
  found.set("alone", applyViT(params, x, { config, ...masked, output: "cls" }));
  return found.set("x_norm_clstoken", features.cls).set("pooler_output", features.cls);
}

/** A mask of the goldens, which are bytes. */
function floats(t: HostTensor): HostTensor {
  return { dtype: "f32", shape: t.shape, data: Float32Array.from(t.data as Uint8Array) }; // bytes
}

interface Run {
  readonly input: string;
  readonly masked: boolean;
}

/** Compares all that the reference says of one run. */
async function compare(golden: GoldenCase, [name, config]: readonly [string, ViTConfig], { input, masked }: Run): Promise<void> {
  const x = goldenTensor(golden, input);
  const builder = new Builder();
  const given = masked ? floats(goldenTensor(golden, "mask")) : undefined;
  const mask = given === undefined ? undefined : builder.input("mask", given.shape);
  const prefix = masked ? "y.masked." : `y${input.slice(1)}.`;
  const wanted = [...goldenPart(golden, prefix)].filter(([key]) => !key.startsWith("masked.") && key !== "forward");
  expect(wanted.map(([key]) => key)).toContainEqual(expect.stringMatching(/^(x_norm_patchtokens|last_hidden_state|forward_features)$/));
  const made = outputs(traceParams(builder, vitSpecs(config)), { config, x: builder.input("x", x.shape), mask });
  for (const key of new Set([...wanted.map(([k]) => k), "x_norm_clstoken", "alone"])) {
    const y = made.get(key);
    if (y === undefined) throw new Error(`the reference has "${key}", the test makes none`);
    builder.output(key, mul(y, 1));
  }
  const weights = rename(name, config, goldenPart(golden, "w."));
  const y = await runGraph(builder, new Map([...weights, ["x", x], ...(given === undefined ? [] : [["mask", given] as const])]));
  const tolerance = goldenTolerance(golden);
  for (const [key, t] of wanted) expectClose(y.get(key) ?? [], t, { ...tolerance, what: `${prefix}${key}` });
  expectClose(y.get("alone") ?? [], y.get("x_norm_clstoken") ?? [], { ...tolerance, what: "last block for the class token alone" });
}

describe("applyViT() and vitFeatures() meet the published networks", () => {
  test.for(CASES)("%s", async (entry, { skip }) => {
    const [name] = entry;
    skip(!hasGolden("models", name));
    const golden = loadGolden("models", name);
    const inputs = [...golden.tensors.keys()].filter((k) => k === "x" || k.startsWith("x@"));
    expect(inputs).toHaveLength((golden.json["sizes"] as unknown[]).length); // our own reference file
    for (const input of inputs) await compare(golden, entry, { input, masked: false });
    if (golden.json["masked"] === true) await compare(golden, entry, { input: "x", masked: true });
  });
});

test.skipIf(!hasGolden("models", "meta_dinov3_local_norm"))(
  "local crops in training have their own norm of class token and registers",
  async () => {
    const golden = loadGolden("models", "meta_dinov3_local_norm");
    const ffnHidden = swigluHidden(32, { ratio: 3, align: 64 });
    const config: ViTConfig = { ...V3, width: 32, heads: 2, ffn: "swiglu", ffnHidden, qkvBias: false, localClsNorm: true };
    const builder = new Builder();
    const params = traceParams(builder, vitSpecs(config));
    const mask = floats(goldenTensor(golden, "mask"));
    const extra = [{ mask: builder.input("mask", mask.shape) }, { isLocal: true }];
    extra.forEach((options, i) => {
      const x = builder.input(`x.${i}`, goldenTensor(golden, `x.${i}`).shape);
      const all = {
        config,
        ...options,
        onHidden: (at: number, t: Tensor) => at === config.depth && builder.output(`${i}.x_prenorm`, mul(t, 1)),
      };
      const { cls, registers, patches } = vitFeatures(params, x, all);
      builder.output(`${i}.x_norm_clstoken`, cls);
      builder.output(`${i}.x_storage_tokens`, registers ?? cls);
      builder.output(`${i}.x_norm_patchtokens`, patches);
      builder.output(`${i}.alone`, applyViT(params, x, { config, ...options, output: "cls" }));
    });
    const y = await runGraph(builder, new Map([...goldenPart(golden, "w."), ...golden.tensors, ["mask", mask]]));
    const wanted = goldenPart(golden, "y.");
    expect(wanted.size).toBe(8);
    for (const [key, t] of wanted) expectClose(y.get(key) ?? [], t, { ...goldenTolerance(golden), what: key });
    for (const i of [0, 1])
      expectClose(y.get(`${i}.alone`) ?? [], goldenTensor(golden, `y.${i}.x_norm_clstoken`), { ...goldenTolerance(golden), what: "alone" });
  },
);

/** The tensors that the cotangents `r.*` belong to. */
const WEIGHED = ["x_norm_clstoken", "x_norm_patchtokens", "x_norm_regtokens", "x_storage_tokens", "last_hidden_state"];

describe("gradients of the published networks", () => {
  test.for(CASES.filter(([name]) => !name.startsWith("timm_") && !/7bstyle|nobias/.test(name)))("%s", async ([name, config], { skip }) => {
    skip(!hasGolden("models", name));
    const golden = loadGolden("models", name);
    const builder = new Builder();
    const specs = vitSpecs(config);
    const given = golden.tensors.has("mask") ? floats(goldenTensor(golden, "mask")) : undefined;
    const x = builder.input("x", goldenTensor(golden, "x").shape);
    const mask = given === undefined ? undefined : builder.input("mask", given.shape);
    const params = traceParams(builder, specs);
    const made = outputs(params, { config, x, mask });
    const cotangents = goldenPart(golden, "r.");
    const s = [...cotangents]
      .map(([key, r]) => sumAll(mul(made.get(key) ?? x, builder.input(`r.${key}`, r.shape))))
      .reduce((a, b) => add(a, b));
    expect([...cotangents.keys()].every((key) => WEIGHED.includes(key))).toBe(true);
    builder.output("s", s);
    gradients(s, [...specs.map((p) => params(p.name)), x]).forEach(
      (g, i) => g !== undefined && builder.output(`g.${specs[i]?.name ?? "x"}`, g),
    );
    const weights = rename(name, config, goldenPart(golden, "w."));
    const y = await runGraph(
      builder,
      new Map([
        ...weights,
        ["x", goldenTensor(golden, "x")],
        ...(given === undefined ? [] : [["mask", given] as const]),
        ...[...cotangents].map(([key, r]) => [`r.${key}`, r] as const),
      ]),
    );
    expectClose(y.get("s") ?? [], goldenTensor(golden, "s"), { atol: 1e-4, rtol: 1e-4, what: "s" });
    const wanted = new Map([...rename(name, config, goldenPart(golden, "g.")), ["x", goldenTensor(golden, "gx")]]);
    expect([...wanted.keys()].sort()).toEqual([...specs.map((p) => p.name), "x"].sort());
    const largest = Math.max(...[...wanted.values()].flatMap((t) => Array.from(t.data as Float32Array, Math.abs))); // float32
    for (const [key, g] of wanted)
      expectClose(y.get(`g.${key}`) ?? new Float32Array((g.data as Float32Array).length), g, {
        atol: 1e-5 * largest,
        rtol: 1e-3,
        what: key,
      }); // float32
  });
});
