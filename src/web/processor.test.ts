import { expect, test } from "vitest";
import * as node from "../features/processor.ts";
import { CONVNEXT_PRESETS, RESNET_PRESETS, VIT_PRESETS } from "../nn/index.ts";
import * as web from "./processor.ts";

test("familyPreprocessing() is Node's for every architecture", () => {
  for (const config of [...VIT_PRESETS.values(), ...CONVNEXT_PRESETS.values(), ...RESNET_PRESETS.values()]) {
    expect(web.familyPreprocessing(config)).toEqual(node.familyPreprocessing(config));
    expect(web.networkSizePx(config)).toBe(node.networkSizePx(config));
  }
});

test.each<[string, object]>([
  ["nothing", {}],
  ["ViT's", { size: { height: 224, width: 224 }, resample: 3, image_mean: [0.5, 0.5, 0.5], image_std: [0.2, 0.3, 0.4] }],
  ["Bit's", { size: { shortest_edge: 256 }, crop_size: { height: 224, width: 224 }, do_center_crop: true, resample: 3 }],
  ["DINOv3's", { image_processor_type: "DINOv3ViTImageProcessorFast", size: { height: 224, width: 224 }, resample: 2 }],
  ["plain numbers", { size: 98, do_normalize: false, resample: 1 }],
  ["an edge without a crop", { size: { shortest_edge: 98 } }],
  ["no square", { size: { height: 1, width: 2 } }],
  ["a wrong kernel", { resample: 9 }],
])("a processor is read as in Node: %s", (_, raw) => {
  const read = ({ processorSchema, toPreprocessing }: Pick<typeof node, "processorSchema" | "toPreprocessing">): unknown => {
    try {
      return toPreprocessing(processorSchema.parse(raw), { file: "p.json", imageSizePx: 64 });
    } catch (error) {
      return String(error);
    }
  };
  expect(read(web)).toEqual(read(node));
});
