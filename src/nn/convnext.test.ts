import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { Rng, sizeOf } from "../core/index.ts";
import {
  expectClose,
  goldenDir,
  goldenPart,
  goldenTensor,
  goldenTolerance,
  type GoldenCase,
  hasGolden,
  loadGolden,
} from "../core/testing/golden.ts";
import { gradients } from "../engine/grad/index.ts";
import { optimize } from "../engine/passes/index.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { add, Builder, concat, dotAdd, mul, reshape, sumAll, type Tensor, transpose } from "../engine/trace/index.ts";
import {
  CONVNEXT_PRESETS,
  type ConvNeXtConfig,
  convnextDropRates,
  convnextFeatures,
  convnextPreset,
  convnextSpecs,
  initParam,
  type Params,
  traceParams,
} from "./index.ts";
import { runBoth } from "./testing/run-both.ts";

const CONFIG: ConvNeXtConfig = { family: "convnext", depths: [1, 2, 1, 1], widths: [12, 20, 28, 36] };

type Rule = readonly [from: RegExp, to: string];

/** Names of each reference -> ours. */
const RULES: Readonly<Record<string, readonly Rule[]>> = {
  meta_dinov3_convnext: [],
  hf_dinov3_convnext: [
    [/^layer_norm\./, "norm."],
    [/^stages\.(\d)\.downsample_layers\./, "downsample_layers.$1."],
    [/\.layers\.(\d+)\./, ".$1."],
    [/depthwise_conv/, "dwconv"],
    [/layer_norm/, "norm"],
    [/pointwise_conv/, "pwconv"],
  ],
  timm_dinov3_convnext: [
    [/^head\.norm/, "norm"],
    [/^stem\./, "downsample_layers.0."],
    [/^stages\.(\d)\.downsample\./, "downsample_layers.$1."],
    [/\.blocks\./, "."],
    [/conv_dw/, "dwconv"],
    [/mlp\.fc/, "pwconv"],
  ],
  tv_convnext: [
    [/^classifier\.0\./, "norm."],
    [/^classifier\.2\./, "head."],
    [/^features\.0\./, "downsample_layers.0."],
    [/^features\.([246])\.([01])\.(weight|bias)/, "downsample_layers.@$1.$2.$3"],
    [/^features\.([1357])\.(\d+)\./, "stages.@$1.$2."],
    [/block\.0\./, "dwconv."],
    [/block\.2\./, "norm."],
    [/block\.3\./, "pwconv1."],
    [/block\.5\./, "pwconv2."],
    [/layer_scale/, "gamma"],
  ],
};

function rename(name: string, key: string): string {
  const named = (RULES[name] ?? []).reduce((k, [from, to]) => k.replace(from, to), key);
  return named.replace(/@(\d)/, (_, n: string) => String(Math.floor(Number(n) / 2))); // torchvision counts stages and what is between them
}

/** The reference's tensors under our names; the final norm's duplicate is left out. */
function named(golden: GoldenCase, name: string, prefix: string): Map<string, ReturnType<typeof goldenTensor>> {
  const all = [...goldenPart(golden, prefix)].map(([key, t]) => [rename(name, key), t] as const);
  return new Map(all.filter(([key]) => !key.startsWith("norms.3.")));
}

const flatMap = (map: Tensor): Tensor => mul(map, 1);

