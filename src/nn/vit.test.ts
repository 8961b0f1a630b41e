import { describe, expect, test } from "vitest";
import { ConfigError, f32, Rng, ShapeError, sizeOf } from "../core/index.ts";
import { expectClose } from "../core/testing/golden.ts";
import { gradients } from "../engine/grad/index.ts";
import { type Cell, interpret } from "../engine/ir/index.ts";
import { optimize } from "../engine/passes/index.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { runGraph } from "../engine/testing/run-graph.ts";
import { Builder, mul, sumAll, type Tensor } from "../engine/trace/index.ts";
import {
  applyViT,
  dropSubset,
  inflatePatchEmbed,
  initParam,
  type Params,
  prefixTokens,
  ropeTables,
  traceParams,
  type ViTConfig,
  vitFeatures,
  vitSpecs,
} from "./index.ts";
import { SMALL_VIT } from "./testing/small-vit.ts";

const V1: ViTConfig = { ...SMALL_VIT, imageSizePx: 8 };
const V2: ViTConfig = { ...V1, registers: 2, maskToken: true, layerScale: 0.5, ffn: "swiglu-fused" };
const V3: ViTConfig = {
  ...V1,
  registers: 2,
  registerName: "storage_tokens",
  maskToken: true,
  layerScale: 0.5,
  ffn: "swiglu",
  positions: "rope",
  keyBiasMask: true,
  localClsNorm: true,
};
const FAMILY: readonly (readonly [string, ViTConfig])[] = [
  ["DINO", V1],
  ["DINOv2", V2],
  ["DINOv3", V3],
  ["RMS norm, untied norms, no biases", { ...V3, norm: "rmsnorm", untieClsAndPatchNorms: true, qkvBias: false }],
];
const EXACT = { atol: 1e-12, rtol: 1e-10 };

function draws(shape: readonly number[], key: string): Cell {
  const rng = new Rng(5).split(key);
  return { shape, data: Float64Array.from({ length: sizeOf(shape) }, () => rng.normal(0, 1)) };
}

/** Random values for every float input of a graph, far from the usual start; `given` ones stand in. */
function run(builder: Builder, given: ReadonlyMap<string, Cell> = new Map()): Map<string, Cell> {
  const graph = builder.graph();
  return interpret(graph, new Map(graph.inputs.map((i) => [i.name, given.get(i.name) ?? draws(i.value.shape, i.name)])));
}

const cell = (shape: readonly number[], data: readonly number[]): Cell => ({ shape, data: Float64Array.from(data) });
const data = (y: ReadonlyMap<string, Cell>, name: string): Float64Array => y.get(name)?.data ?? new Float64Array();

interface Traced {
  readonly builder: Builder;
  readonly params: Params;
  readonly images: Tensor;
}

function traced(config: ViTConfig, { b = 2, sizePx = 8, name = "x" } = {}): Traced {
  const builder = new Builder();
  const params = traceParams(builder, vitSpecs(config));
  return { builder, params, images: builder.input(name, [b, config.channels ?? 3, sizePx, sizePx]) };
}

