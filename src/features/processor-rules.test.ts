import { describe, expect, test } from "vitest";
import { FormatError } from "../core/index.ts";
import { IMAGENET_MEAN, IMAGENET_STD } from "../images/index.ts";
import { convnextPreset, RESNET_PRESETS, vitPreset } from "../nn/index.ts";
import { familyPreprocessing, FOREIGN_RULES, networkSizePx, readProcessorRules, runDecodeRules } from "./processor-rules.ts";

const PLACE = { file: "p.json", imageSizePx: 64 };
const IMAGENET = { mean: IMAGENET_MEAN, std: IMAGENET_STD };

describe("familyPreprocessing() is the family's evaluation transform", () => {
  const dino = { imageSizePx: 224, resize: "short-side", cropRatio: 224 / 256, kernel: "bicubic", ...IMAGENET };
  const dinov3 = { imageSizePx: 224, resize: "square", kernel: "bilinear", arithmetic: "float", ...IMAGENET };
  test.each([
    ["dino_vits16", vitPreset("dino_vits16"), 224, dino],
    ["dinov2_vits14", vitPreset("dinov2_vits14"), 518, dino],
    ["dinov3_vits16", vitPreset("dinov3_vits16"), 224, dinov3],
    ["dinov3_convnext_tiny", convnextPreset("dinov3_convnext_tiny"), 224, dinov3],
    ["resnet50", RESNET_PRESETS.get("resnet50")!, 224, dino], // a preset
  ] as const)("%s", (_, config, storedPx, wanted) => {
    expect(networkSizePx(config)).toBe(storedPx);
    expect(familyPreprocessing(config)).toEqual(wanted);
  });
});

test.each<[string, object, object]>([
  ["nothing", {}, { imageSizePx: 64, resize: "square", kernel: "bilinear", ...IMAGENET }],
  [
    "ViT's",
    { size: { height: 224, width: 224 }, resample: 3, image_mean: [0.5, 0.5, 0.5], image_std: [0.2, 0.3, 0.4] },
    { imageSizePx: 224, resize: "square", kernel: "bicubic", mean: [0.5, 0.5, 0.5], std: [0.2, 0.3, 0.4] },
  ],
  [
    "Bit's",
    { size: { shortest_edge: 256 }, crop_size: { height: 224, width: 224 }, do_center_crop: true, resample: 3 },
    { imageSizePx: 224, resize: "short-side", cropRatio: 224 / 256, cropOffset: "floor", kernel: "bicubic", ...IMAGENET },
  ],
  [
    "DINOv3's",
    { image_processor_type: "DINOv3ViTImageProcessorFast", size: { height: 224, width: 224 }, resample: 2 },
    { imageSizePx: 224, resize: "square", kernel: "bilinear", arithmetic: "float", ...IMAGENET },
  ],
  [
    "plain numbers",
    { size: 98, do_normalize: false, resample: 1 },
    { imageSizePx: 98, resize: "square", kernel: "lanczos", mean: [0, 0, 0], std: [1, 1, 1] },
  ],
  [
    "an edge without a crop",
    { size: { shortest_edge: 98 } },
    { imageSizePx: 98, resize: "short-side", cropRatio: 1, cropOffset: "floor", kernel: "bilinear", ...IMAGENET },
  ],
])("readProcessorRules() reads a processor's file: %s", (_, raw, wanted) => {
  expect(readProcessorRules(raw, PLACE)).toEqual(wanted);
});

test.each<[string, unknown, RegExp]>([
  ["no square", { size: { height: 1, width: 2 } }, /"p\.json" wants 1x2 px; only squares are known/],
  ["a wrong kernel", { resample: 9 }, /"p\.json" has a wrong resample \(.*\); leave it out$/],
  ["what is no object", 7, /has a wrong form \(/],
])("readProcessorRules() refuses %s", (_, raw, message) => {
  const read = (): unknown => readProcessorRules(raw, { ...PLACE, todo: "leave it out" });
  expect(read).toThrow(message);
  expect(read).toThrow(FormatError);
});

test("runDecodeRules() takes those of a run, and Pillow's way where there is none", () => {
  expect(runDecodeRules({ config: { data: { decode: "managed", alpha: "white", paths: [] } } })).toEqual({
    decode: "managed",
    alpha: "white",
  });
  for (const raw of [undefined, null, {}, { config: { data: { decode: "other", alpha: "drop" } } }])
    expect(runDecodeRules(raw)).toEqual(FOREIGN_RULES);
});
