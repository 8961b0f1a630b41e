import { existsSync, readFileSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FormatError, type HostTensor } from "../../core/index.ts";
import type { ViTConfig } from "../../nn/index.ts";
import { asViT } from "../testing/as-vit.ts";
import { readBackbone } from "../folder/read-backbone.ts";
import { toFloat32 } from "../half.ts";
import { openTensors } from "../tensor-source.ts";
import { readPickle, type PickleRules, type PickleValue } from "./pickle.ts";
import { listTensors, torchRules } from "./tensors.ts";
import { openTorch } from "./torch-file.ts";
import { SMALL_VIT } from "../../nn/testing/small-vit.ts";

const GOLDEN = fileURLToPath(new URL("../../../golden/keys/", import.meta.url));
const hasFiles = existsSync(join(GOLDEN, "torch_files.json"));

interface Written {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly values: readonly (number | boolean)[];
}
const wanted = (): Readonly<Record<string, Written>> =>
  (JSON.parse(readFileSync(join(GOLDEN, "torch_files.json"), "utf8")) as { tensors: Record<string, Written> }).tensors; // our own reference file

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera torch "));
});
afterAll(() => rm(root, { recursive: true }));

const numbers = (t: HostTensor): number[] => Array.from((/^(f|bf)/.test(t.dtype) ? toFloat32(t) : t).data, Number);

describe.each(["torch_zip.pth", "torch_legacy.pth"])("%s", (name) => {
  test.skipIf(!hasFiles)("gives what torch.save was given: every type, views, transposed and strided tensors", async () => {
    await using source = await openTensors(join(GOLDEN, name));
    const all = Object.entries(wanted());
    expect([...source.entries.keys()].toSorted()).toEqual(all.map(([key]) => key).toSorted());
    for (const [key, { shape, values }] of all) {
      const tensor = await source.read(key);
      expect([key, tensor.shape, numbers(tensor)]).toEqual([key, shape, values.map(Number)]);
    }
    await expect(source.read("nothing")).rejects.toThrow(/"nothing" .* is not there/);
  });

  test.skipIf(!hasFiles)("opens as the backbone of its teacher", async () => {
    const arch: ViTConfig = { ...SMALL_VIT, imageSizePx: 4, patchSizePx: 2, width: 4, depth: 1, heads: 1 };
    const { source, config, tensors } = await readBackbone(join(GOLDEN, name), { arch });
    expect([source, asViT(config).posInterpolation, tensors.size]).toEqual(["meta", "meta-offset", 18]);
    for (const [key, t] of tensors) expect(numbers(t)).toEqual(wanted()[`teacher.backbone.${key}`]?.values);
  });
});

test.skipIf(!hasFiles)("a Hugging Face folder may hold pytorch_model.bin", async () => {
  const dir = join(root, "folder");
  await mkdir(dir);
  await copyFile(join(GOLDEN, "torch_zip.pth"), join(dir, "pytorch_model.bin"));
  const sizes = { hidden_size: 4, num_hidden_layers: 1, num_attention_heads: 1, intermediate_size: 8, image_size: 4, patch_size: 2 };
  await writeFile(join(dir, "config.json"), JSON.stringify({ model_type: "vit", ...sizes }));
  const { source, file, tensors } = await readBackbone(dir);
  expect([source, file, tensors.size]).toEqual(["huggingface", join(dir, "pytorch_model.bin"), 18]);
});

test.skipIf(!hasFiles).each(["torch_call.pth", "torch_call_legacy.pth"])(
  "%s wants a function called: it is refused by name",
  async (name) => {
    await expect(openTensors(join(GOLDEN, name))).rejects.toThrow(
      /it wants "posix\.system", and only tensors and plain data are read, nothing is run/,
    );
  },
);

/** Reads all of a file that can be read: nothing but a FormatError may come in the way. Undefined where it does not open. */
async function readAll(path: string): Promise<ReadonlyMap<string, HostTensor> | undefined> {
  const orRefusal = (error: unknown): undefined => {
    expect(error).toBeInstanceOf(FormatError);
  };
  await using source = await openTorch(path).catch(orRefusal);
  if (source === undefined) return undefined;
  const out = new Map<string, HostTensor>();
  for (const [name, { shape }] of source.entries) {
    const tensor = await source.read(name).catch(orRefusal);
    if (tensor === undefined) continue;
    expect(tensor.shape).toEqual(shape);
    out.set(name, tensor);
  }
  return out;
}

const codesOf = (text: string): number[] => Array.from({ length: text.length }, (_, i) => text.charCodeAt(i));

