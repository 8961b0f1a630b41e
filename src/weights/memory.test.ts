import { open, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DTYPE_BYTES, type DType, type HostTensor, sizeOf } from "../core/index.ts";
import { type ViTConfig, vitPreset } from "../nn/index.ts";
import { Contents } from "./folder/contents.ts";
import { openViT } from "./folder/open-vit.ts";
import { readBackbone } from "./folder/read-backbone.ts";
import { dialectOf, storedShapes, toHuggingFace, vitLinks } from "./names/index.ts";
import { encodeHeader } from "./safetensors-header.ts";
import { openSafetensors, writeSafetensors } from "./safetensors.ts";
import { openShards, openTensors, type TensorSource } from "./tensor-source.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void; // what the flag defines
const MB = 2 ** 20;

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera memory "));
});
afterAll(() => rm(root, { recursive: true }));
const at = (...parts: string[]): string => join(root, ...parts);

/** By how many bytes of tensors and buffers more is held after `work`. */
async function grownBytes(work: () => Promise<void>): Promise<number> {
  collect();
  const before = process.memoryUsage().arrayBuffers;
  await work();
  collect();
  return process.memoryUsage().arrayBuffers - before;
}

interface Sparse {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** A safetensors file of the right length whose values are a hole (zeros), but for those of one tensor. */
async function writeSparse(path: string, tensors: ReadonlyMap<string, Sparse>, filled?: readonly [string, Uint8Array]): Promise<void> {
  const { bytes, layout } = encodeHeader(
    [...tensors].map(([name, tensor]) => ({ name, ...tensor })),
    {},
  );
  const file = await open(path, "w");
  try {
    await file.write(bytes);
    await file.truncate(bytes.length + layout.reduce((n, { begin, end }) => n + end - begin, 0));
    const place = layout.find(({ name }) => name === filled?.[0]);
    if (place !== undefined && filled !== undefined) await file.write(filled[1], 0, filled[1].length, bytes.length + place.begin);
  } finally {
    await file.close();
  }
}

/** The tensors of DINOv3's 7B under Hugging Face's names: 27 GB in float32. */
function largest(): ReadonlyMap<string, Sparse> {
  const config = vitPreset("facebook/dinov3-vit7b16-pretrain-lvd1689m");
  const shapes = storedShapes(vitLinks(config, dialectOf("huggingface", config)));
  return new Map([...shapes].map(([name, shape]) => [name, { dtype: "f32", shape } as const]));
}

/** Windows fills files that are made longer. */
const hasHoles = process.platform !== "win32";

test.skipIf(!hasHoles)("a file of 27 GB opens, lists its tensors and gives one of them in a few megabytes", async () => {
  const path = at("large.safetensors");
  const values = Float32Array.from({ length: 4096 }, (_, i) => i);
  await writeSparse(path, largest(), ["norm.bias", new Uint8Array(values.buffer)]);
  const { size, blocks } = await stat(path);
  expect(size).toBeGreaterThan(26e9);
  expect(blocks * 512).toBeLessThan(10 * MB);
  let source: TensorSource | undefined;
  const opening = async (): Promise<void> => {
    source = await openTensors(path);
  };
  expect(await grownBytes(opening)).toBeLessThan(4 * MB);
  await using file = source ?? expect.fail();
  expect(file.entries.size).toBe(largest().size);
  expect(await grownBytes(async () => expect((await file.read("norm.bias")).data).toEqual(values))).toBeLessThan(4 * MB);
});

test.skipIf(!hasHoles)("rows of a large tensor are read without the others", async () => {
  const path = at("rows.safetensors");
  await writeSparse(path, new Map([["features", { dtype: "f32", shape: [2 ** 22, 1024] }]])); // 17 GB
  await using file = await openSafetensors(path);
  const rows = await file.readRows("features", 2 ** 22 - 2, 2 ** 22);
  expect([rows.shape, rows.data.every((x) => x === 0)]).toEqual([[2, 1024], true]);
});

test.skipIf(!hasHoles)("shards of 27 GB open by their index in a few megabytes", async () => {
  const all = [...largest()];
  const names = ["a.safetensors", "b.safetensors", "c.safetensors"];
  const weightMap: Record<string, string> = {};
  for (const [i, file] of names.entries()) {
    const part = all.filter((_, n) => n % names.length === i);
    await writeSparse(at(file), new Map(part));
    for (const [name] of part) weightMap[name] = file;
  }
  let source: TensorSource | undefined;
  const opening = async (): Promise<void> => {
    source = await openShards(at("model.safetensors.index.json"), { weight_map: weightMap });
  };
  expect(await grownBytes(opening)).toBeLessThan(4 * MB);
  await using shards = source ?? expect.fail();
  expect(shards.entries.size).toBe(all.length);
  expect((await shards.read("norm.bias")).data).toEqual(new Float32Array(4096));
});

test.skipIf(!hasHoles)("readBackbone() of 27 GB that are another network's says so before it reads a value", async () => {
  await writeSparse(at("other.safetensors"), largest());
  const asking = readBackbone(at("other.safetensors"), { arch: "dinov3_vits16" }).catch((error: unknown) => String(error));
  expect(await grownBytes(async () => expect(await asking).toMatch(/they look like "dinov3_vit7b16"/))).toBeLessThan(8 * MB);
});

/** Counts, at every read, the bytes it gave before that are still held though the network has no use for them. */
class Watched implements TensorSource {
  readonly path: string;
  readonly entries: TensorSource["entries"];
  mostBytes = 0;
  readonly #source: TensorSource;
  readonly #given: { readonly ref: WeakRef<object>; readonly bytes: number }[] = [];
  readonly #isCopied: (name: string) => boolean;

