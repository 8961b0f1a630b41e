import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { FormatError, type HostTensor, sizeOf } from "../core/index.ts";
import { encodeModel, type OnnxModel } from "../engine/onnx/index.ts";
import { WireWriter } from "../engine/onnx/wire.ts";
import type { ViTConfig } from "../nn/index.ts";
import { readBackbone } from "./folder/read-backbone.ts";
import { toHuggingFace } from "./names/index.ts";
import { readNpy, writeNpy } from "./npy.ts";
import { readOnnxFile } from "./onnx/index.ts";
import { encodeSafetensors, writeSafetensors } from "./safetensors.ts";
import { openShards, openTensors, type TensorSource } from "./tensor-source.ts";
import { toHuggingFaceConfig } from "./folder/hf-config.ts";
import { randomBackbone } from "./testing/random-weights.ts";
import { SMALL_VIT } from "../nn/testing/small-vit.ts";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera mutated "));
});
afterAll(() => rm(root, { recursive: true }));
const at = (...parts: string[]): string => join(root, ...parts);

/** No file here has more than a few kilobytes; a window of a legacy file has one megabyte at most. */
const MOST_BYTES = 4 * 2 ** 20;

const ARRAYS = { Uint8Array, Uint16Array, Uint32Array, Int32Array, Float32Array, Float64Array, BigInt64Array } as const;

/** An array type that refuses to be made large: what a damaged file claims must not be allocated. */
function limited<T extends (typeof ARRAYS)[keyof typeof ARRAYS]>(array: T): T {
  return new Proxy(array, {
    construct(target, args: readonly unknown[], newTarget) {
      const [first] = args;
      if (typeof first === "number" && first * target.BYTES_PER_ELEMENT > MOST_BYTES) throw new Error(`${first} values were allocated`);
      return Reflect.construct(target, args, newTarget === proxyOf(target) ? target : newTarget) as object;
    },
  });
}
const proxies = new Map<object, object>();
const proxyOf = (target: object): unknown => proxies.get(target);

beforeEach(() => {
  for (const [name, array] of Object.entries(ARRAYS)) {
    const proxy = limited(array);
    proxies.set(array, proxy);
    Object.defineProperty(globalThis, name, { value: proxy, configurable: true, writable: true });
  }
});
afterEach(() => {
  for (const [name, array] of Object.entries(ARRAYS))
    Object.defineProperty(globalThis, name, { value: array, configurable: true, writable: true });
});

/** One change, anywhere: a byte, a number that is as large as can be, a run of digits, a stretch of the file once more, or none of it. */
type Edit =
  | { readonly kind: "byte"; readonly at: number; readonly value: number }
  | { readonly kind: "long"; readonly at: number; readonly value: bigint }
  | { readonly kind: "text"; readonly at: number; readonly value: string }
  | { readonly kind: "copy"; readonly at: number; readonly from: number; readonly length: number }
  | { readonly kind: "cut"; readonly at: number }
  | { readonly kind: "remove"; readonly at: number; readonly length: number };

const place = fc.double({ min: 0, max: 0.9999, noNaN: true });
const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.record({ kind: fc.constant("byte"), at: place, value: fc.nat(255) }),
  fc.record({
    kind: fc.constant("long"),
    at: place,
    value: fc.constantFrom(0n, 1n, 2n ** 31n - 1n, 2n ** 32n - 1n, 2n ** 40n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n),
  }),
  fc.record({
    kind: fc.constant("text"),
    at: place,
    value: fc.constantFrom("9", "99999999", "-1", "1e9", "null", "..", "/", '"', "{", "}", "[]"),
  }),
  fc.record({ kind: fc.constant("copy"), at: place, from: place, length: fc.nat(64) }),
  fc.record({ kind: fc.constant("cut"), at: place }),
  fc.record({ kind: fc.constant("remove"), at: place, length: fc.nat(32) }),
);
const edits = fc.array(edit, { minLength: 1, maxLength: 3 });

function apply(bytes: Buffer, change: Edit): Buffer {
  const index = Math.floor(change.at * bytes.length);
  const [head, tail] = [bytes.subarray(0, index), bytes.subarray(index)];
  if (change.kind === "cut") return head;
  if (change.kind === "remove") return Buffer.concat([head, tail.subarray(change.length)]);
  if (change.kind === "copy") {
    const from = Math.floor(change.from * bytes.length);
    return Buffer.concat([head, bytes.subarray(from, from + change.length), tail]);
  }
  const long = Buffer.alloc(8);
  if (change.kind === "long") long.writeBigUInt64LE(change.value);
  const over = change.kind === "byte" ? Buffer.of(change.value) : change.kind === "long" ? long : Buffer.from(change.value);
  return Buffer.concat([head, over, tail.subarray(over.length)]);
}

const mutate = (bytes: Buffer, changes: readonly Edit[]): Buffer => changes.reduce(apply, bytes);