describe.skipIf(!hasFiles)("mutated files give an error or a right answer", () => {
  const mutate = (bytes: Uint8Array, edits: readonly (readonly [number, number])[], end: number): Uint8Array => {
    const out = bytes.slice(0, Math.round(bytes.length * end));
    for (const [at, value] of edits) if (out.length > 0) out[Math.floor(at * out.length)] = value;
    return out;
  };
  const edits = fc.array(fc.tuple(fc.double({ min: 0, max: 0.9999, noNaN: true }), fc.integer({ min: 0, max: 255 })), { maxLength: 4 });
  const end = fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.double({ min: 0.01, max: 1, noNaN: true }) });

  const corrupt = async (name: string, check: (tensors: ReadonlyMap<string, HostTensor>) => void): Promise<void> => {
    const bytes = new Uint8Array(readFileSync(join(GOLDEN, name)));
    const file = join(root, name);
    let [refused, opened] = [0, 0];
    await fc.assert(
      fc.asyncProperty(edits, end, async (changes, until) => {
        await writeFile(file, mutate(bytes, changes, until));
        const tensors = await readAll(file);
        if (tensors === undefined) refused++;
        else opened++;
        check(tensors ?? new Map());
      }),
      { numRuns: 200 },
    );
    expect(Math.min(refused, opened)).toBeGreaterThan(10);
  };

  test("zip archives, whose checksums tell", { timeout: 60_000 }, async () => {
    const right = wanted();
    await corrupt("torch_zip.pth", (tensors) => {
      for (const [key, t] of tensors) expect(numbers(t)).toEqual(right[key]?.values.map(Number));
    });
  });

  test("legacy files, which have none: values may differ, shapes may not leave their storage", { timeout: 60_000 }, async () => {
    await corrupt("torch_legacy.pth", (tensors) => {
      for (const t of tensors.values()) expect(t.data.length).toBeLessThanOrEqual(48);
    });
  });

  test("random programs of the pickle machine end, with data or a FormatError", () => {
    const opcodes = "(012NIJKMTUXBC]lae)t}dsupqrgjhcRQb.\x80\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x93\x94\x95\x81GFL\n0";
    const program = fc.array(fc.oneof(fc.constantFrom(...codesOf(opcodes)), fc.integer({ min: 0, max: 255 })), { maxLength: 60 });
    let built = 0;
    fc.assert(
      fc.property(program, (codes) => {
        try {
          const { value, length } = readPickle(Uint8Array.from([...codes, 0x2e]), torchRules("f"));
          listTensors(value, "f");
          expect(length).toBeLessThanOrEqual(codes.length + 1);
          built++;
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }),
      { numRuns: 3000 },
    );
    expect(built).toBeGreaterThan(10);
  });
});

/** A pickle of bytes and text. */
function pickle(...parts: readonly (string | number | readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((p) => (typeof p === "string" ? codesOf(p) : typeof p === "number" ? [p] : [...p])));
}
const DATA: PickleRules = { file: "some.pkl", call: () => undefined, allows: () => false, persistent: () => undefined };
const read = (...parts: readonly (string | number | readonly number[])[]): PickleValue => readPickle(pickle(...parts), DATA).value;

test("readPickle() reads plain data of protocols 0 to 5", () => {
  expect(read("I42\n.")).toBe(42);
  expect(read("I01\n.")).toBe(true);
  expect(read("L-7L\n.")).toBe(-7);
  expect(read("F2.5\n.")).toBe(2.5);
  expect(read("K\xff.")).toBe(255);
  expect(read("M\x01\x02.")).toBe(513);
  expect(read("J\xfe\xff\xff\xff.")).toBe(-2);
  expect(read(0x8a, 9, [0, 0, 0, 0, 0, 0, 0, 0, 1], ".")).toBe(2n ** 64n);
  expect(read(0x8a, 1, 0xff, ".")).toBe(-1);
  expect(read(0x8a, 0, ".")).toBe(0);
  expect(read("G", [0x3f, 0xf8, 0, 0, 0, 0, 0, 0], ".")).toBe(1.5);
  expect(read(0x80, 4, 0x95, [9, 0, 0, 0, 0, 0, 0, 0], 0x8c, 2, [0xc3, 0xa9], 0x94, ".")).toBe("é");
  expect(read("(K\x01K\x02t.")).toEqual([1, 2]);
  expect(read("](K\x01K\x02e.")).toEqual([1, 2]);
  expect(read("}(U\x01aNU\x01b", 0x88, "u.")).toEqual(
    new Map<PickleValue, PickleValue>([
      ["a", null],
      ["b", true],
    ]),
  );
  expect(read("]q\x00h\x00", 0x86, ".")).toEqual([[], []]);
  expect(read("B\x02\x00\x00\x00hi.")).toEqual(Uint8Array.of(104, 105));
});