/** Every output that a reference may have, by its name there. */
function outputs(params: Params, x: Tensor, head: Params | undefined): Map<string, Tensor> {
  const found = new Map<string, Tensor>();
  const onHidden = (stage: number, map: Tensor): void => {
    const [b = 1, d = 1, rows = 1, columns = 1] = map.shape;
    found
      .set(`hidden.${stage + 1}`, flatMap(map))
      .set(`layer.${stage}.map`, flatMap(map))
      .set(`features.${2 * stage + 1}`, flatMap(map));
    if (stage === 2) found.set("stage.2.patches", transpose(reshape(map, [b, d, rows * columns]), [0, 2, 1])); // its size is that asked for
    if (stage === 3)
      found.set("x_prenorm", transpose(reshape(map, [b, d, rows * columns]), [0, 2, 1])).set("forward_features", flatMap(map));
  };
  const { cls, patches } = convnextFeatures(params, x, { config: CONFIG, onHidden });
  const [b = 1, d = 1] = cls.shape;
  for (const key of ["x_norm_clstoken", "pooler_output", "forward", "stage.3.cls"]) found.set(key, mul(cls, 1));
  found.set("x_norm_patchtokens", mul(patches, 1)).set("last_hidden_state", concat([reshape(cls, [b, 1, d]), patches], 1));
  if (head !== undefined) found.set("logits", dotAdd(cls, head("head.weight"), { transB: true, plus: head("head.bias") }));
  return found;
}

function headOf(builder: Builder, name: string): Params | undefined {
  if (name !== "tv_convnext") return undefined;
  const init = { kind: "zeros" } as const;
  return traceParams(builder, [
    { name: "head.weight", shape: [5, 36], init },
    { name: "head.bias", shape: [5], init },
  ]);
}

/** What a reference calls its outputs before ours, or makes otherwise. */
const NOT_MADE = /^(hidden\.0|pooled|features\.[0246]|stage\.[013]\.patches|stage\.[012]\.cls)$/;

const CASES = ["meta_dinov3_convnext", "hf_dinov3_convnext", "timm_dinov3_convnext", "tv_convnext"];

describe("convnextFeatures() meets the published networks", () => {
  test.for(CASES)("%s", async (name, { skip }) => {
    skip(!hasGolden("models", name));
    const golden = loadGolden("models", name);
    for (const input of [...golden.tensors.keys()].filter((k) => k === "x" || k.startsWith("x@"))) {
      const builder = new Builder();
      const x = builder.input("x", goldenTensor(golden, input).shape);
      const made = outputs(traceParams(builder, convnextSpecs(CONFIG)), x, headOf(builder, name));
      const wanted = [...goldenPart(golden, `y${input.slice(1)}.`)].filter(([key]) => !NOT_MADE.test(key));
      expect(wanted.length).toBeGreaterThan(0);
      for (const [key] of wanted) builder.output(key, made.get(key) ?? x);
      const values = new Map([...named(golden, name, "w."), ["x", goldenTensor(golden, input)] as const]);
      for (const [where, y] of await runBoth(builder, values))
        for (const [key, t] of wanted)
          expectClose(y.get(key) ?? [], t, { ...goldenTolerance(golden), what: `${where}'s ${key} of ${input}` });
    }
  });

  test.for(CASES.filter((name) => !name.startsWith("timm")))("gradients of %s", async (name, { skip }) => {
    skip(!hasGolden("models", name));
    const golden = loadGolden("models", name);
    const builder = new Builder();
    const specs = convnextSpecs(CONFIG);
    const params = traceParams(builder, specs);
    const head = headOf(builder, name);
    const x = builder.input("x", goldenTensor(golden, "x").shape);
    const made = outputs(params, x, head);
    const cotangents = goldenPart(golden, "r.");
    const terms = [...cotangents].map(([key, r]) => sumAll(mul(made.get(key) ?? x, builder.input(`r.${key}`, r.shape))));
    const s = terms.reduce((a, b) => add(a, b));
    builder.output("s", s);
    const wrt = [...specs.map((p) => [p.name, params(p.name)] as const), ["x", x] as const];
    gradients(
      s,
      wrt.map(([, t]) => t),
    ).forEach((g, i) => g !== undefined && builder.output(`g.${wrt[i]?.[0]}`, g));
    const wanted = new Map(
      [...named(golden, name, "g."), ["x", goldenTensor(golden, "gx")] as const].filter(([key]) => !key.startsWith("head.")),
    );
    expect(wanted.size).toBe(specs.length + 1);
    const largest = Math.max(...[...wanted.values()].map((t) => Math.max(...Array.from(t.data as Float32Array, Math.abs))));
    const given = [...cotangents].map(([key, r]) => [`r.${key}`, r] as const);
    const values = new Map([...named(golden, name, "w."), ["x", goldenTensor(golden, "x")] as const, ...given]);
    for (const [where, y] of await runBoth(builder, values)) {
      expectClose(y.get("s") ?? [], goldenTensor(golden, "s"), { atol: 2e-4, rtol: 2e-4, what: `${where}'s s` });
      for (const [key, g] of wanted)
        expectClose(y.get(`g.${key}`) ?? [], g, { atol: 1e-5 * largest, rtol: 1e-3, what: `${where}'s gradient of ${key}` });
    }
  });
});