/** Runs a reader: undefined where it refuses, which it may do by a FormatError only. */
async function attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    expect(error).toBeInstanceOf(FormatError);
    expect((error as FormatError).message).toMatch(/^Cannot .*: .*; .*/s); // just checked
    return undefined;
  }
}

function expectWhole({ shape, data }: HostTensor): void {
  expect(data.length).toBe(sizeOf(shape));
}

/** Opens and reads all that can be read. How many tensors were. */
async function readAll(open: () => Promise<TensorSource>): Promise<number> {
  const source = await attempt(open);
  if (source === undefined) return 0;
  await using opened = source;
  let count = 0;
  for (const [name, { shape }] of opened.entries) {
    const tensor = await attempt(() => opened.read(name));
    if (tensor === undefined) continue;
    expectWhole(tensor);
    expect(tensor.shape).toEqual(shape);
    count++;
  }
  return count;
}

const FILES = new Map<string, HostTensor>([
  ["w", { dtype: "f32", shape: [3, 4], data: Float32Array.from({ length: 12 }, (_, i) => i) }],
  ["b16", { dtype: "bf16", shape: [5], data: Uint16Array.of(1, 2, 3, 4, 5) }],
  ["n", { dtype: "i64", shape: [2], data: BigInt64Array.of(1n, -1n) }],
]);
const TORCH = ["torch_zip.pth", "torch_legacy.pth"].map(
  (name) => [name, fileURLToPath(new URL(`../../golden/keys/${name}`, import.meta.url))] as const,
);

/** A small graph with weights. */
const ONNX: OnnxModel = {
  opset: 18,
  standard: true,
  nodes: [
    { op: "Conv", inputs: ["pixel_values", "w"], outputs: ["y"], attrs: { kernel_shape: { ints: [2, 2] }, strides: { ints: [2, 2] } } },
  ],
  initializers: [
    { name: "w", dtype: "f32", shape: [2, 3, 2, 2], data: new Float32Array(24) },
    { name: "b", dtype: "f16", shape: [7], data: new Uint16Array(7) },
  ],
  inputs: [{ name: "pixel_values", dtype: "f32", shape: ["n", 3, 8, 8] }],
  outputs: [{ name: "last_hidden_state", dtype: "f32", shape: ["n", 17, 2] }],
  metadata: { "tricera.config": '{"patchSizePx":4}' },
};

/** A second part of a model, which protobuf joins to the first: a graph of one weight of 16 bytes at byte 8 of a file beside it. */
function externalWeight(location: string): Uint8Array {
  const tensor = new WireWriter();
  tensor.int(1, 4);
  tensor.int(2, 1);
  tensor.string(8, "far");
  tensor.int(14, 1);
  for (const [key, value] of Object.entries({ location, offset: "8", length: "16" }))
    tensor.message(13, () => {
      tensor.string(1, key);
      tensor.string(2, value);
    });
  const [graph, model] = [new WireWriter(), new WireWriter()];
  graph.bytes(5, tensor.finish());
  model.bytes(7, graph.finish());
  return model.finish();
}

async function written(bytes: Buffer): Promise<string> {
  await writeFile(at("mutated.onnx"), bytes);
  return at("mutated.onnx");
}

