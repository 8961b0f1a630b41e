/** @file The encoder's layers are the published `get_intermediate_layers` with the final norm; pictures that are no squares embed as published. */
import { describe, expect, test } from "vitest";
import { expectClose, goldenPart, goldenTensor, goldenTolerance, type GoldenCase, hasGolden, loadGolden } from "../core/testing/golden.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { prefixTokens, swigluHidden, type ViTConfig } from "../nn/index.ts";
import { Encoder } from "./encoder.ts";
import type { PictureSize } from "./trace-encoder.ts";

const COMMON = { depth: 2, width: 36, heads: 3, mlpRatio: 4, maskToken: true, layerScale: 1 } as const;
const V2 = { ...COMMON, imageSizePx: 42, patchSizePx: 14, layerNormEps: 1e-6 } as const;
const CASES: readonly (readonly [name: string, config: ViTConfig])[] = [
  ["meta_dinov2", { ...V2, posInterpolation: "meta-offset" }],
  [
    "meta_dinov2_reg_swiglu",
    { ...V2, posInterpolation: "size-antialias", registers: 4, ffn: "swiglu-fused", ffnHidden: swigluHidden(36, { ratio: 4 }) },
  ],
  [
    "meta_dinov3",
    {
      ...COMMON,
      imageSizePx: 32,
      patchSizePx: 8,
      layerNormEps: 1e-5,
      posInterpolation: "size",
      positions: "rope",
      registers: 4,
      registerName: "storage_tokens",
      keyBiasMask: true,
    },
  ],
];

/** Two pictures' tokens `[2, l, t, d]`, class token and patches apart. */
async function tokensOf(golden: GoldenCase, config: ViTConfig, { input, layers }: { input: string; layers?: readonly number[] }) {
  using device = openCpu({ threads: 1 });
  const params = new Map([...goldenPart(golden, "w.")].map(([name, t]) => [name, t.data as Float32Array])); // goldens are float32
  using encoder = new Encoder({ config, params, device });
  const x = goldenTensor(golden, input);
  const [, , height = 0, width = 0] = x.shape;
  const sizePx: PictureSize = { height, width };
  const { features } = await encoder.encode(x.data as Float32Array, { pool: "all", sizePx, layers }); // as above
  const [d, l, t, first] = [config.width, layers?.length ?? 1, encoder.tokens("all", sizePx), prefixTokens(config)];
  const part = (b: number, layer: number, from: number, to: number): Float32Array =>
    features.subarray(((b * l + layer) * t + from) * d, ((b * l + layer) * t + to) * d);
  const both = (layer: number, from: number, to: number): Float32Array =>
    Float32Array.from([0, 1].flatMap((b) => [...part(b, layer, from, to)]));
  expect(features).toHaveLength(2 * l * t * d);
  return {
    cls: (layer = 0) => both(layer, 0, 1),
    patches: (layer = 0) => both(layer, first, t),
    registers: (layer = 0) => both(layer, 1, first),
  };
}

describe("the encoder against the published networks", () => {
  test.for(CASES)("%s: layers through the final norm, in the order asked for", async ([name, config], { skip }) => {
    skip(!hasGolden("models", name));
    const golden = loadGolden("models", name);
    const order = [1, 0];
    const found = await tokensOf(golden, config, { input: "x", layers: order });
    for (const [at, layer] of order.entries()) {
      const tolerance = { ...goldenTolerance(golden), what: `layer ${layer}` };
      expectClose(found.cls(at), goldenTensor(golden, `y.layer.${layer}.norm.cls`), tolerance);
      expectClose(found.patches(at), goldenTensor(golden, `y.layer.${layer}.norm.patches`), tolerance);
    }
  });

  test.for(CASES)("%s: pictures that are no squares, registers told apart", async ([name, config], { skip }) => {
    skip(!hasGolden("models", name));
    const golden = loadGolden("models", name);
    const input = [...golden.tensors].find(([key, { shape }]) => key.startsWith("x@") && shape[2] !== shape[3])?.[0] ?? "";
    expect(input).toMatch(/^x@\d+x\d+$/);
    const found = await tokensOf(golden, config, { input });
    const wanted = (what: string) => goldenTensor(golden, `y${input.slice(1)}.${what}`);
    const tolerance = { ...goldenTolerance(golden), what: input };
    expectClose(found.cls(), wanted("x_norm_clstoken"), tolerance);
    expectClose(found.patches(), wanted("x_norm_patchtokens"), tolerance);
    if (name === "meta_dinov2_reg_swiglu") expectClose(found.registers(), wanted("x_norm_regtokens"), tolerance);
  });
});