const EXACT = { tiny: 27_820_128, small: 49_454_688, base: 87_566_464, large: 196_230_336 } as const;

describe("convnextPreset()", () => {
  test.each(Object.entries(EXACT))("%s has the published keys, shapes and number of parameters", (size, count) => {
    const specs = convnextSpecs(convnextPreset(`dinov3_convnext_${size}`));
    expect(specs.reduce((n, s) => n + sizeOf(s.shape), 0)).toBe(count);
    expect(new Set(specs.map((s) => s.name)).size).toBe(specs.length);
    const dir = goldenDir();
    if (!hasGolden("keys", `meta_dinov3_convnext_${size}`) || dir === undefined) return;
    const keys = JSON.parse(readFileSync(`${dir}/keys/meta_dinov3_convnext_${size}.json`, "utf8")) as Record<string, number[]>; // our own
    const published = Object.entries(keys).filter(([key]) => !key.startsWith("norms.3."));
    expect(new Map(specs.map((s) => [s.name, [...s.shape]]))).toEqual(new Map(published));
  });

  test("knows the names of Hugging Face and timm, and offers the nearest one", () => {
    const tiny = convnextPreset("dinov3_convnext_tiny");
    for (const alias of ["convnext_tiny", "convnext_tiny.dinov3_lvd1689m", "facebook/dinov3-convnext-tiny-pretrain-lvd1689m"])
      expect(CONVNEXT_PRESETS.get(alias)).toBe(tiny);
    expect(() => convnextPreset("dinov3_convnext_tinny")).toThrow(/there is no such preset; .*dinov3_convnext_tiny/);
  });
});

/** Values for every input: parameters as they start, the rest drawn. */
function start(builder: Builder, config: ConvNeXtConfig): Map<string, Float32Array> {
  const specs = new Map(convnextSpecs(config).map((s) => [s.name, s]));
  return new Map(
    builder.graph().inputs.map(({ name, value }) => {
      const out = new Float32Array(sizeOf(value.shape));
      const spec = specs.get(name);
      const rng = new Rng(0, name);
      if (spec === undefined) out.forEach((_, i) => (out[i] = rng.uniform(-1, 1)));
      else initParam(spec, out, rng);
      return [name, out];
    }),
  );
}

