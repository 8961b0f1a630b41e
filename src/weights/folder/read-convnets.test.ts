import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ConfigError, FormatError, type HostTensor, sizeOf } from "../../core/index.ts";
import { type BackboneConfig, RESNET_PRESETS, type ResNetConfig, resnetPreset } from "../../nn/index.ts";
import { convnextTo, inferResNet, resnetFrom, resnetLinks, storedShapes } from "../names/index.ts";
import { readSafetensors, writeSafetensors } from "../safetensors.ts";
import { randomBackbone, TINY_CONVNEXT, TINY_RESNET } from "../testing/random-weights.ts";
import { readBackbone } from "./read-backbone.ts";
import { readTimmConfig, resnetToTimmConfig } from "./timm-config.ts";
import { defaultProcessor, writeModelFolder } from "./write-model.ts";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera convnets "));
});
afterAll(() => rm(root, { recursive: true }));
const at = (...parts: string[]): string => join(root, ...parts);
const convnext = randomBackbone(TINY_CONVNEXT);
const resnet = randomBackbone(TINY_RESNET);
/** timm has no narrow ResNets; this is the smallest of its widths. */
const WIDE: ResNetConfig = { ...TINY_RESNET, depths: [1, 1, 1, 1], width: 64 };

describe("readBackbone() of a file of a ConvNeXt", () => {
  test.each(["meta", "huggingface", "timm"] as const)("under the names of %s and a prefix tells whose it is", async (naming) => {
    const stored = convnextTo(convnext, TINY_CONVNEXT, naming);
    const file = at(`${naming}.safetensors`);
    const copy = convnext.get("norm.bias") as HostTensor; // as Meta stores it once more
    await writeSafetensors(
      file,
      new Map([
        ...[...stored].map(([name, t]) => [`model.${name}`, t] as const),
        ...(naming === "meta" ? [["model.norms.3.bias", copy] as const] : []),
      ]),
    );
    expect(await readBackbone(file)).toEqual({ config: TINY_CONVNEXT, tensors: convnext, source: naming, processor: undefined, file });
    expect((await readBackbone(file, { arch: TINY_CONVNEXT })).tensors).toEqual(convnext);
    await expect(readBackbone(file, { arch: "dinov3_convnext_tiny" })).rejects.toThrow(FormatError);
    await expect(readBackbone(file, { arch: "dino_vits16" })).rejects.toThrow(/tensors are of a ConvNeXt, the architecture is a vision/);
    await expect(readBackbone(file, { arch: "dinov3_convnet_tiny" })).rejects.toThrow(/did you mean "dinov3_convnext_tiny"/);
  });
});

