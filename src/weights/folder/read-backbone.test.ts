import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ConfigError, FormatError, type HostTensor, Rng, sizeOf } from "../../core/index.ts";
import { initParam, type ViTConfig, vitPreset, vitSpecs } from "../../nn/index.ts";
import { toHuggingFace, toTimm } from "../names/index.ts";
import { readSafetensors, writeSafetensors } from "../safetensors.ts";
import { asViT } from "../testing/as-vit.ts";
import { readBackbone } from "./read-backbone.ts";
import { writeModelFolder } from "./write-model.ts";
import { SMALL_VIT } from "../../nn/testing/small-vit.ts";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera backbone "));
});
afterAll(() => rm(root, { recursive: true }));
const at = (...parts: string[]): string => join(root, ...parts);

const SMALL: ViTConfig = {
  ...SMALL_VIT,
  imageSizePx: 28,
  patchSizePx: 14,
  width: 8,
  layerScale: 1,
  maskToken: true,
  tokenInitStd: 1e-6,
  registers: 2,
  posInterpolation: "size-antialias",
};
const ROPE: ViTConfig = {
  ...SMALL,
  positions: "rope",
  keyBiasMask: true,
  registerName: "storage_tokens",
  layerNormEps: 1e-5,
  imageSizePx: 224,
};

function weightsOf(config: ViTConfig): Map<string, HostTensor> {
  const rng = new Rng(7);
  return new Map(
    vitSpecs(config).map((spec) => {
      const data = new Float32Array(sizeOf(spec.shape));
      initParam({ ...spec, init: { kind: "normal", std: 1 } }, data, rng);
      return [spec.name, { dtype: "f32", shape: spec.shape, data }] as const;
    }),
  );
}
const weights = weightsOf(SMALL);

test("writeModelFolder() writes what readBackbone() reads, replaces whole folders, and refuses other weights", async () => {
  const dir = at("written");
  await writeModelFolder(dir, { config: SMALL, tensors: weights, card: "# A card\n", processor: { do_resize: false } });
  expect((await readdir(dir)).toSorted()).toEqual(["README.md", "config.json", "model.safetensors", "preprocessor_config.json"]);
  expect(await readBackbone(dir)).toEqual({
    config: SMALL,
    tensors: weights,
    source: "huggingface",
    processor: { do_resize: false },
    file: join(dir, "model.safetensors"),
  });
  const { tensors, metadata } = await readSafetensors(join(dir, "model.safetensors"));
  expect(metadata).toEqual({ format: "pt" });
  expect([...tensors.keys()]).toEqual([...tensors.keys()].toSorted());
  const other = { ...SMALL, depth: 3 };
  await expect(writeModelFolder(dir, { config: other, tensors: weights })).rejects.toThrow(/14 missing \(blocks\.2\.norm1\.weight \[8\]/);
  expect((await readdir(dir)).toSorted()).toContain("README.md");
  await writeModelFolder(dir, { config: SMALL, tensors: weights });
  expect(await readdir(dir)).not.toContain("README.md");
});

test("readBackbone() reads float16, bfloat16 and float64 as float32", async () => {
  const dir = at("types");
  await writeModelFolder(dir, { config: SMALL, tensors: weights });
  const stored = toHuggingFace(weights, SMALL);
  const values = Float32Array.of(1, -2, 0.5, 3, -0.25, 4, 8, -1);
  const bits = new Uint32Array(values.buffer);
  const norms = {
    "layernorm.weight": { dtype: "bf16", shape: [8], data: Uint16Array.from(bits, (b) => b >>> 16) },
    "layernorm.bias": { dtype: "f64", shape: [8], data: Float64Array.from(values) },
  } as const;
  await writeSafetensors(join(dir, "model.safetensors"), new Map([...stored, ...Object.entries(norms)]));
  const { tensors } = await readBackbone(dir);
  for (const name of ["norm.weight", "norm.bias"]) expect(tensors.get(name)).toEqual({ dtype: "f32", shape: [8], data: values });
});

describe("shards", () => {
  const shard = async (name: string, change: (index: Record<string, string>) => void = () => undefined): Promise<string> => {
    const dir = at(name);
    await writeModelFolder(dir, { config: SMALL, tensors: weights });
    const all = [...toHuggingFace(weights, SMALL)];
    const files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] as const;
    await writeSafetensors(join(dir, files[0]), new Map(all.slice(0, 9)));
    await writeSafetensors(join(dir, files[1]), new Map(all.slice(9)));
    await rm(join(dir, "model.safetensors"));
    const map = Object.fromEntries(all.map(([key], i) => [key, files[i < 9 ? 0 : 1]]));
    change(map);
    await writeFile(join(dir, "model.safetensors.index.json"), JSON.stringify({ metadata: { total_size: 1 }, weight_map: map }));
    return dir;
  };

  test("are read as one", async () => {
    const { tensors, file } = await readBackbone(await shard("sharded"));
    expect(tensors).toEqual(weights);
    expect(file).toMatch(/model\.safetensors\.index\.json$/);
  });

  test("that do not fit their index are refused", async () => {
    const outside = await shard("outside", (map) => (map["layernorm.bias"] = "../written/model.safetensors"));
    await expect(readBackbone(outside)).rejects.toThrow(/it names "\.\.\/written\/model\.safetensors", which is no file beside it/);
    const moved = await shard("moved", (map) => (map["layernorm.bias"] = "model-00001-of-00002.safetensors"));
    await expect(readBackbone(moved)).rejects.toThrow(/"layernorm\.bias" is not in "model-00001-of-00002\.safetensors"/);
    const lost = await shard("lost", (map) => delete map["layernorm.bias"]);
    await expect(readBackbone(lost)).rejects.toThrow(/it does not name layernorm\.bias/);
    const gone = await shard("gone");
    await rm(join(gone, "model-00002-of-00002.safetensors"));
    await expect(readBackbone(gone)).rejects.toThrow(FormatError);
    await writeFile(join(gone, "model.safetensors.index.json"), "{}");
    await expect(readBackbone(gone)).rejects.toThrow(/has no weight_map/);
  });
});

