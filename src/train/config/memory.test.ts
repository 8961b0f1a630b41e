import { expect, test } from "vitest";
import { assertFitsMemory, backboneParameters, estimateCheckpointBytes, estimateMemory, headParameters, resolveConfig } from "./index.ts";

const GB = 2 ** 30;
const facts = { images: 1_281_167, medianSidePx: 400, cores: 16, memoryBytes: 64 * GB };
const vits = resolveConfig({ model: { arch: "vit_small_patch16" }, train: { batchSize: 8 } }, facts).config;

test("backboneParameters() and headParameters() count what DINO publishes", () => {
  const count = (arch: string): number => backboneParameters(resolveConfig({ model: { arch } }, facts).config.model);
  expect([count("dino_vits16"), count("dino_vits8"), count("dino_vitb16"), count("vit_tiny_patch16")]).toEqual([
    21_665_664, 21_670_272, 85_798_656, 5_524_416,
  ]);
  expect(headParameters(vits.head, 384)).toBe(22_352_128);
  expect(estimateCheckpointBytes(vits)).toBe(16 * (21_665_664 + 22_352_128));
});

test("estimateMemory() meets the 1.1 GB measured for the global group of ViT-S/16 at batch 8", () => {
  expect(estimateMemory(vits).activationBytes / GB).toBeGreaterThan(0.9);
  expect(estimateMemory(vits).activationBytes / GB).toBeLessThan(1.3);
  expect(estimateMemory({ ...vits, train: { ...vits.train, checkpointing: true } }).activationBytes).toBeLessThan(
    estimateMemory(vits).activationBytes / 4,
  );
});

test("assertFitsMemory() refuses more local crops than memory and says what fits", () => {
  const many = resolveConfig({ model: { arch: "vit_small_patch16" }, crops: { localCount: 500 }, train: { batchSize: 8 } }, facts).config;
  expect(() => assertFitsMemory(vits, 8 * GB)).not.toThrow();
  expect(() => assertFitsMemory(many, 8 * GB)).toThrow(
    /8 images with 502 crops each need about \d+\.\d GB .* has 8\.0 GB; set .*crops\.localCount=\d+/,
  );
});