describe("readPickle() refuses", () => {
  test.each<[string, readonly (string | number | readonly number[])[], RegExp]>([
    ["a class by name", ["cos\nsystem\n."], /^Cannot read pickle of "some\.pkl": it wants "os\.system"/],
    ["a class by the stack", [0x8c, 2, "os", 0x8c, 6, "system", 0x93, "."], /it wants "os\.system"/],
    ["an extension", [0x82, 1, "."], /unknown opcode 0x82 at byte 0/],
    ["an instance of protocol 0", ["(ios\nsystem\n."], /unknown opcode 0x69/],
    ["an object", ["(o."], /unknown opcode 0x6f/],
    ["a call of data", ["K\x01)R."], /it calls what is no function/],
    ["a persistent id", ["K\x01Q."], /it wants "a persistent id/],
    ["a state of data", ["K\x01}b."], /sets attributes of plain data/],
    ["a later protocol", [0x80, 9, "."], /protocol later than 5/],
    ["an empty stack", ["."], /its stack is empty/],
    ["no mark", ["t."], /it has no mark/],
    ["a mark as a value", ["(."], /its stack is empty/],
    ["no end", ["N"], /cut off at byte 1/],
    ["a string longer than the file", ["X\xff\xff\xff\x7f."], /cut off at byte 6, in a value of 2147483647 bytes/],
    ["a string longer than any file", [0x8d, [0, 0, 0, 0, 0, 0, 0, 0x7f], "."], /cut off/],
    ["an integer of a million bytes", [0x8b, [64, 66, 15, 0], "."], /an integer of 1000000 bytes/],
    ["broken UTF-8", ["X\x01\x00\x00\x00\xff."], /not UTF-8/],
    ["a value that was never kept", ["h\x05."], /recalls value 5/],
    ["items of a list", ["]K\x01K\x02s."], /no dict/],
    ["items in odd number", ["}(K\x01u."], /no dict/],
    ["appending to a dict", ["}K\x01a."], /no list/],
    ["a number that is none", ["Ix\n."], /the integer "x"/],
    ["a float that is none", ["Fabc\n."], /the number "abc"/],
  ])("%s", (_, parts, message) => {
    expect(() => read(...parts)).toThrow(FormatError);
    expect(() => read(...parts)).toThrow(message);
  });
});

test("listTensors() ends for data that holds itself, unfolds without end, or has names without end", () => {
  const loop: PickleValue[] = [];
  loop.push(loop);
  expect(() => listTensors(loop, "f")).toThrow(/it nests 32 dicts or lists/);
  let bomb: PickleValue = [1];
  for (let i = 0; i < 30; i++) bomb = [bomb, bomb, bomb, bomb];
  expect(() => listTensors(bomb, "f")).toThrow(/more than 2000000 values/);
  expect(() => listTensors(new Map([["x".repeat(2000), 1]]), "f")).toThrow(/a key has 2000 characters/);
});

/** A pickled tensor over a storage of 4 values. */
function tensorPickle(view: {
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly storage?: string;
}): Uint8Array {
  const { storage = "FloatStorage" } = view;
  const int = (n: number): string => `I${n}\n`;
  const tuple = (ns: readonly number[]): string => `(${ns.map(int).join("")}t`;
  return pickle(
    "}U\x01w",
    `ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\n${storage}\nU\x010U\x03cpu`,
    int(4),
    "tQ",
    int(view.offset),
    tuple(view.shape),
    tuple(view.strides),
    0x89,
    "}tRs.",
  );
}

test.each([
  [{ offset: 0, shape: [2, 2], strides: [2, 1] }, true],
  [{ offset: 1, shape: [3], strides: [1] }, true],
  [{ offset: 0, shape: [0, 9], strides: [1, 1] }, true],
  [{ offset: 2, shape: [3], strides: [1] }, false],
  [{ offset: 0, shape: [3], strides: [2] }, false],
  [{ offset: 0, shape: [1_000_000_000], strides: [0] }, false],
  [{ offset: 0, shape: [2], strides: [1, 1] }, false],
])("a tensor %j over 4 values is read: %s", (view, isRight) => {
  const list = (): unknown => listTensors(readPickle(tensorPickle(view), torchRules("f")).value, "f");
  if (isRight) expect(list()).toEqual(new Map([["w", expect.objectContaining(view)]]));
  else expect(list).toThrow(/does not lie in its storage of 4 values/);
});

interface Entry {
  readonly name: string;
  readonly data: Uint8Array;
  readonly method?: number;
  readonly crc?: number;
}

/** A stored zip archive. */
function zip(entries: readonly Entry[]): Uint8Array {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, data, method = 0, crc = crc32(data) } of entries) {
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50);
    local.writeUInt16LE(name.length, 26);
    const record = Buffer.alloc(46);
    record.writeUInt32LE(0x02014b50);
    record.writeUInt16LE(method, 10);
    record.writeUInt32LE(crc, 16);
    record.writeUInt32LE(data.length, 20);
    record.writeUInt32LE(data.length, 24);
    record.writeUInt16LE(name.length, 28);
    record.writeUInt32LE(at, 42);
    parts.push(local, Buffer.from(name), Buffer.from(data));
    directory.push(record, Buffer.from(name));
    at += 30 + name.length + data.length;
  }
  const list = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50);
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(list.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, list, end]);
}

