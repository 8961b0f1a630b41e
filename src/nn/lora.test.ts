import { describe, expect, test } from "vitest";
import { ConfigError, Rng, ShapeError, sizeOf } from "../core/index.ts";
import { expectClose } from "../core/testing/golden.ts";
import { gradients } from "../engine/grad/index.ts";
import { type Cell, interpret } from "../engine/ir/index.ts";
import { runGraph } from "../engine/testing/run-graph.ts";
import { Builder, mul, sumAll } from "../engine/trace/index.ts";
import {
  applyViT,
  initParam,
  type LoraConfig,
  loraSpecs,
  mergeLora,
  type ParamSpec,
  traceParams,
  type ViTConfig,
  vitSpecs,
  withLora,
} from "./index.ts";
import { SMALL_VIT } from "./testing/small-vit.ts";

const V1: ViTConfig = { ...SMALL_VIT, imageSizePx: 8 };
const V3: ViTConfig = { ...V1, registers: 1, layerScale: 0.5, positions: "rope", keyBiasMask: true };
const FAMILY: readonly (readonly [string, ViTConfig])[] = [
  ["mlp", V1],
  ["swiglu-fused", { ...V1, ffn: "swiglu-fused" }],
  ["swiglu, rope, masked key bias", { ...V3, ffn: "swiglu" }],
  ["no biases", { ...V3, qkvBias: false }],
];
const LORA: LoraConfig = { rank: 3, alpha: 6, targets: ["attn.qkv", "attn.proj", "mlp"] };

type Values = Map<string, Float32Array>;

function values(specs: readonly ParamSpec[], fill: (spec: ParamSpec, out: Float32Array) => void): Values {
  return new Map(
    specs.map((spec) => {
      const out = new Float32Array(sizeOf(spec.shape));
      fill(spec, out);
      return [spec.name, out] as const;
    }),
  );
}

const drawn = (specs: readonly ParamSpec[], std: number): Values =>
  values(specs, ({ name }, out) => {
    const rng = new Rng(3).split(name);
    for (let i = 0; i < out.length; i++) out[i] = rng.normal(0, std);
  });

function cells(builder: Builder, given: Values): Map<string, Cell> {
  const rng = new Rng(4);
  return new Map(
    builder.graph().inputs.map(({ name, value: { shape } }) => {
      const draws = rng.split(name);
      return [
        name,
        { shape, data: Float64Array.from(given.get(name) ?? Array.from({ length: sizeOf(shape) }, () => draws.normal(0, 1))) },
      ] as const;
    }),
  );
}

/** Tokens of the plain network, or of the adapted one. */
function tokens(
  config: ViTConfig,
  { weights, adapters, output = "tokens" }: { readonly weights: Values; readonly adapters?: Values; readonly output?: "cls" | "tokens" },
): Float64Array {
  const builder = new Builder();
  const base = traceParams(builder, vitSpecs(config));
  const params = adapters === undefined ? base : withLora(base, traceParams(builder, loraSpecs(config, LORA)), { config, lora: LORA });
  builder.output("y", applyViT(params, builder.input("x", [2, 3, 8, 8]), { config, output }));
  return interpret(builder.graph(), cells(builder, new Map([...weights, ...(adapters ?? [])]))).get("y")?.data ?? new Float64Array();
}

