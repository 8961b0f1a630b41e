import { describe, expect, test } from "vitest";
import type { BackboneConfig } from "../../nn/index.ts";
import { convnextPreset, vitPreset } from "../../nn/index.ts";
import { familyPreprocessing, readProcessorRules } from "../processor.ts";
import { processorFile } from "./processor-file.ts";

const NETWORKS: readonly (readonly [string, BackboneConfig])[] = [
  ["dino_vits16", vitPreset("dino_vits16")],
  ["dinov2_vits14", vitPreset("dinov2_vits14")],
  ["dinov3_vits16", vitPreset("dinov3_vits16")],
  ["dinov3_convnext_tiny", convnextPreset("dinov3_convnext_tiny")],
];

describe.each(NETWORKS)("processorFile() of %s", (_, config) => {
  test("is read back as the same preprocessing, at another size too", () => {
    for (const imageSizePx of [familyPreprocessing(config).imageSizePx, 448]) {
      const own = { ...familyPreprocessing(config), imageSizePx };
      const read = readProcessorRules(processorFile(own), { file: "f", imageSizePx: 1 });
      const { cropRatio = 1, ...rest } = own;
      expect(read).toMatchObject(rest);
      expect(read.cropRatio ?? 1).toBeCloseTo(cropRatio, 3);
    }
  });
});
