import fc from "fast-check";
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FormatError, type HostTensor, PlatformError } from "../core/index.ts";
import { writeNpy, writeSafetensors } from "../weights/index.ts";
import { decodeCsv, encodeCsv } from "./csv.ts";
import { piecesOf } from "./rows.ts";
import { type FeatureTable, isFeatureTable, readFeatureTable, writeFeatureTable } from "./table.ts";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera table "));
});
afterAll(() => rm(root, { recursive: true }));

const FORMATS = ["safetensors", "npy", "csv", "parquet"] as const;

const anyText = fc.string({ unit: fc.constantFrom("a", "ü", ",", '"', "\n", "\r", " ", "\u{1F600}"), maxLength: 6 });
const anyFloat = fc.oneof(fc.float({ noNaN: true, noDefaultInfinity: true }), fc.constantFrom(0, -0, 1e-45, 3.4028234663852886e38, 0.1));
const anyTable: fc.Arbitrary<FeatureTable> = fc
  .record({ n: fc.nat(5), d: fc.integer({ min: 1, max: 4 }), labelled: fc.boolean() })
  .chain(({ n, d, labelled }) =>
    fc.record({
      features: fc.array(anyFloat, { minLength: n * d, maxLength: n * d }).map((v) => Float32Array.from(v)),
      shape: fc.constant([n, d]),
      paths: fc.array(anyText, { minLength: n, maxLength: n }),
      labels:
        labelled && n > 0
          ? fc.array(
              anyText.map((t) => `x${t}`),
              { minLength: n, maxLength: n },
            )
          : fc.constant(undefined),
    }),
  );

async function bytesOf({ features, shape, paths = [], labels }: FeatureTable): Promise<Uint8Array> {
  const dim = shape[1] ?? 1;
  const pieces: Uint8Array[] = [];
  for await (const piece of encodeCsv({ dim, paths, labels, pieces: () => piecesOf(features, dim) })) pieces.push(piece);
  return Buffer.concat(pieces);
}

test("encodeCsv() and decodeCsv() round-trip any paths, labels and float32 numbers, to the bit", async () => {
  await fc.assert(
    fc.asyncProperty(anyTable, async (table) => {
      const back = decodeCsv(await bytesOf(table));
      expect(back.features).toEqual(table.features.map((v) => v + 0)); // text has no -0
      expect([back.shape, back.paths, back.labels]).toEqual([table.shape, table.paths, table.labels]);
    }),
  );
});

test("decodeCsv() of a file that is cut anywhere refuses it, or gives the whole rows before the cut", async () => {
  const table: FeatureTable = {
    features: Float32Array.of(0.125, -3, 1e-7, 12_345.678),
    shape: [2, 2],
    paths: ["a,b.png", "ü\n.png"],
    labels: ["cat", "do,g"],
  };
  const bytes = await bytesOf(table);
  for (let keep = 0; keep < bytes.length; keep++) {
    let back: FeatureTable | undefined;
    try {
      back = decodeCsv(bytes.subarray(0, keep), "t.csv");
    } catch (error) {
      expect(error).toBeInstanceOf(FormatError);
      continue;
    }
    const [rows = 0] = back.shape;
    expect(bytes[keep - 1]).toBe(0x0a);
    expect(back.paths).toEqual(table.paths?.slice(0, rows));
    expect(back.features).toEqual(table.features.subarray(0, rows * 2));
  }
});

test("decodeCsv() never fails with anything but FormatError, and its rows always fit together", async () => {
  const good = await bytesOf({ features: Float32Array.of(1, 2, 3, 4), shape: [2, 2], paths: ["a", "b"], labels: ["x", "y"] });
  const attempt = (bytes: Uint8Array): void => {
    try {
      const { features, shape, paths, labels } = decodeCsv(bytes);
      expect(features.length).toBe((shape[0] ?? 0) * (shape[1] ?? 0));
      expect(paths).toHaveLength(shape[0] ?? 0);
      if (labels !== undefined) expect(labels).toHaveLength(shape[0] ?? 0);
      expect(features.every((v) => !Number.isNaN(v))).toBe(true);
    } catch (error) {
      expect(error).toBeInstanceOf(FormatError);
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), attempt));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 }), fc.nat(good.length), (edits, keep) => {
      const bytes = good.slice();
      for (const [at, value] of edits) bytes[at] = value;
      attempt(bytes.subarray(0, keep));
    }),
    { numRuns: 400 },
  );
});

const HEAD = "filenames,embedding_0,embedding_1,labels\n";

test.each([
  ["", "line 1 is not filenames,embedding_0"],
  ["path,label\na.png,cat\n", "line 1 is not filenames,embedding_0"],
  ["filenames,embedding_1\na,1\n", "line 1 is not filenames"],
  ["filenames,labels\n", "line 1 is not filenames"],
  [`${HEAD}a,1,2,x\nb,1,x\n`, "line 3 has 3 cells"],
  [`${HEAD}a,1,,x\n`, 'line 2 has "" where a number should be'],
  [`${HEAD}a,1,NaN,x\n`, 'line 2 has "NaN" where a number should be'],
  [`${HEAD}a,1,2,x`, "line 2 is cut off"],
  [`${HEAD}"a,1,2,x\n`, "line 2 is cut off"],
  [`${HEAD}a"b",1,2,x\n`, "line 2 has a stray quote"],
])("decodeCsv() refuses %j and names the line", (text, message) => {
  expect(() => decodeCsv(Buffer.from(text), "t.csv")).toThrow(FormatError);
  expect(() => decodeCsv(Buffer.from(text), "t.csv")).toThrow(`Cannot read table "t.csv": ${message}`);
});