describe("withLora()", () => {
  test.each(FAMILY)("%s: starts as the network it adapts", (_, config) => {
    const weights = drawn(vitSpecs(config), 0.3);
    const adapters = values(loraSpecs(config, LORA), (spec, out) => initParam(spec, out, new Rng(1)));
    expect([...(adapters.get("blocks.0.attn.qkv.lora_A") ?? [])].some((x) => x !== 0)).toBe(true);
    expectClose(tokens(config, { weights, adapters }), tokens(config, { weights }), { atol: 0, rtol: 0 });
  });

  test.each(FAMILY)("%s: gives what its merged weights give, for all tokens and for the class token alone", (_, config) => {
    const weights = drawn(vitSpecs(config), 0.3);
    const adapters = drawn(loraSpecs(config, LORA), 0.2);
    for (const output of ["tokens", "cls"] as const) {
      const adapted = tokens(config, { weights, adapters, output });
      const plain = mergeLora(weights, adapters, LORA);
      expectClose(tokens(config, { weights: plain, output }), adapted, { atol: 1e-6, rtol: 1e-6 });
      expect(() => expectClose(tokens(config, { weights, output }), adapted, { atol: 1e-2, rtol: 0 })).toThrow("values are off");
    }
  });

  test.each(FAMILY)("%s: gradients reach the adapters only, and are those of central differences", (_, deep) => {
    const config = { ...deep, depth: 1 };
    const builder = new Builder();
    const [specs, own] = [vitSpecs(config), loraSpecs(config, LORA)];
    const [base, added] = [traceParams(builder, specs), traceParams(builder, own)];
    const y = applyViT(withLora(base, added, { config, lora: LORA }), builder.input("x", [1, 3, 8, 8]), { config });
    const s = sumAll(mul(y, builder.input("r", y.shape)));
    expect(
      gradients(
        s,
        specs.map((p) => base(p.name)),
      ).every((g) => g === undefined),
    ).toBe(true);
    gradients(
      s,
      own.map((p) => added(p.name)),
    ).forEach((g, i) => builder.output(`g.${own[i]?.name}`, g ?? s));
    builder.output("s", s);
    const graph = builder.graph();
    const at = cells(builder, new Map([...drawn(specs, 0.3), ...drawn(own, 0.2)]));
    const y0 = interpret(graph, at);
    const step = 1e-5;
    for (const { name } of own) {
      const { shape, data } = at.get(name)!; // every input has a value
      const moved = (by: number): number =>
        interpret(graph, new Map([...at, [name, { shape, data: data.map((v, i) => (i === 1 ? v + by : v)) }]])).get("s")?.data[0] ?? NaN;
      const wanted = (moved(step) - moved(-step)) / (2 * step);
      expectClose([y0.get(`g.${name}`)?.data[1] ?? NaN], [wanted], { atol: 1e-6, rtol: 1e-4, what: name });
    }
  });

  test("on ONNX Runtime: the merged network is the adapted one", async () => {
    const config = FAMILY[2]![1]; // it has four
    const builder = new Builder();
    const params = withLora(traceParams(builder, vitSpecs(config)), traceParams(builder, loraSpecs(config, LORA)), { config, lora: LORA });
    builder.output("y", applyViT(params, builder.input("x", [2, 3, 8, 8]), { config }));
    const all = new Map([...drawn(vitSpecs(config), 0.3), ...drawn(loraSpecs(config, LORA), 0.2)]);
    const at = cells(builder, all);
    const y = await runGraph(builder, new Map([...at].map(([name, { data }]) => [name, data])));
    const weights = mergeLora(drawn(vitSpecs(config), 0.3), drawn(loraSpecs(config, LORA), 0.2), LORA);
    expectClose(y.get("y") ?? [], tokens(config, { weights }), { atol: 2e-5, rtol: 2e-4 });
  });

  test.each<readonly [string, Partial<LoraConfig>, string]>([
    ["rank", { rank: 0 }, "Cannot adapt a network: rank is 0; give a whole number from 1"],
    ["alpha", { alpha: NaN }, "Cannot adapt a network: alpha is NaN; give a positive number"],
  ])("refuses a bad %s", (_, bad, message) => {
    expect(() => loraSpecs(V1, { ...LORA, ...bad })).toThrow(ConfigError);
    expect(() => loraSpecs(V1, { ...LORA, ...bad })).toThrow(message);
    expect(() => mergeLora(new Map(), new Map(), { ...LORA, ...bad })).toThrow(message);
  });

  test("refuses targets that are none", () => {
    const odd = { ...LORA, targets: ["attn.q"] } as unknown as LoraConfig; // what a JavaScript caller may give
    expect(() => loraSpecs(V1, odd)).toThrow('Cannot adapt a network: targets are "attn.q"; give some of attn.qkv, attn.proj, mlp');
  });
});

describe("loraSpecs()", () => {
  test("adapts the chosen layers, each once", () => {
    const names = loraSpecs({ ...V1, depth: 1, ffn: "swiglu" }, { ...LORA, targets: ["mlp", "attn.proj", "mlp"] }).map(
      (s) => `${s.name} ${s.shape.join("x")}`,
    );
    expect(names).toEqual([
      "blocks.0.mlp.w1.lora_A 3x16",
      "blocks.0.mlp.w1.lora_B 32x3",
      "blocks.0.mlp.w2.lora_A 3x16",
      "blocks.0.mlp.w2.lora_B 32x3",
      "blocks.0.mlp.w3.lora_A 3x32",
      "blocks.0.mlp.w3.lora_B 16x3",
      "blocks.0.attn.proj.lora_A 3x16",
      "blocks.0.attn.proj.lora_B 16x3",
    ]);
  });
});

describe("mergeLora()", () => {
  const weights = new Map([
    ["a.weight", Float32Array.of(1, 2, 3, 4, 5, 6)],
    ["a.bias", Float32Array.of(7, 8)],
  ]);
  const adapters = new Map([
    ["a.lora_A", Float32Array.of(1, 0, -1)],
    ["a.lora_B", Float32Array.of(2, 3)],
  ]);

  test("adds α/r times B A and leaves the rest, and what it was given", () => {
    const plain = mergeLora(weights, adapters, { rank: 1, alpha: 0.5 });
    expect([...(plain.get("a.weight") ?? [])]).toEqual([2, 2, 2, 5.5, 5, 4.5]);
    expect(plain.get("a.bias")).toBe(weights.get("a.bias"));
    expect(plain.size).toBe(2);
    expect([...(weights.get("a.weight") ?? [])]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("refuses adapters that do not fit", () => {
    expect(() => mergeLora(new Map(), adapters, { rank: 1, alpha: 1 })).toThrow('Cannot merge "a.lora_A": "a.weight" is missing');
    const half = new Map([["a.lora_A", Float32Array.of(1, 0, -1)]]);
    expect(() => mergeLora(weights, half, { rank: 1, alpha: 1 })).toThrow('Cannot merge "a.lora_A": "a.lora_B" is missing');
    expect(() => mergeLora(weights, adapters, { rank: 2, alpha: 1 })).toThrow(ShapeError);
  });
});
