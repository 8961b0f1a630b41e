import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { FormatError, sizeOf, type DType, type HostTensor } from "../core/index.ts";
import { goldenBase } from "../core/testing/golden.ts";
import { decodeSafetensors, encodeSafetensors, openSafetensors, readSafetensors, writeSafetensors } from "./safetensors.ts";
import { openTensors } from "./tensor-source.ts";
import { tensorOf } from "./tensor-bytes.ts";

const root = mkdtempSync(join(tmpdir(), "tricera-safetensors-"));
afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

const MIXED: ReadonlyMap<string, HostTensor> = new Map<string, HostTensor>([
  ["flag", { dtype: "bool", shape: [3], data: Uint8Array.of(1, 0, 1) }],
  ["w", { dtype: "f32", shape: [2, 2], data: Float32Array.of(1, -2, 3.5, Number.NaN) }],
  ["10", { dtype: "i64", shape: [1], data: BigInt64Array.of(-5n) }],
  ["bytes", { dtype: "u8", shape: [5], data: Uint8Array.of(1, 2, 3, 4, 5) }],
  ["b16", { dtype: "bf16", shape: [1], data: Uint16Array.of(0x3f80) }],
  ["i", { dtype: "i32", shape: [], data: Int32Array.of(-7) }],
  ["d", { dtype: "f64", shape: [1, 1], data: Float64Array.of(1e-300) }],
  ["none", { dtype: "f32", shape: [0, 4], data: new Float32Array(0) }],
]);

/** A file with any header text over any body. */
function craft(header: string, bodyBytes = 0): Uint8Array {
  const json = new TextEncoder().encode(header);
  const out = new Uint8Array(8 + json.length + bodyBytes);
  new DataView(out.buffer).setBigUint64(0, BigInt(json.length), true);
  out.set(json, 8);
  return out;
}

const one = (dtype: string, shape: string, offsets: string): string =>
  `{"a":{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}}`;

test("encodeSafetensors() and decodeSafetensors() keep values, order and metadata, every tensor aligned", () => {
  const bytes = encodeSafetensors(MIXED, { format: "pt", note: 'quote " and ü' });
  const { tensors, metadata } = decodeSafetensors(bytes);
  expect([...tensors.keys()]).toEqual([...MIXED.keys()]);
  expect(tensors).toEqual(MIXED);
  expect(metadata).toEqual({ format: "pt", note: 'quote " and ü' });
  expect(encodeSafetensors(tensors, metadata)).toEqual(bytes);
  expect(bytes.length % 1).toBe(0);
});

test("writeSafetensors() writes the bytes of encodeSafetensors(), also of streamed and shared memory", async () => {
  const path = join(root, "mixed.safetensors");
  await writeSafetensors(path, MIXED, { a: "b" });
  expect(new Uint8Array(readFileSync(path))).toEqual(encodeSafetensors(MIXED, { a: "b" }));
  expect((await readSafetensors(path)).tensors).toEqual(MIXED);

  const shared = new Float32Array(new SharedArrayBuffer(16), 4, 2);
  shared.set([8, 9]);
  function* pieces(): Generator<Uint8Array> {
    for (const v of [1, 2, 3]) yield new Uint8Array(Float32Array.of(v).buffer);
  }
  await writeSafetensors(
    path,
    new Map([
      ["shared", { dtype: "f32" as const, shape: [2], data: shared }],
      ["streamed", { dtype: "f32" as const, shape: [3], pieces }],
    ]),
  );
  const { tensors } = await readSafetensors(path);
  expect(tensors.get("shared")?.data).toEqual(Float32Array.of(8, 9));
  expect(tensors.get("streamed")?.data).toEqual(Float32Array.of(1, 2, 3));
});

test("writeSafetensors() refuses a streamed tensor of another size and keeps the old file", async () => {
  const path = join(root, "streamed.safetensors");
  await writeSafetensors(path, MIXED);
  for (const bytes of [3, 5]) {
    const pieces = (): Uint8Array[] => [new Uint8Array(bytes)];
    await expect(writeSafetensors(path, new Map([["x", { dtype: "u8" as const, shape: [4], pieces }]]))).rejects.toThrow(
      `its pieces have ${bytes} bytes`,
    );
  }
  expect((await readSafetensors(path)).tensors.size).toBe(MIXED.size);
  expect(readdirSync(root).filter((n) => n.includes("partial"))).toEqual([]);
});

test("openSafetensors() reads single tensors and rows; an unknown name gets a hint", async () => {
  const path = join(root, "rows.safetensors");
  await writeSafetensors(
    path,
    new Map([["features", { dtype: "f32" as const, shape: [4, 2], data: Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7) }]]),
  );
  await using file = await openSafetensors(path);
  expect(file.entries.get("features")?.shape).toEqual([4, 2]);
  expect(await file.readRows("features", 1, 3)).toEqual({ dtype: "f32", shape: [2, 2], data: Float32Array.of(2, 3, 4, 5) });
  await expect(file.readRows("features", 3, 5)).rejects.toThrow("Cannot read rows 3 to 5");
  await expect(file.read("feature")).rejects.toThrow('did you mean "features"?');
  await expect(readSafetensors(path, { names: ["x"] })).rejects.toThrow('Cannot read tensor "x"');
});