test("decodeCsv() reads tables of others: no labels, Windows line ends, a byte order mark", () => {
  const { features, labels, paths } = decodeCsv(Buffer.from("\uFEFFfilenames,embedding_0\r\na.png,1e-3\r\nb.png, 2 \r\n"));
  expect([[...features], paths, labels]).toEqual([[Math.fround(1e-3), 2], ["a.png", "b.png"], undefined]);
});

test.each(FORMATS)("writeFeatureTable() and readFeatureTable() round-trip .%s, and leave nothing else", async (format) => {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(anyTable, async (table) => {
      const dir = join(root, `${format}-${runs++}`);
      const path = join(dir, `t.${format}`);
      await writeFeatureTable(path, table, { model: "m" });
      const back = await readFeatureTable(path);
      expect(back).toEqual({ ...table, features: format === "csv" ? table.features.map((v) => v + 0) : table.features });
      expect((await readdir(dir)).sort()).toEqual([`t.${format}`, `t.${format}.json`]);
    }),
    { numRuns: 15 },
  );
});

test.each(FORMATS)("readFeatureTable() refuses a .%s that is cut, and a sidecar that does not fit", async (format) => {
  const path = join(root, `cut.${format}`);
  const table: FeatureTable = {
    features: Float32Array.from({ length: 12 }, (_, i) => i / 7),
    shape: [4, 3],
    paths: ["a", "b", "c", "d"],
    labels: ["x", "x", "y", "y"],
  };
  await writeFeatureTable(path, table, {});
  const whole = await readFile(path);
  for (let keep = 0; keep < whole.length; keep += 5) {
    await truncate(path, keep);
    await expect(readFeatureTable(path), `${keep} bytes`).rejects.toThrow(FormatError);
    await writeFile(path, whole);
  }
  const side = await readFile(`${path}.json`, "utf8");
  for (const [content, message] of [
    [side.slice(0, -9), /is not JSON; embed again/],
    [side.replace('["a",', "["), /has 3 paths and 4 labels for 4 rows/],
    [side.replace('["x",', "["), /has 4 paths and 3 labels for 4 rows/],
    ["[]", /has no lists of paths and labels/],
  ] as const) {
    await writeFile(`${path}.json`, content);
    await expect(readFeatureTable(path)).rejects.toThrow(message);
  }
  await rm(`${path}.json`);
  expect((await readFeatureTable(path)).features).toEqual(table.features);
});

test("readFeatureTable() reads foreign tensors: float64, whole-number labels inside; refuses other shapes and names", async () => {
  const path = join(root, "foreign.safetensors");
  const write = (tensors: Readonly<Record<string, HostTensor>>): Promise<void> => writeSafetensors(path, new Map(Object.entries(tensors)));
  const features = { dtype: "f64", shape: [2, 1], data: Float64Array.of(0.5, 2) } as const;
  await write({ features, labels: { dtype: "i64", shape: [2], data: BigInt64Array.of(3n, -1n) } });
  expect(await readFeatureTable(path)).toEqual({ features: Float32Array.of(0.5, 2), shape: [2, 1], paths: undefined, labels: ["3", "-1"] });
  await write({ features, labels: { dtype: "i32", shape: [1], data: Int32Array.of(3) } });
  await expect(readFeatureTable(path)).rejects.toThrow(/it has 1 labels for 2 rows/);
  await write({ feature: features });
  await expect(readFeatureTable(path)).rejects.toThrow(/it has no tensor "features"/);
  await write({ features: { dtype: "i32", shape: [1, 1], data: Int32Array.of(3) } });
  await expect(readFeatureTable(path)).rejects.toThrow(/its features are int32\[1,1\], not floats/);
  const npy = join(root, "flat.npy");
  await writeNpy(npy, { dtype: "f32", shape: [3], data: new Float32Array(3) });
  await expect(readFeatureTable(npy)).rejects.toThrow(/its features have shape \[3\], not \[n,d\] or \[n,p,d\]/);
  for (const format of FORMATS) await expect(readFeatureTable(join(root, `gone.${format}`))).rejects.toThrow(PlatformError);
});

test("isFeatureTable() tells a table from a manifest of the same suffix", async () => {
  const [manifest, table] = [join(root, "manifest.csv"), join(root, "table.csv")];
  await writeFile(manifest, "path,label\na.png,cat\n");
  await writeFile(table, `${HEAD}a,1,2,x\n`);
  expect(await Promise.all([manifest, table, join(root, "gone.csv"), "a.npy", "b.safetensors", "c.txt", root].map(isFeatureTable))).toEqual(
    [false, true, false, true, true, false, false],
  );
});