  constructor(source: TensorSource, isCopied: (name: string) => boolean) {
    [this.#source, this.path, this.entries, this.#isCopied] = [source, source.path, source.entries, isCopied];
  }

  async read(name: string): Promise<HostTensor> {
    collect();
    const held = this.#given.reduce((n, { ref, bytes }) => n + (ref.deref() === undefined ? 0 : bytes), 0);
    this.mostBytes = Math.max(this.mostBytes, held);
    const tensor = await this.#source.read(name);
    if (this.#isCopied(name)) this.#given.push({ ref: new WeakRef(tensor.data.buffer), bytes: tensor.data.byteLength });
    return tensor;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]();
  }
}

const MIDDLE: ViTConfig = { ...vitPreset("dinov2_vits14"), width: 192, heads: 3, depth: 3 };

/** Writes zeros for the network under Hugging Face's names, which keep queries, keys and values apart. */
async function writeZeros(file: string, dtype: "f32" | "bf16"): Promise<void> {
  const ours = new Map(
    [...storedShapes(vitLinks(MIDDLE, "meta"))].map(([name, shape]) => {
      return [name, { dtype: "f32", shape, data: new Float32Array(sizeOf(shape)) } as const];
    }),
  );
  const stored = [...toHuggingFace(ours, MIDDLE)].map(([name, { shape }]) => {
    const length = sizeOf(shape);
    return [name, { dtype, shape, data: dtype === "f32" ? new Float32Array(length) : new Uint16Array(length) }] as const;
  });
  await writeSafetensors(file, new Map(stored));
}

test.each(["f32", "bf16"] as const)(
  "what is copied of a network of %s is let go, parameter by parameter, while it is read",
  async (dtype) => {
    const file = at(`${dtype}.safetensors`);
    await writeZeros(file, dtype);
    const isCopied = (name: string): boolean => dtype !== "f32" || /\.(?:query|key|value)\./.test(name);
    await using source = new Watched(await openTensors(file), isCopied);
    const asked = { file, described: MIDDLE, named: undefined, name: undefined, source: "huggingface" } as const;
    const { tensors } = await openViT(new Contents(source), "hf-dinov2", asked);
    const { width } = MIDDLE;
    const largest = Math.max(...[...tensors].map(([, { shape }]) => sizeOf(shape))) * DTYPE_BYTES[dtype];
    expect(source.mostBytes).toBeGreaterThanOrEqual(width * width * DTYPE_BYTES[dtype]); // two of three parts
    expect(source.mostBytes).toBeLessThanOrEqual(largest);
  },
);

test("a header that claims more than its file has is refused before anything is allocated", async () => {
  const bytes = new Uint8Array(64);
  new DataView(bytes.buffer).setBigUint64(0, 99_000_000n, true);
  await writeFile(at("claim.safetensors"), bytes);
  const asking = async (): Promise<void> => {
    await expect(openTensors(at("claim.safetensors"))).rejects.toThrow(/claims a header of 99000000 bytes in a file of 64/);
  };
  expect(await grownBytes(asking)).toBeLessThan(MB);
});