test("decodeSafetensors() turns float16 into float32", () => {
  const bytes = craft(one("F16", "[4]", "[0,8]"), 8);
  bytes.set(new Uint8Array(Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7c00).buffer), bytes.length - 8);
  expect(decodeSafetensors(bytes).tensors.get("a")).toEqual({ dtype: "f32", shape: [4], data: Float32Array.of(1, -2, 2 ** -24, Infinity) });
});

test.each([
  ["I8", Uint8Array.of(255, 128, 1, 0), { dtype: "i32", shape: [4], data: Int32Array.of(-1, -128, 1, 0) }],
  ["I16", Int16Array.of(-32_768, 7), { dtype: "i32", shape: [2], data: Int32Array.of(-32_768, 7) }],
  ["U16", Uint16Array.of(65_535, 7), { dtype: "i32", shape: [2], data: Int32Array.of(65_535, 7) }],
  ["U32", Uint32Array.of(2 ** 32 - 1), { dtype: "i64", shape: [1], data: BigInt64Array.of(2n ** 32n - 1n) }],
  ["U64", BigUint64Array.of(2n ** 63n - 1n), { dtype: "i64", shape: [1], data: BigInt64Array.of(2n ** 63n - 1n) }],
] as const)("decodeSafetensors() widens %s", (dtype, values, wanted) => {
  const bytes = craft(one(dtype, `[${wanted.shape.join()}]`, `[0,${values.byteLength}]`), values.byteLength);
  bytes.set(new Uint8Array(values.buffer), bytes.length - values.byteLength);
  expect(decodeSafetensors(bytes).tensors.get("a")).toEqual(wanted);
});

test("decodeSafetensors() refuses a number that int64 does not hold", () => {
  const bytes = craft(one("U64", "[1]", "[0,8]"), 8).fill(255, -8);
  expect(() => decodeSafetensors(bytes)).toThrow(/18446744073709551615 is more than int64 holds/);
});

test.each([
  ["an empty file", new Uint8Array(0), "0 bytes and is cut off"],
  ["a hostile header length", Uint8Array.from({ length: 16 }, () => 255), "no safetensors file"],
  ["a header longer than the file", craft("{}").slice(0, 9), "header of 2 bytes in a file of 9"],
  ["text that is not JSON", craft("{nope"), "header is not JSON"],
  ["an array", craft("[]"), "does not start with {"],
  [
    "bytes that are not UTF-8",
    (() => {
      const b = craft("{  }");
      b[9] = 0xff;
      return b;
    })(),
    "not UTF-8",
  ],
  ["metadata that is no object", craft('{"__metadata__":[1]}'), "__metadata__ is not an object"],
  ["metadata that is no string", craft('{"__metadata__":{"a":1}}'), '__metadata__ "a" is not a string'],
  ["an unknown dtype", craft(one("F8_E4M3", "[1]", "[0,1]"), 1), 'dtype "F8_E4M3"'],
  [
    "two tensors of one name",
    craft('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\\u0061" :{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
    'two tensors are called "a"',
  ],
  ["metadata twice", craft('{"__metadata__":{},"__metadata__":{}}'), 'two tensors are called "__metadata__"'],
  ["a negative size", craft(one("U8", "[-1]", "[0,1]"), 1), "shape [-1]"],
  ["a fractional size", craft(one("U8", "[1.5]", "[0,1]"), 1), "shape [1.5]"],
  ["an overflowing shape", craft(one("F64", "[9007199254740991,9007199254740991]", "[0,8]"), 8), "impossible shape"],
  ["offsets that disagree with the shape", craft(one("F32", "[2]", "[0,4]"), 4), "F32[2] needs 8"],
  ["offsets the wrong way round", craft(one("U8", "[0]", "[4,0]"), 4), "-4 bytes"],
  ["three offsets", craft(one("U8", "[1]", "[0,1,2]"), 1), "data_offsets [0,1,2]"],
  ["an entry that is null", craft('{"a":null}'), "not described by an object"],
  ["a truncated body", craft(one("F32", "[2]", "[0,8]"), 5), 'cut off in tensor "a" (3 bytes missing)'],
  ["trailing bytes", craft(one("U8", "[1]", "[0,1]"), 3), "2 bytes after the last tensor"],
  [
    "overlapping tensors",
    craft('{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}', 3),
    'tensor "b" overlaps',
  ],
  [
    "a gap",
    craft('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}', 3),
    "gap of 1 bytes",
  ],
])("decodeSafetensors() refuses %s", (_what, bytes, message) => {
  expect(() => decodeSafetensors(bytes, "m.safetensors")).toThrow(FormatError);
  expect(() => decodeSafetensors(bytes, "m.safetensors")).toThrow(message);
  expect(() => decodeSafetensors(bytes, "m.safetensors")).toThrow(/"m.safetensors".*byte \d+/);
});

test("readSafetensors() names a truncated file, a folder and an absent file", async () => {
  const path = join(root, "cut.safetensors");
  await writeSafetensors(path, MIXED);
  truncateSync(path, readFileSync(path).length - 3);
  await expect(readSafetensors(path)).rejects.toThrow(/cut\.safetensors.*cut off in tensor/);
  writeFileSync(path, "");
  await expect(readSafetensors(path)).rejects.toThrow("0 bytes and is cut off");
  await expect(readSafetensors(root)).rejects.toThrow("it is not a file");
  await expect(readSafetensors(join(root, "absent"))).rejects.toThrow(/Cannot open ".*absent": ENOENT/);
});

const dtypes: readonly DType[] = ["f32", "f64", "bf16", "i32", "i64", "u8", "bool"];
const anyTensor = fc
  .record({
    dtype: fc.constantFrom(...dtypes),
    shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }),
    fill: fc.integer({ min: 0, max: 255 }),
  })
  .map(({ dtype, shape, fill }): HostTensor =>
    tensorOf(dtype, shape, new Uint8Array(sizeOf(shape) * { f32: 4, f64: 8, bf16: 2, i32: 4, i64: 8, u8: 1, bool: 1 }[dtype]).fill(fill)),
  );

