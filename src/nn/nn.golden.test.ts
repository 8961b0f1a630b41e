import { describe, expect, test } from "vitest";
import { type HostTensor, sizeOf } from "../core/index.ts";
import { expectClose, goldenPart, goldenTensor, goldenTolerance, type GoldenCase, hasGolden, loadGolden } from "../core/testing/golden.ts";
import { gradients } from "../engine/grad/index.ts";
import { runGraph } from "../engine/testing/run-graph.ts";
import { add, Builder, mul, reshape, slice, sumAll, type Tensor } from "../engine/trace/index.ts";
import {
  applyDinoHead,
  applyHeadTrunk,
  applyLastLayer,
  applyViT,
  type DinoHeadConfig,
  dinoHeadSpecs,
  dinoHeadState,
  type PosInterpolation,
  traceParams,
  type ViTConfig,
  vitSpecs,
} from "./index.ts";

function vitConfig(golden: GoldenCase, posInterpolation: PosInterpolation): ViTConfig {
  const c = golden.json["config"] as Record<string, number>; // our own reference file
  return {
    imageSizePx: c["img_size"] ?? 32,
    patchSizePx: c["patch_size"] ?? 8,
    width: c["embed_dim"] ?? 36,
    depth: c["depth"] ?? 3,
    heads: c["num_heads"] ?? 3,
    mlpRatio: c["mlp_ratio"] ?? 4,
    layerNormEps: 1e-6,
    posInterpolation,
  };
}

describe("applyViT() meets the published network", () => {
  test.skipIf(!hasGolden("models", "meta_dino_v1")).each(["x", "x@24x40", "x@48x48"])("Meta's DINO v1, input %s", async (input) => {
    const golden = loadGolden("models", "meta_dino_v1");
    const config = vitConfig(golden, "meta-offset");
    const x = goldenTensor(golden, input);
    const size = input.slice(1);
    const builder = new Builder();
    const params = traceParams(builder, vitSpecs(config));
    const images = builder.input("x", x.shape);
    builder.output("cls", applyViT(params, images, { config, output: "cls" }));
    const tokens = applyViT(params, images, { config, onHidden: (i, t) => builder.output(`hidden.${i}`, mul(t, 1)) });
    const n = (tokens.shape[1] ?? 1) - 1;
    builder.output("first", reshape(slice(tokens, 1, [0, 1]), [2, config.width]));
    builder.output("patches", slice(tokens, 1, [1, n + 1]));
    const y = await runGraph(builder, new Map([...goldenPart(golden, "w."), ["x", x]]));
    const tolerance = goldenTolerance(golden);
    const cls = goldenTensor(golden, `y${size}.x_norm_clstoken`);
    expectClose(y.get("cls") ?? [], cls, { ...tolerance, what: "class token, last block for it alone" });
    expectClose(y.get("first") ?? [], cls, { ...tolerance, what: "class token" });
    expectClose(y.get("patches") ?? [], goldenTensor(golden, `y${size}.x_norm_patchtokens`), { ...tolerance, what: "patches" });
    expectClose(y.get(`hidden.${config.depth}`) ?? [], goldenTensor(golden, `y${size}.x_prenorm`), {
      ...tolerance,
      what: "before the last norm",
    });
  });

  test.skipIf(!hasGolden("models", "meta_dino_v1"))("gradients of every parameter and of the image", async () => {
    const golden = loadGolden("models", "meta_dino_v1");
    const config = vitConfig(golden, "meta-offset");
    const builder = new Builder();
    const specs = vitSpecs(config);
    const params = traceParams(builder, specs);
    const x = builder.input("x", goldenTensor(golden, "x").shape);
    const tokens = applyViT(params, x, { config });
    const n = tokens.shape[1] ?? 1;
    const weigh = (part: Tensor, name: string): Tensor => sumAll(mul(part, builder.input(name, part.shape)));
    const s = add(
      weigh(reshape(slice(tokens, 1, [0, 1]), [2, config.width]), "r.x_norm_clstoken"),
      weigh(slice(tokens, 1, [1, n]), "r.x_norm_patchtokens"),
    );
    builder.output("s", s);
    const wrt = [...specs.map((p) => params(p.name)), x];
    gradients(s, wrt).forEach((g, i) => {
      if (g !== undefined) builder.output(`g.${specs[i]?.name ?? "x"}`, g);
    });
    const cotangents = [...golden.tensors].filter(([k]) => k.startsWith("r."));
    const y = await runGraph(builder, new Map([...goldenPart(golden, "w."), ["x", goldenTensor(golden, "x")], ...cotangents]));
    const wanted = goldenPart(golden, "g.");
    const largest = Math.max(...[...wanted.values()].map((t) => Math.max(...Array.from(t.data as Float32Array, Math.abs))));
    expect(wanted.size).toBe(specs.length);
    for (const [name, g] of [...wanted, ["x", goldenTensor(golden, "gx")] as const])
      expectClose(y.get(`g.${name}`) ?? [], g, { atol: 1e-5 * largest, rtol: 1e-3, what: name });
  });

  test.skipIf(!hasGolden("models", "timm_dino_v1"))("timm's DINO, positions resized with antialias", async () => {
    const golden = loadGolden("models", "timm_dino_v1");
    const config = { ...vitConfig(golden, "size-antialias"), width: 48, depth: 2 };
    for (const input of ["x", "x@24x40"]) {
      const builder = new Builder();
      const x = goldenTensor(golden, input);
      builder.output("y", applyViT(traceParams(builder, vitSpecs(config)), builder.input("x", x.shape), { config }));
      const y = await runGraph(builder, new Map([...goldenPart(golden, "w."), ["x", x]]));
      expectClose(y.get("y") ?? [], goldenTensor(golden, `y${input.slice(1)}.forward_features`), {
        ...goldenTolerance(golden),
        what: input,
      });
    }
  });
});

