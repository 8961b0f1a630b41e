import { describe, expect, test } from "vitest";
import { FormatError, type HostTensor, Rng, type Shape, sizeOf } from "../../core/index.ts";
import { goldenPart, hasGolden, loadGolden } from "../../core/testing/golden.ts";
import { type ConvNeXtConfig, convnextPreset, convnextSpecs, initParam } from "../../nn/index.ts";
import { convnextFrom, convnextLinks, convnextTo, detectConvNeXt, inferConvNeXt } from "./convnext.ts";
import type { Naming } from "./dialects.ts";
import { storedShapes } from "./links.ts";

const RELEASED: readonly (readonly [golden: string, naming: Naming, preset: string])[] = ["tiny", "small", "base", "large"].flatMap(
  (size) => [
    [`meta_dinov3_convnext_${size}`, "meta", `dinov3_convnext_${size}`] as const,
    [`hf_dinov3_convnext_${size}`, "huggingface", `dinov3_convnext_${size}`] as const,
    [`timm_convnext_${size}_dinov3_lvd1689m`, "timm", `dinov3_convnext_${size}`] as const,
  ],
);
const sorted = (shapes: Iterable<readonly [string, Shape]>): unknown => [...shapes].toSorted(([a], [b]) => (a < b ? -1 : 1));

test.for(RELEASED)("%s has the names and shapes of our preset, and is recognised by them", ([golden, naming, preset], { skip }) => {
  skip(!hasGolden("keys", golden));
  const keys = new Map(Object.entries(loadGolden("keys", golden).json as Record<string, Shape>)); // our own reference file
  const config = convnextPreset(preset);
  const once = [...keys].filter(([name]) => !name.startsWith("norms.3."));
  expect(sorted(storedShapes(convnextLinks(config, naming)))).toEqual(sorted(once));
  expect(detectConvNeXt(keys)).toBe(naming);
  expect(inferConvNeXt(keys, { naming })).toEqual(config);
});

const CONFIG: ConvNeXtConfig = { family: "convnext", depths: [1, 2, 1, 1], widths: [4, 6, 8, 10], channels: 2 };

function weightsOf(config: ConvNeXtConfig): Map<string, HostTensor> {
  const rng = new Rng(1);
  return new Map(
    convnextSpecs(config).map((spec) => {
      const data = new Float32Array(sizeOf(spec.shape));
      initParam({ ...spec, init: { kind: "normal", std: 1 } }, data, rng);
      return [spec.name, { dtype: "f32", shape: spec.shape, data }] as const;
    }),
  );
}

describe.each(["meta", "huggingface", "timm"] as const)("weights go to %s's names", (naming) => {
  const weights = weightsOf(CONFIG);
  const stored = convnextTo(weights, CONFIG, naming);

  test("and come back", () => {
    expect(convnextFrom(stored, CONFIG, { naming })).toEqual(weights);
    expect(detectConvNeXt(new Set(stored.keys()))).toBe(naming);
    expect(inferConvNeXt(new Map([...stored].map(([name, { shape }]) => [name, shape])), { naming })).toEqual(CONFIG);
  });

  test("and all that does not fit is listed", () => {
    const [first = "", second = ""] = stored.keys();
    const broken = new Map(stored);
    broken.delete(first);
    broken.set(second, { dtype: "f32", shape: [1], data: new Float32Array(1) });
    broken.set("more", { dtype: "f32", shape: [1], data: new Float32Array(1) });
    const read = (): unknown => convnextFrom(broken, CONFIG, { naming, file: "f" });
    expect(read).toThrow(FormatError);
    expect(read).toThrow(
      /^Cannot read weights of "f": they do not fit the network, 1 missing \(.*\), 1 extra \(more\), 1 wrongly shaped \(.* \[1\] instead of \[4\]\)/,
    );
  });
});

test("the copy of the final norm in Meta's checkpoints is dropped, and must be one", () => {
  const weights = weightsOf(CONFIG);
  const copy = (data: Float32Array): Map<string, HostTensor> =>
    new Map([...weights, ["norms.3.bias", { dtype: "f32", shape: [10], data }]]);
  const bias = weights.get("norm.bias")?.data as Float32Array; // float32 above
  expect(convnextFrom(copy(bias.slice()), CONFIG, { naming: "meta" })).toEqual(weights);
  expect(() => convnextFrom(copy(bias.map((x) => x + 1)), CONFIG, { naming: "meta" })).toThrow(
    /"norms\.3\.bias" is not "norm\.bias" once more/,
  );
});

test("a network of another size is told by its name", () => {
  const shapes = storedShapes(convnextLinks(convnextPreset("dinov3_convnext_tiny"), "huggingface"));
  const empty = new Map([...shapes].map(([name, shape]) => [name, { dtype: "f32", shape, data: new Float32Array() } as const]));
  expect(() => convnextFrom(empty, convnextPreset("dinov3_convnext_base"), { naming: "huggingface" })).toThrow(
    /they look like "dinov3_convnext_tiny"/,
  );
  expect(detectConvNeXt(new Set(["cls_token"]))).toBeUndefined();
  expect(() => inferConvNeXt(new Map(), { naming: "timm", file: "f" })).toThrow(/stage 0 has no blocks/);
});

test.for([
  ["hf_dinov3_convnext", "huggingface"],
  ["timm_dinov3_convnext", "timm"],
  ["meta_dinov3_convnext", "meta"],
] as const)("weights of %s are read whole", ([name, naming], { skip }) => {
  skip(!hasGolden("models", name));
  const weights = goldenPart(loadGolden("models", name), "w.");
  const shapes = new Map([...weights].map(([key, { shape }]) => [key, shape]));
  const config = inferConvNeXt(shapes, { naming });
  expect(config).toMatchObject({ depths: [1, 2, 1, 1] });
  const ours = convnextFrom(weights, config, { naming });
  const back = convnextTo(ours, config, naming);
  expect(back).toEqual(new Map([...back.keys()].map((key) => [key, weights.get(key)])));
  expect(back.size).toBe([...weights.keys()].filter((key) => !key.startsWith("norms.3.")).length);
});
