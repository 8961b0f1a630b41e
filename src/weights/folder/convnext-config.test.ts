import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FormatError, type HostTensor, sizeOf } from "../../core/index.ts";
import { CONVNEXT_PRESETS, type ConvNeXtConfig, convnextSpecs } from "../../nn/index.ts";
import { convnextFrom } from "../names/index.ts";
import { readSafetensors } from "../safetensors.ts";
import { convnextFromHuggingFaceConfig, convnextToHuggingFaceConfig } from "./convnext-config.ts";
import { writeModelFolder } from "./write-model.ts";

test.each([...CONVNEXT_PRESETS])("config.json of %s describes the same network", (_, config) => {
  expect(convnextFromHuggingFaceConfig(JSON.parse(JSON.stringify(convnextToHuggingFaceConfig(config))), "f")).toEqual(config);
});

test("convnextFromHuggingFaceConfig() fills in what transformers fills in, and refuses the rest with its key", () => {
  const model_type = "dinov3_convnext";
  expect(convnextFromHuggingFaceConfig({ model_type }, "f")).toEqual(CONVNEXT_PRESETS.get("dinov3_convnext_tiny"));
  for (const [raw, key] of [
    [null, "form"],
    [{ model_type: "vit" }, "model_type"],
    [{ model_type, depths: [3, 3, 9] }, "depths"],
    [{ model_type, depths: [3, 3, 1e9, 3] }, "depths.2"],
    [{ model_type, hidden_act: "relu" }, "hidden_act"],
    [{ model_type, layer_norm_eps: 1e-5 }, "layer_norm_eps"],
  ] as const) {
    expect(() => convnextFromHuggingFaceConfig(raw, "some.json")).toThrow(FormatError);
    expect(() => convnextFromHuggingFaceConfig(raw, "some.json")).toThrow(`"some.json" has a wrong ${key} (`);
  }
});

test("writeModelFolder() writes a ConvNeXt under Hugging Face's names", async () => {
  const config: ConvNeXtConfig = { family: "convnext", depths: [1, 1, 2, 1], widths: [4, 6, 8, 10] };
  const tensors = new Map<string, HostTensor>(
    convnextSpecs(config).map(({ name, shape }, i) => [name, { dtype: "f32", shape, data: new Float32Array(sizeOf(shape)).fill(i) }]),
  );
  const root = await mkdtemp(join(tmpdir(), "tricera convnext "));
  await writeModelFolder(join(root, "m"), { config, tensors });
  const read = await readSafetensors(join(root, "m", "model.safetensors"));
  expect(convnextFrom(read.tensors, config, { naming: "huggingface" })).toEqual(tensors);
  const text = await readFile(join(root, "m", "config.json"), "utf8");
  expect(text).toContain('"drop_path_rate": 0.0,');
  expect(convnextFromHuggingFaceConfig(JSON.parse(text), "f")).toEqual(config);
  const processor: unknown = JSON.parse(await readFile(join(root, "m", "preprocessor_config.json"), "utf8"));
  expect(processor).toMatchObject({ image_processor_type: "DINOv3ViTImageProcessor", size: { height: 224, width: 224 }, resample: 2 });
  await rm(root, { recursive: true });
});
