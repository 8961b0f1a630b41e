import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { DTypeError, FormatError, type HostTensor, sizeOf } from "../core/index.ts";
import { decodeNpy, readNpy, writeNpy } from "./npy.ts";

const root = mkdtempSync(join(tmpdir(), "tricera-npy-"));
afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

test.each<HostTensor>([
  { dtype: "f32", shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) },
  { dtype: "f32", shape: [3], data: Float32Array.of(1, 2, 3) },
  { dtype: "f64", shape: [], data: Float64Array.of(0.1) },
  { dtype: "i64", shape: [1, 1], data: BigInt64Array.of(-1n) },
  { dtype: "u8", shape: [0], data: new Uint8Array(0) },
])("writeNpy() and readNpy() round-trip $dtype $shape", async (tensor) => {
  const path = join(root, "a.npy");
  await writeNpy(path, tensor);
  expect(await readNpy(path)).toEqual(tensor);
});

test("writeNpy() writes NumPy's own bytes, also of streamed rows", async () => {
  const path = join(root, "b.npy");
  const row = new Uint8Array(Float32Array.of(1, 2).buffer);
  await writeNpy(path, { dtype: "f32", shape: [2, 2], pieces: () => [row, row] });
  const bytes = readFileSync(path);
  expect(bytes.length).toBe(128 + 16);
  expect(bytes.toString("latin1", 0, 128)).toBe(
    `\x93NUMPY\x01\x00v\x00${"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }".padEnd(117)}\n`,
  );
  await expect(writeNpy(path, { dtype: "bf16", shape: [1], data: new Uint16Array(1) })).rejects.toThrow(DTypeError);
});

test("readNpy() names what is wrong with a file", async () => {
  const path = join(root, "c.npy");
  await writeNpy(path, { dtype: "f32", shape: [2], data: Float32Array.of(1, 2) });
  const good = new Uint8Array(readFileSync(path));
  const edit = (from: string, to: string): Uint8Array =>
    Uint8Array.from(Buffer.from(Buffer.from(good).toString("latin1").replace(from, to), "latin1"));
  expect(() => decodeNpy(good.slice(0, -1))).toThrow("it holds 7 bytes of data, shape (2) needs 8");
  expect(() => decodeNpy(edit("NUMPY", "NUMPX"))).toThrow("NumPy signature");
  expect(() => decodeNpy(edit("False", "True "))).toThrow("Fortran order");
  expect(() => decodeNpy(edit("<f4", ">f4"))).toThrow("its dtype is >f4");
  expect(() => decodeNpy(edit("<f4", "|O "))).toThrow("its dtype is |O ");
  expect(() => decodeNpy(edit("shape", "shepe"))).toThrow("not a dictionary");
  await expect(readNpy(join(root, "absent.npy"))).rejects.toThrow(/Cannot open ".*absent\.npy": ENOENT/);
  await expect(readNpy(root)).rejects.toThrow("it is not a file");
  for (let keep = 0; keep < good.length; keep++) {
    expect(() => decodeNpy(good.slice(0, keep)), `${keep} bytes`).toThrow(FormatError);
    writeFileSync(path, good.subarray(0, keep));
    await expect(readNpy(path), `${keep} bytes`).rejects.toThrow(FormatError);
  }
});

test("decodeNpy() gives a tensor that fills its shape, or a FormatError, whatever the bytes; readNpy() gives the same", async () => {
  const path = join(root, "d.npy");
  await writeNpy(path, { dtype: "f32", shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) });
  const good = new Uint8Array(readFileSync(path));
  const attempt = (read: () => HostTensor): HostTensor | string => {
    try {
      const tensor = read();
      expect(tensor.data.length).toBe(sizeOf(tensor.shape));
      return tensor;
    } catch (error) {
      expect(error).toBeInstanceOf(FormatError);
      return String(error);
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void attempt(() => decodeNpy(bytes))));
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { minLength: 1, maxLength: 3 }), fc.nat(4), async (edits, cut) => {
      const bytes = good.slice(0, good.length - cut);
      for (const [at, value] of edits) bytes[at] = value;
      writeFileSync(path, bytes);
      const fromFile = await readNpy(path).catch((error: unknown) => {
        expect(error).toBeInstanceOf(FormatError);
        return String(error);
      });
      expect(attempt(() => decodeNpy(bytes, path))).toEqual(fromFile);
    }),
    { numRuns: 200 },
  );
});

test.each([
  ["|i1", "i32", 2, [-1, -1]],
  ["<i2", "i32", 1, [-1]],
  ["<u2", "i32", 1, [65_535]],
] as const)("decodeNpy() reads whole numbers of %s as %s", (descr, dtype, count, values) => {
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${count},), }\n`;
  const bytes = Buffer.concat([
    Buffer.from("\x93NUMPY\x01\x00", "latin1"),
    Buffer.of(header.length, 0),
    Buffer.from(header),
    Buffer.of(255, 255),
  ]);
  expect(decodeNpy(bytes)).toEqual({ dtype, shape: [count], data: Int32Array.from(values) });
});
