import { describe, expect, test } from "vitest";
import { sizeOf } from "../core/index.ts";
import { expectClose, goldenPart, goldenTensor, goldenTolerance, type GoldenCase, hasGolden, loadGolden } from "../core/testing/golden.ts";
import { gradients } from "../engine/grad/index.ts";
import { optimize } from "../engine/passes/index.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { add, Builder, dotAdd, mul, sumAll, type Tensor } from "../engine/trace/index.ts";
import {
  type Params,
  type ParamSpec,
  RESNET_PRESETS,
  type ResNetConfig,
  resnetFeatures,
  resnetPreset,
  resnetSpecs,
  resnetState,
  resnetWidth,
  traceParams,
} from "./index.ts";
import { runBoth } from "./testing/run-both.ts";

const CASES: readonly (readonly [name: string, config: ResNetConfig])[] = [
  ["tv_resnet18", { family: "resnet", block: "basic", depths: [2, 2, 2, 2], width: 6 }],
  ["tv_resnet_bottleneck", { family: "resnet", block: "bottleneck", depths: [2, 1, 1, 1], width: 5 }],
];

const CLASSES = 5;

function fcSpecs(config: ResNetConfig): ParamSpec[] {
  const init = { kind: "zeros" } as const;
  return [
    { name: "fc.weight", shape: [CLASSES, resnetWidth(config)], init },
    { name: "fc.bias", shape: [CLASSES], init },
  ];
}

interface Network {
  readonly builder: Builder;
  readonly x: Tensor;
  readonly params: Params;
  /** Outputs by the reference's names. */
  readonly made: ReadonlyMap<string, Tensor>;
}

/** The network with the reference's classifier; new running statistics become outputs `buffers.*`. */
function trace(config: ResNetConfig, shape: readonly number[], { training }: { readonly training: boolean }): Network {
  const builder = new Builder();
  const params = traceParams(builder, [...resnetSpecs(config), ...fcSpecs(config)]);
  const states = new Map(resnetState(config).map((s) => [s.name, builder.input(s.name, s.shape, { kind: "state" })]));
  const x = builder.input("x", shape);
  const made = new Map<string, Tensor>();
  const { cls } = resnetFeatures(params, x, {
    config,
    state: (name) => states.get(name) ?? x,
    ...(training ? { onState: (name: string, next: Tensor) => made.set(`buffers.${name}`, next) } : {}),
    onHidden: (i, map) => made.set(i === 0 ? "stem" : `layer${i}`, mul(map, 1)),
  });
  made.set("pooled", cls).set("logits", dotAdd(cls, params("fc.weight"), { transB: true, plus: params("fc.bias") }));
  return { builder, x, params, made };
}

/** Adds the outputs `wanted`, by their names in the reference. */
function give({ builder, made, x }: Network, wanted: Iterable<string>): void {
  for (const key of wanted) builder.output(key, made.get(key) ?? x);
}

function weightsOf(golden: GoldenCase, input = "x"): Map<string, ReturnType<typeof goldenTensor>> {
  const weights = [...goldenPart(golden, "w.")].filter(([key]) => !key.endsWith("num_batches_tracked"));
  return new Map([...weights, ["x", goldenTensor(golden, input)]]);
}

describe.for(CASES)("resnetFeatures() meets %s", ([name, config]) => {
  test.skipIf(!hasGolden("models", name))("without training", async () => {
    const golden = loadGolden("models", name);
    for (const input of [...golden.tensors.keys()].filter((k) => k === "x" || k.startsWith("x@"))) {
      const network = trace(config, goldenTensor(golden, input).shape, { training: false });
      const wanted = new Map([...goldenPart(golden, `y${input.slice(1)}.`)].filter(([key]) => !key.startsWith("train.")));
      expect([...wanted.keys()]).toContain("pooled");
      give(network, wanted.keys());
      for (const [where, y] of await runBoth(network.builder, weightsOf(golden, input)))
        for (const [key, t] of wanted)
          expectClose(y.get(key) ?? [], t, { ...goldenTolerance(golden), what: `${where}'s ${key} of ${input}` });
    }
  });

  test.skipIf(!hasGolden("models", name))("in training: outputs and running statistics", async () => {
    const golden = loadGolden("models", name);
    const network = trace(config, goldenTensor(golden, "x").shape, { training: true });
    const wanted = new Map([...goldenPart(golden, "y.train.")].filter(([key]) => !key.endsWith("num_batches_tracked")));
    expect([...wanted.keys()].filter((key) => key.startsWith("buffers."))).toHaveLength(resnetState(config).length);
    give(network, wanted.keys());
    for (const [where, y] of await runBoth(network.builder, weightsOf(golden)))
      for (const [key, t] of wanted) expectClose(y.get(key) ?? [], t, { ...goldenTolerance(golden), what: `${where}'s ${key}` });
  });

  test.skipIf(!hasGolden("models", name)).each([false, true])("gradients, training %s", async (training) => {
    const golden = loadGolden("models", name);
    const { builder, params, x, made } = trace(config, goldenTensor(golden, "x").shape, { training });
    const r = goldenTensor(golden, training ? "r.train.logits" : "r.logits");
    const s = sumAll(mul(made.get("logits") ?? x, builder.input("r", r.shape)));
    const specs = [...resnetSpecs(config), ...fcSpecs(config)];
    const wrt = [...specs.map((p) => [p.name, params(p.name)] as const), ["x", x] as const];
    gradients(
      s,
      wrt.map(([, t]) => t),
    ).forEach((g, i) => g !== undefined && builder.output(`g.${wrt[i]?.[0]}`, g));
    builder.output("s", s);
    const wanted = goldenPart(golden, training ? "g.train." : "g.");
    for (const key of [...wanted.keys()].filter((k) => k.startsWith("train."))) wanted.delete(key);
    if (!training) wanted.set("x", goldenTensor(golden, "gx"));
    expect(wanted.size).toBe(specs.length + (training ? 0 : 1));
    const largest = Math.max(...[...wanted.values()].map((t) => Math.max(...Array.from(t.data as Float32Array, Math.abs))));
    for (const [where, y] of await runBoth(builder, new Map([...weightsOf(golden), ["r", r] as const])))
      for (const [key, g] of wanted)
        expectClose(y.get(`g.${key}`) ?? [], g, { atol: 1e-5 * largest, rtol: 1e-3, what: `${where}'s gradient of ${key}` });
  });
});