describe("convnextFeatures()", () => {
  const small: ConvNeXtConfig = { family: "convnext", depths: [2, 1, 3, 1], widths: [4, 8, 8, 8], channels: 5, layerScale: 0.5 };

  test("leaves out what a window does not reach, as convolutions do: 60 x 44 pixels give a map of 1 x 1", async () => {
    const trace = (y: number, x: number): Builder => {
      const builder = new Builder();
      const params = traceParams(builder, convnextSpecs(small));
      const images = builder.input("x", [1, 5, y, x]);
      const { cls, patches } = convnextFeatures(params, images, { config: small });
      expect([cls.shape, patches.shape]).toEqual([
        [1, 8],
        [1, Math.floor(y / 32) * Math.floor(x / 32), 8],
      ]);
      builder.output("patches", patches);
      return builder;
    };
    const builder = trace(60, 44);
    const [[, truth], [, y]] = (await runBoth(builder, start(builder, small))) as [
      [string, Map<string, number[]>],
      [string, Map<string, number[]>],
    ]; // two
    expectClose(y.get("patches") ?? [], truth.get("patches") ?? [], { atol: 1e-5, rtol: 1e-4 });
    trace(96, 64);
  });

  test("drops a sample's branch where its keep factor is 0", async () => {
    const builder = new Builder();
    const params = traceParams(builder, convnextSpecs(small));
    const images = builder.input("x", [2, 5, 32, 32]);
    const seen: number[] = [];
    const dropPath = (block: number): Tensor => {
      seen.push(block);
      return builder.input(`keep.${block}`, [2, 1, 1]);
    };
    builder.output("dropped", convnextFeatures(params, images, { config: small, dropPath }).cls);
    builder.output("whole", convnextFeatures(params, images, { config: small }).cls);
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6]);
    const keeps = seen.map((i) => [`keep.${i}`, Float32Array.of(1, 0)] as const);
    const values = start(builder, small);
    for (const [, y] of await runBoth(builder, new Map([...values, ...keeps]))) {
      const [dropped, whole] = [Array.from(y.get("dropped") ?? []), Array.from(y.get("whole") ?? [])];
      expectClose(dropped.slice(0, 8), whole.slice(0, 8), { atol: 1e-5, rtol: 1e-5 });
      expect(Math.max(...dropped.slice(8).map((v, i) => Math.abs(v - (whole[8 + i] ?? NaN))))).toBeGreaterThan(0.01);
    }
  });

  test("is cut at its blocks, and equal blocks share a session, forward and backward", () => {
    const builder = new Builder();
    const deep: ConvNeXtConfig = { ...small, depths: [1, 1, 6, 1] };
    const specs = convnextSpecs(deep);
    const params = traceParams(builder, specs);
    const images = builder.input("x", [2, 5, 32, 32]);
    const dropPath = (block: number): Tensor => builder.input(`keep.${block}`, [2, 1, 1]);
    const { cls, patches } = convnextFeatures(params, images, { config: deep, dropPath });
    const loss = add(sumAll(mul(cls, cls)), sumAll(mul(patches, patches)));
    gradients(
      loss,
      specs.map((s) => params(s.name)),
    ).forEach((g, i) => g !== undefined && builder.output(`g.${specs[i]?.name}`, g, "grad"));
    builder.output("loss", loss);
    using device = openCpu({ threads: 2 });
    using program = device.compile(optimize(builder.graph()));
    // 15 stages forward (stem, 9 blocks, 3 between, norm, loss) and as many backward but the loss
    expect({ stages: program.stages, sessions: program.sessions }).toMatchInlineSnapshot(`
      {
        "sessions": 20,
        "stages": 29,
      }
    `);
  });

  test("refuses images that do not fit, and sizes that make no network", () => {
    const builder = new Builder();
    const params = traceParams(builder, convnextSpecs(small));
    const embed = (shape: readonly number[]) => () => convnextFeatures(params, builder.input(shape.join(), shape), { config: small });
    expect(embed([1, 3, 64, 64])).toThrow("Cannot embed float32[1,3,64,64]: it has 3 channels, the network wants 5; convert the images");
    expect(embed([1, 5, 64, 28])).toThrow("Cannot embed float32[1,5,64,28]: nothing is left of it in the last map; give images of 32 px");
    expect(() => convnextSpecs({ ...small, depths: [1, 0, 1, 1] })).toThrow(
      "Cannot build a ConvNeXt: depths is 1, 0, 1, 1; give whole numbers from 1",
    );
  });
});

test("convnextDropRates() ramps from 0 to the rate over all blocks", () => {
  expect(convnextDropRates({ depths: [1, 1, 2, 1] }, 0.2)).toEqual([0, 0.05, 0.1, 0.15000000000000002, 0.2]);
});