test("a bare file says whose names it has; positions are resized as there", async () => {
  const open = async (name: string, tensors: ReadonlyMap<string, HostTensor>, arch: ViTConfig | string): Promise<unknown> => {
    await writeSafetensors(at(name), tensors);
    const { source, config } = await readBackbone(at(name), { arch });
    return [source, asViT(config).posInterpolation];
  };
  const v2: ViTConfig = { ...SMALL, registers: 0, imageSizePx: 42 };
  expect(await open("m.safetensors", weights, SMALL)).toEqual(["meta", "size-antialias"]);
  expect(await open("t.safetensors", toTimm(weights, SMALL), SMALL)).toEqual(["timm", "size-antialias"]);
  expect(await open("h.safetensors", toHuggingFace(weights, SMALL), SMALL)).toEqual(["huggingface", "size-antialias"]);
  const plain = weightsOf(v2);
  expect(await open("m2.safetensors", plain, v2)).toEqual(["meta", "meta-offset"]);
  expect(await open("t2.safetensors", toTimm(plain, v2), v2)).toEqual(["timm", "size-antialias"]);
  expect(await open("h2.safetensors", toHuggingFace(plain, v2), v2)).toEqual(["huggingface", "size"]);
  const tiny = weightsOf({ ...vitPreset("dino_vitt16"), imageSizePx: 32 });
  expect(await open("d.safetensors", tiny, "dino_vitt16")).toEqual(["meta", "meta-offset"]);
});

test("a run's folder opens its best export, then its last; a checkpoint's teacher is read as our own", async () => {
  const config = { ...SMALL, registers: 0, posInterpolation: "size" } as const;
  const own = weightsOf(config);
  await writeModelFolder(at("run", "exported", "last"), { config, tensors: own });
  expect(await readBackbone(at("run"))).toMatchObject({ source: "tricera", file: at("run", "exported", "last", "model.safetensors") });
  await writeModelFolder(at("run", "exported", "best"), { config, tensors: own });
  expect(await readBackbone(at("run"))).toMatchObject({ source: "tricera", file: at("run", "exported", "best", "model.safetensors") });
  const step = at("run", "checkpoints", "step-00000001");
  await mkdir(step, { recursive: true });
  await writeFile(join(step, "state.json"), "{}");
  const backbone = [...own].map(([name, t]) => [`backbone.${name}`, t] as const);
  await writeSafetensors(
    join(step, "teacher.safetensors"),
    new Map([...backbone, ["dino_head.mlp.0.bias", own.get("norm.bias") as HostTensor]]),
  );
  const read = await readBackbone(join(step, "teacher.safetensors"), { arch: config });
  expect(read).toMatchObject({ source: "tricera", config: { posInterpolation: "size" } });
  expect(read.tensors).toEqual(own);
});