describe("applyViT()", () => {
  test.each(FAMILY)("%s: the class token alone is that of all tokens, in numbers and gradients", (_, config) => {
    const grads = (output: "cls" | "tokens"): Map<string, Cell> => {
      const { builder, params, images } = traced(config);
      const options = { config, isLocal: true };
      const cls = output === "cls" ? applyViT(params, images, { ...options, output }) : vitFeatures(params, images, options).cls;
      const s = sumAll(mul(cls, builder.input("r", cls.shape)));
      builder.output("cls", cls);
      const specs = vitSpecs(config);
      gradients(s, [...specs.map((p) => params(p.name)), images]).forEach(
        (g, i) => g !== undefined && builder.output(`g.${specs[i]?.name ?? "x"}`, g),
      );
      return run(builder);
    };
    const [alone, all] = [grads("cls"), grads("tokens")];
    expect(alone.size).toBeGreaterThan(10);
    for (const [key, { data: wanted }] of all) {
      const found = data(alone, key);
      expectClose(found.length === 0 ? new Float64Array(wanted.length) : found, wanted, { ...EXACT, what: key }); // the norm of patches has none
    }
  });

  test.each(FAMILY)("%s: blocks share one program, with drop path by subset and tables for each block", (_, config) => {
    const deep = { ...config, depth: 5 };
    const { builder, params, images } = traced(deep, { b: 4 });
    const dim = deep.width / deep.heads;
    const rope = (i: number): { sin: Tensor; cos: Tensor } => ({
      sin: builder.input(`sin.${i}`, [4, dim]),
      cos: builder.input(`cos.${i}`, [4, dim]),
    });
    const y = applyViT(params, images, {
      config: deep,
      dropPath: (i, branch) => ({ rows: builder.input(`rows.${i}.${branch}`, [2], { dtype: "i32" }), scale: 2 }),
      ...(config.positions === "rope" ? { rope } : {}),
    });
    builder.output("y", y);
    using device = openCpu({ threads: 1 });
    using program = device.compile(optimize(builder.graph()));
    expect(program.stages).toBe(7); // embedding, five blocks, norm
    expect(program.sessions).toBe(3);
  });

  test.each(FAMILY.slice(1))("%s: on ONNX Runtime as on the interpreter", async (_, config) => {
    const { builder, params, images } = traced(config);
    const mask = builder.input("mask", [2, 4]);
    const rows = builder.input("rows", [1], { dtype: "i32" });
    const { cls, patches } = vitFeatures(params, images, { config, mask, isLocal: true, dropPath: () => ({ rows, scale: 2 }) });
    builder.output("cls", cls);
    builder.output("patches", patches);
    const given = new Map([
      ["mask", cell([2, 4], [1, 0, 0, 1, 0, 0, 0, 0])],
      ["rows", cell([1], [1])],
    ]);
    const values = new Map(builder.graph().inputs.map((i) => [i.name, (given.get(i.name) ?? draws(i.value.shape, i.name)).data] as const));
    const [got, wanted] = [await runGraph(builder, values), run(builder, given)];
    for (const [key, y] of got) expectClose(y, data(wanted, key), { atol: 2e-5, rtol: 2e-4, what: key });
  });

  test.each<readonly [string, ViTConfig, string]>([
    [
      "heads that do not divide the width",
      { ...V1, heads: 3 },
      "Cannot build a ViT: width is 16 with 3 heads; give a multiple of the heads",
    ],
    ["half a layer", { ...V1, depth: 1.5 }, "Cannot build a ViT: depth is 1.5; give a whole number from 1"],
    ["negative registers", { ...V1, registers: -1 }, "Cannot build a ViT: registers is -1; give a whole number from 0"],
    [
      "positions that do not fit",
      { ...V1, imageSizePx: 9 },
      "Cannot build a ViT: imageSizePx is 9 with patches of 4; give a multiple of the patch size",
    ],
    ["heads that cannot be turned", { ...V3, heads: 8 }, "Cannot rotate positions: a head has 2 numbers; give each head a multiple of 4"],
  ])("refuses %s", (_, config, message) => {
    expect(() => vitSpecs(config)).toThrow(ConfigError);
    expect(() => vitSpecs(config)).toThrow(message);
    const { images } = traced(V1);
    expect(() => applyViT(() => images, images, { config })).toThrow(message);
  });

  test("refuses pictures and masks that do not fit", () => {
    const { builder, params, images } = traced(V2);
    expect(() => applyViT(params, images, { config: { ...V2, channels: 4 } })).toThrow(
      "Cannot embed float32[2,3,8,8]: it has 3 channels, the network wants 4; convert the images",
    );
    const odd = builder.input("odd", [2, 3, 8, 10]);
    expect(() => applyViT(params, odd, { config: V2 })).toThrow("Cannot cut float32[2,3,8,10] into patches of 4 px");
    const mask = builder.input("mask", [2, 5]);
    expect(() => applyViT(params, images, { config: V2, mask })).toThrow(ShapeError);
    expect(() => applyViT(params, images, { config: V2, mask })).toThrow(
      "Cannot mask patches by float32[2,5]: there are 4 of 2 images; give float32[2,4]",
    );
    const fit = builder.input("fit", [2, 4]);
    expect(() => applyViT(params, images, { config: V1, mask: fit })).toThrow("Cannot mask patches: the network has no mask token");
    const rows = builder.input("rows", [3], { dtype: "i32" });
    expect(() => applyViT(params, images, { config: V2, dropPath: () => ({ rows, scale: 1 }) })).toThrow(
      "Cannot drop to the samples int32[3]: the batch has 2; give int32[s] with s from 1 to 2",
    );
  });
});

