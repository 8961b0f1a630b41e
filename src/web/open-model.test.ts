import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { readFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError, FormatError, ShapeError } from "../core/index.ts";
import { decodeSafetensors, encodeSafetensors, readBackbone, resnetToTimmConfig, toHuggingFace } from "../weights/index.ts";
import { randomBackbone, TINY_CONVNEXT, TINY_RESNET } from "../weights/testing/random-weights.ts";
import { randomWeights, TINY, writeTinyModel } from "../features/testing/tiny-model.ts";
import { chosenFiles, type NamedBlob } from "./model-files.ts";
import { readModel } from "./open-model.ts";

const NAMES = ["config.json", "preprocessor_config.json", "model.safetensors"] as const;
const bytes = new Map<string, Uint8Array<ArrayBuffer>>();
let wanted: ReadonlyMap<string, { readonly data: unknown }>;
beforeAll(async () => {
  const dir = await mkdtemp(join(tmpdir(), "tricera chosen "));
  await writeTinyModel(dir);
  for (const name of NAMES) bytes.set(name, new Uint8Array(await readFile(join(dir, name))));
  wanted = (await readBackbone(dir)).tensors;
  await rm(dir, { recursive: true });
});

function file(name: string, content: Uint8Array<ArrayBuffer> | string): NamedBlob {
  return new File([content], name);
}

/** As browsers give it where a folder is chosen. */
function at(path: string, content: Uint8Array<ArrayBuffer> | string): NamedBlob {
  return Object.assign(file(path.slice(path.lastIndexOf("/") + 1), content), { webkitRelativePath: path });
}

const chosen = (...names: readonly string[]): NamedBlob[] => names.map((name) => file(name, bytes.get(name) ?? ""));

function json(change: object): string {
  return JSON.stringify({ ...(JSON.parse(new TextDecoder().decode(bytes.get("config.json"))) as object), ...change });
}

/** The weights with a fourth channel of the picture. */
function fourChannels(): Uint8Array<ArrayBuffer> {
  const config = { ...TINY, channels: 4 };
  return new Uint8Array(encodeSafetensors(toHuggingFace(randomWeights(config, 1), config)));
}