test("safetensors round-trip: any tensors under any names", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(
        fc.tuple(
          fc.string({ unit: "grapheme" }).filter((s) => s !== "__metadata__"),
          anyTensor,
        ),
        { selector: ([k]) => k, maxLength: 6 },
      ),
      (pairs) => {
        const tensors = new Map(pairs);
        const bytes = encodeSafetensors(tensors);
        const back = decodeSafetensors(bytes).tensors;
        expect([...back.keys()]).toEqual([...tensors.keys()]);
        expect(encodeSafetensors(back)).toEqual(bytes);
      },
    ),
  );
});

test("decodeSafetensors() and readSafetensors() refuse a file that is cut anywhere", async () => {
  const [good, path] = [encodeSafetensors(MIXED, { a: "b" }), join(root, "every cut.safetensors")];
  for (let keep = 0; keep < good.length; keep++) {
    expect(() => decodeSafetensors(good.slice(0, keep)), `${keep} bytes`).toThrow(FormatError);
    if (keep % 7 !== 0) continue;
    writeFileSync(path, good.subarray(0, keep));
    await expect(readSafetensors(path), `${keep} bytes`).rejects.toThrow(FormatError);
  }
});

test("decodeSafetensors() gives tensors that fill their shapes, or a FormatError, whatever the bytes", () => {
  const good = encodeSafetensors(MIXED, { a: "b" });
  const attempt = (bytes: Uint8Array): void => {
    try {
      for (const { shape, data } of decodeSafetensors(bytes).tensors.values()) expect(data.length).toBe(sizeOf(shape));
    } catch (error) {
      expect(error).toBeInstanceOf(FormatError);
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), attempt));
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
      fc.nat(good.length),
      (edits, keep) => {
        const bytes = good.slice();
        for (const [at, value] of edits) bytes[at] = value;
        attempt(bytes);
        attempt(bytes.slice(0, keep));
      },
    ),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.json(), (json) => {
      attempt(craft(json, 8));
    }),
  );
});

test.for([
  ["models", "hf_dino_v1"],
  ["losses", "koleo"],
  ["metrics", "knn"],
] as const)("encodeSafetensors() gives the reference writer's bytes for its own file %s/%s", ([topic, name], { skip }) => {
  const base = goldenBase(topic, name);
  if (base === undefined) return skip();
  const bytes = new Uint8Array(readFileSync(`${base}.safetensors`));
  const { tensors, metadata } = decodeSafetensors(bytes, name);
  expect(Buffer.compare(encodeSafetensors(tensors, metadata), bytes)).toBe(0);
});

test.each([640, 896, 1152, 1408])("a header of %i bytes, which begins as a pickle does, is read as safetensors", async (length) => {
  const path = join(root, `header-${length}.safetensors`);
  const tensors = new Map([["w", { dtype: "f32", shape: [1], data: Float32Array.of(3) } as const]]);
  const bare = encodeSafetensors(tensors, { pad: "" });
  const pad = "x".repeat(length + 8 + 4 - bare.length);
  const bytes = encodeSafetensors(tensors, { pad });
  writeFileSync(path, bytes);
  expect(bytes[0]).toBe(0x80);
  await using file = await openTensors(path);
  expect((await file.read("w")).data).toEqual(Float32Array.of(3));
});