test("an architecture may be left out where shapes tell it, and is checked where it is given", async () => {
  const preset = vitPreset("dino_vitt16");
  const tensors = weightsOf({ ...preset, imageSizePx: 32 });
  await writeSafetensors(at("tiny.safetensors"), tensors);
  expect((await readBackbone(at("tiny.safetensors"))).config).toEqual({ ...preset, imageSizePx: 32, posInterpolation: "meta-offset" });
  await expect(readBackbone(at("tiny.safetensors"), { arch: "vit_tny_patch16" })).rejects.toThrow(/did you mean "vit_tiny_patch16"/);
  await writeSafetensors(at("rope.safetensors"), toHuggingFace(weightsOf(ROPE), ROPE));
  await expect(readBackbone(at("rope.safetensors"), { arch: "dinov2_vits14" })).rejects.toThrow(
    /network with rotary positions, the architecture has others/,
  );
  await expect(readBackbone(at("rope.safetensors"))).rejects.toThrow(ConfigError);
});

test("a folder of timm's is described by its name, its shapes and its pretrained_cfg", async () => {
  const dir = at("timm vit");
  const config: ViTConfig = { ...vitPreset("dino_vitt16"), imageSizePx: 32 };
  await mkdir(dir);
  await writeSafetensors(join(dir, "model.safetensors"), toTimm(weightsOf(config), config));
  const pretrained = { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25], input_size: [3, 32, 32], crop_pct: 0.9, interpolation: "bilinear" };
  await writeFile(join(dir, "config.json"), JSON.stringify({ architecture: "vit_tiny_patch16_224", pretrained_cfg: pretrained }));
  expect(await readBackbone(dir)).toMatchObject({
    config: { ...config, posInterpolation: "size-antialias" },
    source: "timm",
    processor: { image_mean: [0.5, 0.5, 0.5], resample: 2, size: { shortest_edge: 35 }, crop_size: { height: 32, width: 32 } },
  });
  await writeFile(
    join(dir, "config.json"),
    JSON.stringify({ architecture: "vit_small_patch14_dinov2", pretrained_cfg: { tag: "lvd142m" } }),
  );
  await expect(readBackbone(dir)).rejects.toThrow(/do not fit the network/);
});

test("stored rotary periods must be the architecture's", async () => {
  const periods = (base: number): HostTensor => ({ dtype: "f32", shape: [1], data: Float32Array.of(base) });
  await writeSafetensors(at("p.safetensors"), new Map([...weightsOf(ROPE), ["rope_embed.periods", periods(1)]]));
  expect((await readBackbone(at("p.safetensors"), { arch: ROPE })).source).toBe("meta");
  await writeSafetensors(at("p.safetensors"), new Map([...weightsOf(ROPE), ["rope_embed.periods", periods(1.1)]]));
  await expect(readBackbone(at("p.safetensors"), { arch: ROPE })).rejects.toThrow(
    /its 1 rotary periods are not those of this architecture/,
  );
});