describe("masks", () => {
  const tokens = (mask: readonly number[] | undefined, images: string): Float64Array => {
    const { builder, params, images: x } = traced(V2, { b: 1, name: images });
    const given = mask === undefined ? {} : { mask: builder.input("mask", [1, 4]) };
    builder.output("y", applyViT(params, x, { config: V2, ...given }));
    return data(run(builder, new Map([["mask", cell([1, 4], mask ?? [])]])), "y");
  };

  test("of nothing change nothing", () => expectClose(tokens([0, 0, 0, 0], "x"), tokens(undefined, "x"), EXACT));
  test("of all patches hide the picture", () => {
    expectClose(tokens([1, 1, 1, 1], "x"), tokens([1, 1, 1, 1], "another"), EXACT);
    expect(() => expectClose(tokens([1, 1, 1, 0], "x"), tokens([1, 1, 1, 0], "another"), EXACT)).toThrow("values are off");
  });
});

describe("stochastic depth", () => {
  const KEPT = [2, 0];

  test.each(FAMILY)("%s: a subset of the batch is what keep factors of 0 and b/s are, in numbers and gradients", (_, config) => {
    for (const output of ["cls", "tokens"] as const) {
      const [bySubset, byFactor] = [true, false].map((subset) => {
        const { builder, params, images } = traced(config, { b: 3 });
        const rows = builder.input("rows", [2], { dtype: "i32" });
        const keep = builder.input("keep", [3, 1, 1]);
        const y = applyViT(params, images, { config, output, dropPath: () => (subset ? { rows, scale: 1.5 } : keep) });
        builder.output("y", y);
        const specs = vitSpecs(config);
        const s = sumAll(mul(y, builder.input("r", y.shape)));
        gradients(s, [...specs.map((p) => params(p.name)), images]).forEach(
          (g, i) => g !== undefined && builder.output(`g.${specs[i]?.name ?? "x"}`, g),
        );
        return run(
          builder,
          new Map([
            ["rows", cell([2], KEPT)],
            ["keep", cell([3, 1, 1], [1.5, 0, 1.5])],
          ]),
        );
      }) as [Map<string, Cell>, Map<string, Cell>]; // two of them
      expect([...bySubset.keys()]).toEqual([...byFactor.keys()]);
      for (const [key, { data: wanted }] of byFactor) expectClose(data(bySubset, key), wanted, { ...EXACT, what: key });
    }
  });

  test.each([
    [8, 0.4, 4, 2],
    [2, 0.4, 1, 2],
    [5, 0.3, 3, 5 / 3],
    [4, 0, 4, 1],
  ])("dropSubset(%d, %d) keeps %d", (batch, rate, size, scale) => expect(dropSubset(batch, rate)).toEqual({ size, scale }));

  test("dropSubset() refuses a rate of 1", () =>
    expect(() => dropSubset(4, 1)).toThrow(
      "Cannot drop a part of a batch: batch 4, rate 1; give a batch from 1 and a rate from 0 to below 1",
    ));
});