/** Our name of a head's tensor: lightly's `layers.*` and the parametrisation of torch are Meta's `mlp.*`, `weight_g`, `weight_v`. */
function toMeta(name: string): string {
  return name
    .replace(/^layers\./, "mlp.")
    .replace("parametrizations.weight.original0", "weight_g")
    .replace("parametrizations.weight.original1", "weight_v");
}

const HEADS =
  "v1_norm_last_layer v1_free_last_layer v1_frozen_first_epoch v1_bn_eval v1_bn_train v2_layers1 v2_layers2 v2_layers3 v3 v3_bn_train".split(
    " ",
  );

/** The head of a case, as its JSON describes it. */
function headConfig(name: string, golden: GoldenCase): DinoHeadConfig {
  const c = golden.json["config"] as Record<string, number | boolean | string>; // our own reference file
  return {
    width: 24,
    hidden: 32,
    bottleneck: 12,
    prototypes: 40,
    layers: Number(c["nlayers"] ?? 3),
    batchNorm: c["batch_norm"] === true || c["use_bn"] === true,
    ...(name.startsWith("v3") ? { lastLayer: "plain" } : {}),
  };
}

/** Logits, trunk and last layer, gradients and, in training, the next running statistics, under the goldens' names. */
function traceHead(
  builder: Builder,
  config: DinoHeadConfig,
  { training, weighed }: { readonly training: boolean; readonly weighed: boolean },
): void {
  const specs = dinoHeadSpecs(config);
  const params = traceParams(builder, specs);
  const x = builder.input("x", [6, 24]);
  const states = new Map(dinoHeadState(config).map((s) => [s.name, builder.input(s.name, s.shape, { kind: "state" })]));
  const state = (key: string): Tensor => states.get(key) ?? x;
  const logits = applyDinoHead(params, x, {
    config,
    ...(config.batchNorm ? { state } : {}),
    ...(training ? { onState: (key: string, next: Tensor) => builder.output(`y.buffers.${key}`, next) } : {}),
  });
  builder.output("y", logits);
  if (!config.batchNorm) {
    const z = applyHeadTrunk(params, x, { config });
    builder.output("y.bottleneck", z);
    builder.output("y.only_last_layer", applyLastLayer(params, z, { config }));
  }
  if (!weighed) return;
  gradients(sumAll(mul(logits, builder.input("r", logits.shape))), [...specs.map((p) => params(p.name)), x]).forEach((g, i) => {
    if (g !== undefined) builder.output(specs[i] === undefined ? "gx" : `g.${specs[i].name}`, g);
  });
}

describe("applyDinoHead() meets the published head", () => {
  test.for(HEADS)("%s", async (name, { skip }) => {
    skip(!hasGolden("heads", name));
    const golden = loadGolden("heads", name);
    const config = headConfig(name, golden);
    const builder = new Builder();
    traceHead(builder, config, { training: name.endsWith("_bn_train"), weighed: golden.tensors.has("r") });
    const zeros = dinoHeadSpecs(config).flatMap((s) =>
      s.name.endsWith(".bias") ? [[s.name, new Float32Array(sizeOf(s.shape))] as const] : [],
    );
    const weights = [...goldenPart(golden, "w.")].map(([k, t]) => [toMeta(k), t] as const);
    const values = new Map<string, HostTensor | ArrayLike<number>>([...zeros, ...weights, ...golden.tensors]);
    const y = await runGraph(builder, values);
    const wanted = [...golden.tensors].filter(([key]) => /^(y|y\..*|gx|g\..*)$/.test(key));
    expect(wanted.length).toBeGreaterThan(0);
    for (const [key, t] of wanted) {
      const ours = key.replace(/^(g\.|y\.buffers\.)(.*)/, (_, part: string, rest: string) => part + toMeta(rest));
      expectClose(y.get(ours) ?? [], t, { ...goldenTolerance(golden), what: key });
    }
  });
});