describe("readBackbone() says what is wrong with", () => {
  test.each([
    ["a web page", "<!DOCTYPE html><html>sign in</html>", /it is a web page, saved instead of the weights/],
    ["a pointer of Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:1\n", /it is a pointer of Git LFS/],
    ["JSON", '{"a": 1}', /it is a file of JSON/],
    ["an empty file", "", /is cut off/],
    ["noise", "abcdefghijklmnop", /no safetensors file/],
  ])("%s", async (_, content, message) => {
    await writeFile(at("bad"), content);
    await expect(readBackbone(at("bad"))).rejects.toThrow(FormatError);
    await expect(readBackbone(at("bad"))).rejects.toThrow(message);
  });

  test("a processor that is no object, names of nobody, names that meet, and nothing there", async () => {
    const dir = at("processor");
    await writeModelFolder(dir, { config: SMALL, tensors: weights });
    await writeFile(join(dir, "preprocessor_config.json"), "[]");
    await expect(readBackbone(dir)).rejects.toThrow(/preprocessor_config\.json" is no object/);
    const one = weights.get("norm.bias") as HostTensor;
    await writeSafetensors(at("two.safetensors"), new Map([...weights, ["blocks.9.1.norm1.bias", one]]));
    await expect(readBackbone(at("two.safetensors"), { arch: SMALL })).rejects.toThrow(/two tensors have one name once prefixes are off/);
    await writeSafetensors(at("none.safetensors"), new Map([["fc.weight", one]]));
    await expect(readBackbone(at("none.safetensors"))).rejects.toThrow(/no class token among fc\.weight/);
    await expect(readBackbone(at("wrtten"))).rejects.toThrow(/it does not exist; did you mean "written"\?/);
    await expect(readBackbone("dino_vits16")).rejects.toThrow(/an architecture without weights/);
  });

  test("a block that is missing in the middle, whatever its number", async () => {
    const gap = new Map([...weights].map(([name, t]) => [name.replace("blocks.1.", "blocks.999999999."), t] as const));
    await writeSafetensors(at("gap.safetensors"), gap);
    await expect(readBackbone(at("gap.safetensors"), { arch: SMALL })).rejects.toThrow(
      /14 missing \(blocks\.1\.norm1\.weight \[8\].*14 extra \(blocks\.999999999\.norm1\.weight/,
    );
    await expect(readBackbone(at("gap.safetensors"))).rejects.toThrow(/do not say how many heads/);
  });
});

test("a truncated file is an error, not a network of zeros", async () => {
  const dir = at("cut");
  await writeModelFolder(dir, { config: SMALL, tensors: weights });
  const whole = await readFile(join(dir, "model.safetensors"));
  for (const part of [0.2, 0.9, 0.999]) {
    await writeFile(join(dir, "model.safetensors"), whole.subarray(0, Math.floor(whole.length * part)));
    await expect(readBackbone(dir)).rejects.toThrow(/cut off/);
  }
});

describe("damaged folders and files give an error that says so, or a network", () => {
  const isKnown = (error: unknown): boolean => error instanceof FormatError || error instanceof ConfigError;
  const outcome = (path: string, arch?: ViTConfig): Promise<boolean> =>
    readBackbone(path, { arch }).then(
      () => true,
      (error: unknown) => {
        if (!isKnown(error)) throw error;
        return false;
      },
    );

  test("bytes of the header, with and without an architecture", async () => {
    await writeSafetensors(at("source.safetensors"), weightsOf(ROPE));
    const bytes = new Uint8Array(await readFile(at("source.safetensors")));
    const header = 8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
    let [good, bad] = [0, 0];
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(header - 1), fc.integer({ min: 32, max: 126 })), { maxLength: 2 }),
        fc.boolean(),
        async (edits, isNamed) => {
          const out = bytes.slice();
          for (const [place, value] of edits) out[place] = value;
          await writeFile(at("edited.safetensors"), out);
          if (await outcome(at("edited.safetensors"), isNamed ? ROPE : undefined)) good++;
          else bad++;
        },
      ),
      { numRuns: 200 },
    );
    expect(Math.min(good, bad)).toBeGreaterThan(5);
  });

  test("shapes that are any", async () => {
    const shape = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 });
    const names = [...weightsOf(ROPE).keys(), "pos_embed", "rope_embed.periods", "blocks.0.attn.qkv.bias_mask", "blocks.7.norm1.bias"];
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.constantFrom(...names), shape), async (shapes) => {
        const tensors = new Map(
          Object.entries({ cls_token: [1, 1, 4], ...shapes }).map(([name, s]) => [
            name,
            { dtype: "f32", shape: s, data: new Float32Array(sizeOf(s)) } as const,
          ]),
        );
        await writeSafetensors(at("any.safetensors"), tensors);
        expect(await outcome(at("any.safetensors"))).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  test("values of config.json that are any", async () => {
    const dir = at("described");
    await writeModelFolder(dir, { config: ROPE, tensors: weightsOf(ROPE) });
    const described = JSON.parse(await readFile(join(dir, "config.json"), "utf8")) as Record<string, unknown>; // written above
    let good = 0;
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...Object.keys(described)), fc.jsonValue(), async (key, value) => {
        await writeFile(join(dir, "config.json"), JSON.stringify({ ...described, [key]: value }));
        if (await outcome(dir)) good++;
      }),
      { numRuns: 300 },
    );
    expect(good).toBeGreaterThan(5);
  });
});