describe("final norms", () => {
  const features = (config: ViTConfig, isLocal: boolean): Map<string, Cell> => {
    const { builder, params, images } = traced(config);
    const { cls, registers, patches } = vitFeatures(params, images, { config, isLocal });
    builder.output("cls", cls);
    if (registers !== undefined) builder.output("registers", registers);
    builder.output("patches", patches);
    return run(builder);
  };

  test("local crops differ in class token and registers only", () => {
    const [global, local] = [features(V3, false), features(V3, true)];
    expectClose(data(local, "patches"), data(global, "patches"), EXACT);
    for (const key of ["cls", "registers"]) expect(() => expectClose(data(local, key), data(global, key), EXACT)).toThrow("values are off");
    const without = { ...V3, localClsNorm: false };
    expectClose(data(features(without, true), "cls"), data(features(without, false), "cls"), EXACT);
    expectClose(data(global, "cls"), data(features(without, false), "cls"), EXACT);
  });

  test("an untied norm is for class token and registers, not for patches", () => {
    const [tied, untied] = [features(V2, false), features({ ...V2, untieClsAndPatchNorms: true }, false)];
    expectClose(data(untied, "patches"), data(tied, "patches"), EXACT);
    for (const key of ["cls", "registers"]) expect(() => expectClose(data(untied, key), data(tied, key), EXACT)).toThrow("values are off");
  });

  test("the RMS norm divides by the root of the mean square", () => {
    const config: ViTConfig = { ...V1, norm: "rmsnorm", layerNormEps: 0.1 };
    const { builder, params, images } = traced(config, { b: 1 });
    let last: Tensor = images;
    const y = applyViT(params, images, { config, onHidden: (_, t) => (last = t) });
    builder.output("raw", last);
    builder.output("y", y);
    const got = run(builder);
    const weight = draws([16], "norm.weight").data;
    const raw = data(got, "raw");
    const wanted = raw.map((x, i) => {
      const row = raw.slice(i - (i % 16), i - (i % 16) + 16);
      return (x / Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / 16 + 0.1)) * (weight[i % 16] ?? NaN);
    });
    expectClose(data(got, "y"), wanted, EXACT);
    expect(
      vitSpecs(config)
        .filter((s) => s.name.includes("norm"))
        .every((s) => s.name.endsWith(".weight")),
    ).toBe(true);
  });
});

test("tables of the grid, given as inputs, change nothing; a block's own tables turn that block", () => {
  const dim = V3.width / V3.heads;
  const tables = ropeTables({ rope: {}, headDim: dim, grid: { rows: 2, columns: 2 } });
  const moved = ropeTables({
    rope: {},
    headDim: dim,
    grid: { rows: 2, columns: 2 },
    draws: { shift: [0, 0], jitter: [1, 1], rescale: 1.7 },
  });
  const tokens = (given: ReadonlySet<number>, { sin, cos }: typeof tables = tables): Float64Array => {
    const { builder, params, images } = traced(V3);
    const rope = (i: number): { sin: Tensor; cos: Tensor } | undefined =>
      given.has(i) ? { sin: builder.input(`sin.${i}`, [4, dim]), cos: builder.input(`cos.${i}`, [4, dim]) } : undefined;
    builder.output("y", applyViT(params, images, { config: V3, rope }));
    const inputs = [...given].flatMap(
      (i) =>
        [
          [`sin.${i}`, cell([4, dim], [...sin])],
          [`cos.${i}`, cell([4, dim], [...cos])],
        ] as const,
    );
    return data(run(builder, new Map(inputs)), "y");
  };
  const plain = tokens(new Set());
  expectClose(tokens(new Set([0, 1])), plain, EXACT);
  expectClose(tokens(new Set([1])), plain, EXACT);
  expect(() => expectClose(tokens(new Set([1]), moved), plain, EXACT)).toThrow("values are off");
});