describe("resnetFeatures()", () => {
  const config: ResNetConfig = { family: "resnet", block: "basic", depths: [3, 1, 1, 1], width: 4, channels: 2 };

  test("gives the pixels of the last map as patches, whose mean is the class token", async () => {
    const builder = new Builder();
    const params = traceParams(builder, resnetSpecs(config));
    const states = new Map(resnetState(config).map((s) => [s.name, builder.input(s.name, s.shape, { kind: "state" })]));
    const x = builder.input("x", [2, 2, 64, 96]);
    const { cls, patches } = resnetFeatures(params, x, { config, state: (name) => states.get(name) ?? x });
    expect([cls.shape, patches.shape]).toEqual([
      [2, 32],
      [2, 6, 32],
    ]);
    builder.output("cls", cls);
    builder.output("patches", patches);
    const values = new Map(
      builder.graph().inputs.map(({ name, value }) => {
        const at = (i: number): number => (name.endsWith("var") ? 1 : Math.sin(i + name.length) / 2);
        return [name, Float32Array.from({ length: sizeOf(value.shape) }, (_, i) => at(i))];
      }),
    );
    for (const [, y] of await runBoth(builder, values)) {
      const tokens = Array.from(y.get("patches") ?? []);
      const mean = Array.from({ length: 64 }, (_, i) => {
        const [image, d] = [Math.floor(i / 32), i % 32];
        return [0, 1, 2, 3, 4, 5].reduce((sum, p) => sum + (tokens[(image * 6 + p) * 32 + d] ?? NaN) / 6, 0);
      });
      expectClose(y.get("cls") ?? [], mean, { atol: 1e-5, rtol: 1e-5 });
      expect(Math.max(...mean)).toBeGreaterThan(0);
    }
  });

  test("is cut at its blocks, and equal blocks share a session, forward and backward, in training", () => {
    const builder = new Builder();
    const specs = resnetSpecs(config);
    const params = traceParams(builder, specs);
    const states = new Map(resnetState(config).map((s) => [s.name, builder.input(s.name, s.shape, { kind: "state" })]));
    const x = builder.input("x", [2, 2, 64, 64]);
    const { cls, patches } = resnetFeatures(params, x, {
      config,
      state: (name) => states.get(name) ?? x,
      onState: (name, next) => builder.output(name, next, "state"),
    });
    const loss = add(sumAll(mul(cls, cls)), sumAll(mul(patches, patches)));
    gradients(
      loss,
      specs.map((s) => params(s.name)),
    ).forEach((g, i) => g !== undefined && builder.output(`g.${specs[i]?.name}`, g, "grad"));
    builder.output("loss", loss);
    using device = openCpu({ threads: 2 });
    using program = device.compile(optimize(builder.graph()));
    // 9 stages forward (stem, 6 blocks, pool, loss), as many backward but the loss, and 3 copies: where a block has a shortcut of its own,
    // both biases have one gradient. The three blocks of layer 1 are equal, and so are the copies of one size
    expect({ stages: program.stages, sessions: program.sessions }).toMatchInlineSnapshot(`
      {
        "sessions": 16,
        "stages": 20,
      }
    `);
  });

  test("refuses images of other channels, and sizes that make no network", () => {
    const builder = new Builder();
    const params = traceParams(builder, resnetSpecs(config));
    expect(() => resnetFeatures(params, builder.input("x", [1, 3, 64, 64]), { config })).toThrow(
      "Cannot embed float32[1,3,64,64]: it has 3 channels, the network wants 2; convert the images",
    );
    expect(() => resnetFeatures(params, builder.input("y", [1, 2, 64, 64]), { config })).toThrow('Cannot apply batch norm "bn1"');
    expect(() => resnetSpecs({ ...config, width: 0.5 })).toThrow("Cannot build a ResNet: width is 0.5; give whole numbers from 1");
  });
});

describe("resnetPreset()", () => {
  // torchvision's 11,689,512 and 25,557,032 without the classifier
  test.each([
    ["resnet18", 11_689_512 - 513 * 1000, 512],
    ["resnet50", 25_557_032 - 2049 * 1000, 2048],
  ] as const)("%s has the published number of parameters and features", (name, count, width) => {
    const config = resnetPreset(name);
    expect(resnetSpecs(config).reduce((n, s) => n + sizeOf(s.shape), 0)).toBe(count);
    expect(resnetWidth(config)).toBe(width);
  });

  test("has each key once, under torchvision's names", () => {
    const names = [...resnetSpecs(resnetPreset("resnet50")), ...resnetState(resnetPreset("resnet50"))].map((s) => s.name);
    expect(new Set(names).size).toBe(names.length);
    for (const key of ["conv1.weight", "layer1.0.downsample.1.running_var", "layer4.2.bn3.bias", "layer3.5.conv2.weight"])
      expect(names).toContain(key);
    expect(RESNET_PRESETS.get("dino_resnet50")).toBe(RESNET_PRESETS.get("resnet50"));
    expect(() => resnetPreset("resnet51")).toThrow(/Cannot find model "resnet51": there is no such preset; .*resnet50/);
  });
});