describe("mutated files are refused by an error that says so, or read; nothing large is allocated", { timeout: 120_000 }, () => {
  const survive = async (good: Buffer, runs: number): Promise<void> => {
    const path = at("file");
    await writeFile(path, good);
    expect(await readAll(() => openTensors(path))).toBeGreaterThan(0);
    await fc.assert(
      fc.asyncProperty(edits, async (changes) => {
        await writeFile(path, mutate(good, changes));
        await readAll(() => openTensors(path));
      }),
      { numRuns: runs },
    );
  };

  test("safetensors", () => survive(Buffer.from(encodeSafetensors(FILES, { format: "pt" })), 600));
  test.for(TORCH)("%s", async ([, path], { skip }) => {
    skip(!existsSync(path), "its golden file is absent");
    await survive(readFileSync(path), 600);
  });

  test("npy", async () => {
    await writeNpy(at("good.npy"), { dtype: "f32", shape: [3, 4], data: new Float32Array(12) });
    const good = readFileSync(at("good.npy"));
    await fc.assert(
      fc.asyncProperty(edits, async (changes) => {
        await writeFile(at("bad.npy"), mutate(good, changes));
        const tensor = await attempt(() => readNpy(at("bad.npy")));
        if (tensor !== undefined) expectWhole(tensor);
      }),
      { numRuns: 600 },
    );
  });

  test("ONNX, and where its weights are said to lie", async () => {
    await writeFile(at("weights.bin"), new Uint8Array(4096));
    const inside = encodeModel(ONNX);
    const outside = Buffer.from(encodeModel({ ...ONNX, initializers: ONNX.initializers.slice(1) }));
    const good = Buffer.concat([inside, externalWeight("weights.bin")]);
    const { info } = await readOnnxFile(await written(good)); // protobuf joins both graphs
    expect([info.external.length, info.weights.get("float32"), info.inputs.length]).toEqual([1, 28, 1]);
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(Buffer.from(inside), outside, good), edits, async (bytes, changes) => {
        const file = await attempt(async () => readOnnxFile(await written(mutate(bytes, changes))));
        for (const { location, offset, length } of file?.info.external ?? []) {
          expect(resolve(root, location).startsWith(`${root}/`)).toBe(true);
          expect(Math.min(offset, length)).toBeGreaterThanOrEqual(0);
        }
        for (const { shape } of [...(file?.info.inputs ?? []), ...(file?.info.outputs ?? [])])
          for (const size of shape ?? []) expect(typeof size === "string" || size > 0).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  test("the index of shards, and the shards", async () => {
    const dir = at("shards");
    await mkdir(dir);
    const names = ["one.safetensors", "two.safetensors"];
    const shards = [...FILES].map(([name, tensor], i) => [names[i % 2] ?? "", name, tensor] as const);
    const weightMap = Object.fromEntries(shards.map(([file, name]) => [name, file]));
    const shardOf = (file: string): Buffer =>
      Buffer.from(encodeSafetensors(new Map(shards.filter(([f]) => f === file).map(([, name, tensor]) => [name, tensor]))));
    const good = names.map(shardOf);
    const index = Buffer.from(JSON.stringify({ metadata: { total_size: 84 }, weight_map: weightMap }));
    const write = async (files: readonly Buffer[]): Promise<void> => {
      for (const [i, file] of names.entries()) await writeFile(join(dir, file), files[i] ?? "");
    };
    const parse = (text: Buffer): unknown => {
      try {
        return JSON.parse(text.toString()) as unknown;
      } catch {
        return text.toString();
      }
    };
    const open = (raw: unknown): Promise<number> => readAll(() => openShards(join(dir, "model.safetensors.index.json"), raw));
    await write(good);
    expect(await open(parse(index))).toBe(3);
    await fc.assert(
      fc.asyncProperty(edits, fc.nat(2), async (changes, which) => {
        await write(good.map((bytes, i) => (i === which ? mutate(bytes, changes) : bytes)));
        await open(parse(which === 2 ? mutate(index, changes) : index));
      }),
      { numRuns: 400 },
    );
    await write(good);
    const file = fc.oneof(
      fc.constantFrom(...names, "..", "../x", "/etc/passwd", "", ".hidden", "three.safetensors", "__proto__"),
      fc.string(),
    );
    const map = fc.dictionary(fc.oneof(fc.constantFrom(...FILES.keys(), "__proto__", "constructor"), fc.string()), file);
    await fc.assert(
      fc.asyncProperty(map, async (weight_map) => void (await open({ weight_map }))),
      { numRuns: 200 },
    );
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (raw) => void (await open(raw))),
      { numRuns: 200 },
    );
  });

  test("a folder of a model: its config, processor, index and weights", async () => {
    const config: ViTConfig = { ...SMALL_VIT, imageSizePx: 8, width: 4, depth: 1, heads: 1 };
    const dir = at("folder");
    await mkdir(dir);
    const stored = toHuggingFace(randomBackbone(config), config);
    await writeSafetensors(join(dir, "shard.safetensors"), stored);
    const shard = readFileSync(join(dir, "shard.safetensors"));
    const files = {
      "config.json": Buffer.from(JSON.stringify(toHuggingFaceConfig(config))),
      "preprocessor_config.json": Buffer.from('{"size":{"height":8,"width":8},"image_mean":[0.5,0.5,0.5]}'),
      "model.safetensors.index.json": Buffer.from(
        JSON.stringify({ weight_map: Object.fromEntries([...stored.keys()].map((name) => [name, "shard.safetensors"])) }),
      ),
      "shard.safetensors": shard,
    };
    for (const [name, bytes] of Object.entries(files)) await writeFile(join(dir, name), bytes);
    const wanted = (await readBackbone(dir)).tensors;
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...Object.entries(files)), edits, async ([name, bytes], changes) => {
        await writeFile(join(dir, name), mutate(bytes, changes));
        const found = await attempt(() => readBackbone(dir));
        await writeFile(join(dir, name), bytes);
        for (const tensor of found?.tensors.values() ?? []) expectWhole(tensor);
        if (found !== undefined && name.includes("index")) expect(found.tensors).toEqual(wanted); // the index may not change a value
      }),
      { numRuns: 400 },
    );
  });
});

test("what is watched here is seen: a large array cannot be made", () => {
  expect(() => new Uint8Array(2 ** 30)).toThrow(/1073741824 values were allocated/);
  expect(() => new Float32Array(2 ** 21)).toThrow(/were allocated/);
  expect(new Uint8Array(8)).toBeInstanceOf(ARRAYS.Uint8Array);
});