describe("readBackbone() of a file of a ResNet", () => {
  const file = (): string => at("resnet.safetensors");
  test("takes running statistics along, and leaves the classifier and counts of batches", async () => {
    const more: [string, HostTensor][] = [
      ["module.fc.weight", { dtype: "f32", shape: [3, 16], data: new Float32Array(48) }],
      ["module.bn1.num_batches_tracked", { dtype: "i64", shape: [], data: BigInt64Array.of(7n) }],
    ];
    await writeSafetensors(file(), new Map([...[...resnet].map(([name, t]) => [`module.${name}`, t] as const), ...more]));
    expect(await readBackbone(file())).toEqual({
      config: TINY_RESNET,
      tensors: resnet,
      source: "meta",
      processor: undefined,
      file: file(),
    });
    await expect(readBackbone(file(), { arch: "resnet18" })).rejects.toThrow(
      /do not fit the network, 30 missing .*70 wrongly shaped .*layer3\.\{0-1\}\.conv2\.weight \[8,8,3,3\] instead/,
    );
  });

  test("says what is missing, and that a checkpoint's statistics are elsewhere", async () => {
    const without = (pattern: RegExp) => writeSafetensors(file(), new Map([...resnet].filter(([name]) => !pattern.test(name))));
    await without(/running_/);
    await expect(readBackbone(file())).rejects.toThrow(/lack the running statistics.*give the run's folder or its exported\/last/);
    await without(/layer3\.1\.conv2/);
    await expect(readBackbone(file())).rejects.toThrow(/1 missing \(layer3\.1\.conv2\.weight/);
    await without(/layer4/);
    await expect(readBackbone(file())).rejects.toThrow(/layer 4 has no blocks/);
  });
});

test.each([...RESNET_PRESETS])("inferResNet() knows %s by its shapes, and with other channels", (_, config) => {
  const shapes = storedShapes(resnetLinks(config));
  expect(inferResNet(shapes)).toEqual(config);
  expect(inferResNet(storedShapes(resnetLinks({ ...config, channels: 4 })))).toEqual({ ...config, channels: 4 });
  const empty = new Map([...shapes].map(([name, shape]) => [name, { dtype: "f32", shape, data: new Float32Array() } as const]));
  const other = resnetPreset(config.block === "basic" ? "resnet50" : "resnet18");
  expect(() => resnetFrom(empty, other)).toThrow(config.block === "basic" ? /look like "resnet18"/ : /look like "resnet50"/);
});

describe("folders", () => {
  const roundTrip = async (name: string, config: BackboneConfig): Promise<void> => {
    const dir = at(name);
    const tensors = randomBackbone(config, 3);
    await writeModelFolder(dir, { config, tensors, card: "# A card\n" });
    expect((await readdir(dir)).toSorted()).toEqual(["README.md", "config.json", "model.safetensors", "preprocessor_config.json"]);
    const isResNet = "family" in config && config.family === "resnet";
    const processor = JSON.parse(JSON.stringify(defaultProcessor(config))) as object; // as JSON has it
    const file = join(dir, "model.safetensors");
    expect(await readBackbone(dir)).toEqual({ config, tensors, source: isResNet ? "timm" : "huggingface", processor, file });
  };
  test("of a ConvNeXt are Hugging Face's", () => roundTrip("hf", TINY_CONVNEXT));
  test("of a ResNet are timm's", async () => {
    await roundTrip("timm", WIDE);
    const { tensors } = await readSafetensors(at("timm", "model.safetensors"));
    expect(tensors.has("layer1.0.bn1.running_var")).toBe(true);
    await mkdir(at("run", "exported"), { recursive: true });
    await writeModelFolder(at("run", "exported", "last"), { config: WIDE, tensors: randomBackbone(WIDE) });
    expect((await readBackbone(at("run"))).source).toBe("tricera");
  });

  test("of timm alone: pictures as its config.json wants them", async () => {
    await rm(at("timm", "preprocessor_config.json"));
    const { processor } = await readBackbone(at("timm"));
    expect(processor).toMatchObject({
      resample: 3,
      size: { shortest_edge: 256 },
      do_center_crop: true,
      crop_size: { height: 224, width: 224 },
    });
    const refuse = async (more: object, message: RegExp): Promise<void> => {
      const described = JSON.parse(await readFile(at("timm", "config.json"), "utf8")) as object; // written above
      await mkdir(at("odd"), { recursive: true });
      await writeSafetensors(at("odd", "model.safetensors"), randomBackbone(WIDE));
      await writeFile(at("odd", "config.json"), JSON.stringify({ ...described, ...more }));
      await expect(readBackbone(at("odd"))).rejects.toThrow(message);
    };
    await refuse({ architecture: "seresnet50" }, /timm's "seresnet50", which is not known here/);
    await refuse({ architecture: "dinov3_convnext_tiny" }, /which is not known here/);
    await refuse({ architecture: "convnext_tiny" }, /tensors are of a ResNet, the architecture is a ConvNeXt/);
  });

  test("whose config.json is of another family than their tensors are refused", async () => {
    await writeModelFolder(at("mixed"), { config: TINY_CONVNEXT, tensors: convnext });
    await writeSafetensors(at("mixed", "model.safetensors"), resnet);
    await expect(readBackbone(at("mixed"))).rejects.toThrow(ConfigError);
  });
});

describe("resnetToTimmConfig()", () => {
  test("names published networks, gives other depths and channels as arguments, and refuses other widths", () => {
    const config = resnetPreset("resnet50");
    const processor = defaultProcessor(config);
    expect(resnetToTimmConfig(config, processor)).toMatchObject({
      architecture: "resnet50",
      num_classes: 0,
      num_features: 2048,
      pretrained_cfg: {
        input_size: [3, 224, 224],
        crop_pct: 0.875,
        crop_mode: "center",
        interpolation: "bicubic",
        mean: [0.485, 0.456, 0.406],
      },
    });
    expect(resnetToTimmConfig(config, processor)).not.toHaveProperty("model_args");
    expect(resnetToTimmConfig({ ...config, depths: [1, 2, 3, 4], channels: 1 }, processor)).toMatchObject({
      architecture: "resnet50",
      model_args: { layers: [1, 2, 3, 4], in_chans: 1 },
    });
    expect(() => resnetToTimmConfig(TINY_RESNET, processor)).toThrow(/stem of 64 channels, this one has 2/);
    expect(() => resnetToTimmConfig(config, { size: 3 })).toThrow(/the processor has a wrong/);
  });

  test("says of pictures what readTimmConfig() reads", () => {
    for (const given of [
      { size: { height: 32, width: 32 }, resample: 2 },
      { size: { shortest_edge: 25 }, do_center_crop: true, crop_size: { height: 14, width: 14 }, resample: 1 },
      { size: { shortest_edge: 36 }, do_center_crop: true, crop_size: { height: 32, width: 32 }, resample: 3 },
    ]) {
      const processor = { image_mean: [0.1, 0.2, 0.3], image_std: [0.4, 0.5, 0.6], ...given };
      expect(readTimmConfig(JSON.parse(JSON.stringify(resnetToTimmConfig(WIDE, processor))), "f")?.processor).toEqual(processor);
      const bands = { ...processor, image_mean: [0.1, 0.2, 0.3, 0.4, 0.5], image_std: [1, 2, 3, 4, 5] };
      const five = resnetToTimmConfig({ ...WIDE, channels: 5 }, bands);
      expect(readTimmConfig(JSON.parse(JSON.stringify(five)), "f")?.processor).toEqual(bands);
    }
  });
});

describe("damaged files and folders of convolutional networks give an error that says so", () => {
  const outcome = (path: string): Promise<boolean> =>
    readBackbone(path).then(
      () => true,
      (error: unknown) => {
        if (error instanceof FormatError || error instanceof ConfigError) return false;
        throw error;
      },
    );

  test.each([
    ["a ConvNeXt", convnext],
    ["a ResNet", resnet],
  ] as const)("shapes that are any, of %s", async (name, weights) => {
    const shape = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 });
    const file = at(`any ${name}.safetensors`);
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.constantFrom(...weights.keys()), shape, { minKeys: 1, maxKeys: 4 }), async (shapes) => {
        const made = Object.entries(shapes).map(
          ([key, s]) => [key, { dtype: "f32", shape: s, data: new Float32Array(sizeOf(s)) } as const] as const,
        );
        const isSame = made.every(([key, t]) => JSON.stringify(weights.get(key)?.shape) === JSON.stringify(t.shape));
        await writeSafetensors(file, new Map([...weights, ...made]));
        if (!isSame) expect(await outcome(file)).toBe(false);
      }),
      { numRuns: 100 },
    );
  });

  test("values of config.json that are any", async () => {
    const [hf, timm] = [at("fuzz hf"), at("fuzz timm")];
    await writeModelFolder(hf, { config: TINY_CONVNEXT, tensors: convnext });
    await writeModelFolder(timm, { config: WIDE, tensors: randomBackbone(WIDE) });
    let good = 0;
    for (const dir of [hf, timm]) {
      const described = JSON.parse(await readFile(join(dir, "config.json"), "utf8")) as Record<string, unknown>; // written above
      await fc.assert(
        fc.asyncProperty(fc.constantFrom(...Object.keys(described)), fc.jsonValue(), async (key, value) => {
          await writeFile(join(dir, "config.json"), JSON.stringify({ ...described, [key]: value }));
          if (await outcome(dir)) good++;
        }),
        { numRuns: 60 },
      );
    }
    expect(good).toBeGreaterThan(5);
  });
});
