import { expect, test } from "vitest";
import { ConfigError } from "../../core/index.ts";
import { CONVNEXT_PRESETS, RESNET_PRESETS, resnetPreset, vitPreset } from "../../nn/index.ts";
import { modelOf, modelOfVit } from "./model-of.ts";

test.each([...CONVNEXT_PRESETS, ...RESNET_PRESETS])("modelOf() of %s names a preset of the same network", (_, config) => {
  const { arch = "", channels, family } = modelOf({ ...config, channels: 1 });
  expect([channels, family]).toEqual([1, config.family]);
  expect(CONVNEXT_PRESETS.get(arch) ?? RESNET_PRESETS.get(arch)).toEqual(config);
});

test("modelOf() of a ViT is its sizes; of a convolutional network without a name it is an error", () => {
  const vit = vitPreset("dinov2_vits14");
  expect(modelOf(vit)).toEqual(modelOfVit(vit));
  expect(() => modelOf({ ...resnetPreset("resnet50"), depths: [3, 4, 23, 3] })).toThrow(ConfigError);
  expect(() => modelOf({ ...resnetPreset("resnet50"), depths: [3, 4, 23, 3] })).toThrow(
    /a resnet with 3, 4, 23, 3 blocks from 64 channels, which no/,
  );
});