test("the bias of the keys counts as zero where it is masked, and gets a gradient of zero", () => {
  const key = "blocks.1.attn.qkv.bias";
  const { builder, params, images } = traced(V3);
  const y = applyViT(params, images, { config: V3 });
  builder.output("y", y);
  const [g] = gradients(sumAll(mul(y, builder.input("r", y.shape))), [params(key)]);
  if (g !== undefined) builder.output("g", g);
  const plain = draws([48], key);
  const other = { shape: [48], data: plain.data.map((x, i) => (i >= 16 && i < 32 ? x + 3 : x)) };
  const [a, b] = [run(builder), run(builder, new Map([[key, other]]))];
  expectClose(data(b, "y"), data(a, "y"), { atol: 0, rtol: 0 });
  expect(
    data(a, "g")
      .slice(16, 32)
      .every((x) => x === 0),
  ).toBe(true);
  expect([...data(a, "g").slice(0, 16), ...data(a, "g").slice(32)].every((x) => x !== 0)).toBe(true);
});

describe("inflatePatchEmbed()", () => {
  const weight = f32(
    [2, 3, 2, 2],
    Float32Array.from({ length: 24 }, (_, i) => Math.sin(i)),
  );

  /** `Σ w · v_c` over channels and pixels: the embedding of channels that are flat. */
  const embedded = ({ shape, data: w }: typeof weight, values: readonly number[]): number[] => {
    const [d = 0, c = 0, h = 0, v = 0] = shape;
    return Array.from({ length: d }, (_, i) =>
      Array.from({ length: c * h * v }, (__, k) => Number(w[i * c * h * v + k]) * (values[Math.floor(k / (h * v))] ?? NaN)).reduce(
        (a, b) => a + b,
        0,
      ),
    );
  };

  test.each([1, 2, 4, 10])("to %d channels embeds equal channels as the grey picture", (channels) => {
    const wide = inflatePatchEmbed(weight, channels);
    expect(wide.shape).toEqual([2, channels, 2, 2]);
    expectClose(embedded(wide, Array<number>(channels).fill(0.7)), embedded(weight, [0.7, 0.7, 0.7]), { atol: 1e-6, rtol: 1e-6 });
  });

  test("keeps RGB as it is, in memory of its own", () => {
    const copy = inflatePatchEmbed(weight, 3);
    expect(copy).toEqual(weight);
    expect(copy.data.buffer).not.toBe(weight.data.buffer);
  });

  test("refuses what is no RGB embedding and no number of channels", () => {
    expect(() => inflatePatchEmbed(f32([2, 1, 2, 2], new Float32Array(8)), 4)).toThrow("Cannot inflate a patch embedding of [2,1,2,2]");
    expect(() => inflatePatchEmbed(weight, 0)).toThrow("Cannot inflate a patch embedding: channels is 0; give a whole number from 1");
  });
});

describe("vitSpecs()", () => {
  const started = (config: ViTConfig, name: string): Float32Array => {
    const spec = vitSpecs(config).find((s) => s.name === name);
    if (spec === undefined) throw new Error(`there is no "${name}"`);
    const out = new Float32Array(sizeOf(spec.shape));
    initParam(spec, out, new Rng(2));
    return out;
  };
  const deviation = (x: Float32Array): number => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length);

  test("start tokens, LayerScale and the mask token as published", () => {
    const wide: ViTConfig = { ...V3, width: 2048, registers: 4 };
    expect(deviation(started({ ...wide, tokenInitStd: 0.02 }, "storage_tokens"))).toBeCloseTo(0.02, 3);
    expect(deviation(started({ ...wide, tokenInitStd: 1e-6 }, "cls_token")) * 1e6).toBeCloseTo(1, 1);
    expect(deviation(started(wide, "cls_token"))).toBeCloseTo(0.02, 3);
    expect(new Set(started({ ...V3, layerScale: 1e-5 }, "blocks.1.ls2.gamma"))).toEqual(new Set([Math.fround(1e-5)]));
    expect(started(V3, "mask_token").every((x) => x === 0)).toBe(true);
    const bound = 1 / Math.sqrt(3 * 4 ** 2);
    const patch = started(wide, "patch_embed.proj.weight");
    expect(Math.max(...patch)).toBeLessThanOrEqual(bound);
    expect(deviation(patch)).toBeCloseTo(bound / Math.sqrt(3), 3);
  });

  test("counts the tokens before the patches", () => expect([V1, V2, V3].map(prefixTokens)).toEqual([1, 3, 3]));
});