describe("readModel() of chosen files", () => {
  test("reads what Node reads", async () => {
    const { config, params, preprocessing } = await readModel(chosenFiles(chosen(...NAMES)), {});
    expect(config).toMatchObject(TINY);
    expect(preprocessing).toMatchObject({ imageSizePx: 16, resize: "square", kernel: "bicubic", mean: [0.5, 0.5, 0.5] });
    expect([...params.keys()]).toEqual([...wanted.keys()]);
    for (const [name, { data }] of wanted) expect(params.get(name), name).toEqual(data);
  });

  test("reads shards by their index", async () => {
    const all = [...decodeSafetensors(bytes.get("model.safetensors") ?? new Uint8Array(0)).tensors];
    const parts = [all.slice(0, 5), all.slice(5)].map((tensors) => new Map(tensors));
    const shards = parts.map((tensors, i) => file(`model-${i}.safetensors`, new Uint8Array(encodeSafetensors(tensors))));
    const map = Object.fromEntries(parts.flatMap((tensors, i) => [...tensors.keys()].map((name) => [name, `model-${i}.safetensors`])));
    const index = (weights: object): NamedBlob => file("model.safetensors.index.json", JSON.stringify({ weight_map: weights }));
    const { params } = await readModel(chosenFiles([...chosen("config.json"), ...shards, index(map)]), {});
    expect([...params.keys()]).toEqual([...wanted.keys()]);
    const read = (weights: object, files = shards) => readModel(chosenFiles([...chosen("config.json"), ...files, index(weights)]), {});
    await expect(read(map, shards.slice(0, 1))).rejects.toThrow(/has no model-1\.safetensors/);
    await expect(read({ ...map, a: "../secret" })).rejects.toThrow(/names "\.\.\/secret", which is no file beside it/);
    await expect(read({ a: 1 })).rejects.toThrow(/has no weight_map/);
  });

  test("reads a bare file of weights under any name", async () => {
    const bare = file("some.safetensors", new Uint8Array(encodeSafetensors(randomBackbone(TINY_CONVNEXT))));
    expect((await readModel(chosenFiles([bare]), {})).config).toEqual(TINY_CONVNEXT);
    const vit = chosenFiles([file("tiny.safetensors", bytes.get("model.safetensors") ?? "")]);
    await expect(readModel(vit, {})).rejects.toThrow(/do not say how many heads they have/);
    await expect(readModel(vit, { arch: "dinov2_vits1" })).rejects.toThrow(/no such preset; did you mean "dinov2_vits14"/);
    await expect(readModel(vit, { arch: "resnet50" })).rejects.toThrow(ConfigError);
  });

  test.each<[string, () => NamedBlob[], RegExp]>([
    ["no files", () => [], /there are no files/],
    ["two of one name", () => [...chosen(...NAMES), ...chosen("config.json")], /two of the files have one name/],
    ["no weights", () => chosen("config.json"), /it has no model\.safetensors/],
    [
      "weights of PyTorch alone",
      () => [...chosen("config.json"), file("pytorch_model.bin", "PK")],
      /convert "pytorch_model\.bin" with "tricera/,
    ],
    ["a config that is no JSON", () => [...chosen(NAMES[2]), file("config.json", "{")], /"config\.json" is not JSON/],
    ["a config of another model", () => [...chosen(NAMES[2]), file("config.json", json({ model_type: "bert" }))], /wrong model_type/],
    [
      "four channels and three means",
      () => [file(NAMES[2], fourChannels()), file("config.json", json({ num_channels: 4 }))],
      /takes 4 channels and there are 3 means and 3 deviations; give image_mean/,
    ],
    ["a wrong processor", () => [...chosen(NAMES[0], NAMES[2]), file(NAMES[1], '{"resample": 9}')], /has a wrong resample/],
    ["two means", () => [...chosen(NAMES[0], NAMES[2]), file(NAMES[1], '{"image_mean": [0, 1]}')], /image_mean|2 means/],
    ["a page for weights", () => [...chosen("config.json"), file(NAMES[2], "<!doctype html>")], /it is a web page/],
    ["a pointer", () => [...chosen("config.json"), file(NAMES[2], "version https://git-lfs")], /pointer of Git LFS/],
    ["PyTorch's file", () => [...chosen("config.json"), file(NAMES[2], "PK\x03\x04 12345678")], /tricera models convert/],
  ])("refuses %s", async (_, files, message) => {
    const reading = (async () => readModel(chosenFiles(files()), {}))();
    await expect(reading).rejects.toThrow(message);
  });

  test("reads a folder of timm's", async () => {
    const config = { ...TINY_RESNET, width: 64, depths: [1, 1, 1, 1] } as const;
    const processor = { size: { shortest_edge: 40 }, crop_size: { height: 32, width: 32 }, do_center_crop: true, resample: 3 };
    const numbers = { image_mean: [0.5, 0.5, 0.5], image_std: [0.25, 0.25, 0.25] };
    const described = JSON.stringify(resnetToTimmConfig(config, { ...processor, ...numbers }));
    const weights = new Uint8Array(encodeSafetensors(randomBackbone(config)));
    const read = await readModel(chosenFiles([file("config.json", described), file("model.safetensors", weights)]), {});
    expect(read.config).toEqual(config);
    expect(read.preprocessing).toMatchObject({ imageSizePx: 32, resize: "short-side", cropRatio: 0.8, mean: [0.5, 0.5, 0.5] });
  });

  test("takes the exported model of a run's folder, best first, and how the run read its pictures", async () => {
    const run = JSON.stringify({ config: { data: { decode: "managed", alpha: "white" } } });
    const inFolder = (folder: string, names: readonly string[] = NAMES): NamedBlob[] =>
      names.map((name) => at(`${folder}/${name}`, bytes.get(name) ?? ""));
    const rulesOf = async (files: readonly NamedBlob[]): Promise<unknown> => (await readModel(chosenFiles(files), {})).rules;
    const foreign = { decode: "python", alpha: "drop" };
    const last = [at("run/config.json", run), at("run/notes.txt", ""), ...inFolder("run/exported/last")];
    expect(await rulesOf(last)).toEqual({ decode: "managed", alpha: "white" });
    expect(await rulesOf([...last, ...inFolder("run/exported/best", NAMES.slice(1))]).catch(String)).toMatch(/how many heads/); // best has no config.json
    expect(await rulesOf([at("run/config.json", "{"), ...inFolder("run/exported/last")])).toEqual(foreign);
    expect(await rulesOf(inFolder("last"))).toEqual(foreign);
    const clone = [...inFolder("clone"), ...inFolder("clone/onnx", ["config.json"]), ...inFolder("clone/exported/best", ["config.json"])];
    expect(await rulesOf(clone)).toEqual(foreign);
  });

  test("stops where it is aborted, between tensors", async () => {
    const stop = new AbortController();
    const reason = new Error("enough");
    let reads = 0;
    const weights = file(NAMES[2], bytes.get(NAMES[2]) ?? "");
    const slice = weights.slice.bind(weights);
    weights.slice = (from, to) => (++reads === 8 && stop.abort(reason), slice(from, to));
    await expect(readModel(chosenFiles([...chosen(NAMES[0]), weights], { signal: stop.signal }), {})).rejects.toBe(reason);
    expect(reads).toBe(8);
  });

  test("gives a right answer or an error of ours for damaged weights", async () => {
    const good = bytes.get("model.safetensors") ?? new Uint8Array(0);
    const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(edits, fc.option(fc.nat(good.length)), async (changes, length) => {
        const bad = good.slice(0, length ?? good.length);
        for (const [at, value] of changes) if (at < bad.length) bad[at] = value;
        try {
          await readModel(chosenFiles([...chosen("config.json"), file(NAMES[2], bad)]), {});
        } catch (error) {
          expect(
            [FormatError, ConfigError, ShapeError].some((kind) => error instanceof kind),
            String(error),
          ).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
  });
});