describe("archives", () => {
  const data = tensorPickle({ offset: 0, shape: [4], strides: [1] });
  const values = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer);
  const good: readonly Entry[] = [
    { name: "a/data.pkl", data },
    { name: "a/byteorder", data: pickle("little") },
    { name: "a/data/0", data: values },
  ];
  const open = async (entries: readonly Entry[], change: (bytes: Uint8Array) => Uint8Array = (b) => b): Promise<HostTensor> => {
    const file = join(root, "archive.pth");
    await writeFile(file, change(zip(entries)));
    await using source = await openTensors(file);
    return await source.read("w");
  };

  test("as PyTorch writes them are read", async () => {
    expect(await open(good)).toEqual({ dtype: "f32", shape: [4], data: Float32Array.of(1, 2, 3, 4) });
  });

  const swap = (name: string, entry: Partial<Entry>): readonly Entry[] => good.map((e) => (e.name === name ? { ...e, ...entry } : e));
  test.each<[string, readonly Entry[], RegExp]>([
    ["a name with ..", [...good, { name: "a/../../x", data }], /an entry named "a\/\.\.\/\.\.\/x"/],
    ["an absolute name", [...good, { name: "/etc/x", data }], /an entry named "\/etc\/x"/],
    ["two entries of one name", [...good, { name: "a/data/0", data }], /two entries named "a\/data\/0"/],
    ["a compressed entry", swap("a/data/0", { method: 8 }), /"a\/data\/0" is compressed or encrypted/],
    ["a wrong checksum of values", swap("a/data/0", { crc: 1 }), /checksum of its entry "a\/data\/0" is wrong/],
    ["a wrong checksum of the pickle", swap("a/data.pkl", { crc: 1 }), /checksum of its entry "a\/data\.pkl" is wrong/],
    ["a storage of another length", swap("a/data/0", { data: values.subarray(4) }), /a storage of 4 values has 12 bytes/],
    ["no storage", good.slice(0, 2), /lacks storage "0"/],
    ["no pickle", good.slice(1), /no data\.pkl/],
    ["several pickles", [...good, { name: "b/data.pkl", data }], /several data\.pkl/],
    ["a TorchScript program", [...good, { name: "a/constants.pkl", data }], /a TorchScript program/],
    ["big-endian values", swap("a/byteorder", { data: pickle("big") }), /not little-endian/],
  ])("with %s are refused", async (_, entries, message) => {
    await expect(open(entries)).rejects.toThrow(FormatError);
    await expect(open(entries)).rejects.toThrow(message);
  });

  test("of values that have no type of ours are refused when those are read; whole numbers are widened", async () => {
    const stored = (storage: string, bytes: Uint8Array): readonly Entry[] =>
      swap("a/data/0", { data: bytes }).map((e) =>
        e.name === "a/data.pkl" ? { name: e.name, data: tensorPickle({ offset: 0, shape: [4], strides: [1], storage }) } : e,
      );
    await expect(open(stored("ComplexFloatStorage", new Uint8Array(32)))).rejects.toThrow(
      /values of torch\.ComplexFloatStorage are not known; save them as float32/,
    );
    expect(await open(stored("CharStorage", Uint8Array.of(255, 0, 1, 128)))).toEqual({
      dtype: "i32",
      shape: [4],
      data: Int32Array.of(-1, 0, 1, -128),
    });
  });

  test("that are cut off, or claim more entries, are refused", async () => {
    for (const part of [0.3, 0.7, 0.99])
      await expect(open(good, (b) => b.subarray(0, Math.floor(b.length * part)))).rejects.toThrow(/cut off/);
    const claim = (b: Uint8Array): Uint8Array => {
      const out = Uint8Array.from(b);
      out[out.length - 12] = 9;
      return out;
    };
    await expect(open(good, claim)).rejects.toThrow(/claims 9 entries and lists 3/);
  });

  test("that read more than eight times what they hold are refused", async () => {
    const file = join(root, "shared.pth");
    await writeFile(
      file,
      zip([
        { ...good[0]!, data },
        { name: "a/data/0", data: new Uint8Array(16) },
      ]),
    );
    await using source = await openTorch(file);
    const all = async (): Promise<void> => {
      for (let i = 0; i < 1000; i++) await source.read("w");
    };
    await expect(all()).rejects.toThrow(/more than 8 times what it holds/);
  });
});
