import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FormatError } from "../core/index.ts";
import { encodeParquet, readParquet } from "./parquet.ts";
import { readFeatureTable, writeFeatureTable } from "./table.ts";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera parquet "));
});
afterAll(() => rm(root, { recursive: true }));

test("encodeParquet() writes row groups as they come; readParquet() puts them together", async () => {
  const path = join(root, "groups.parquet");
  const groups = [Float32Array.of(1, 2, 3, 4), Float32Array.of(5, 6), Float32Array.of(-0, 1e-45)];
  const source = { dim: 2, paths: ["a", "ü", "c,d", "e\n"], labels: ["x", "", "y", "x"], pieces: () => groups };
  const written: Uint8Array[] = [];
  for await (const piece of encodeParquet(source)) written.push(piece);
  expect(written).toHaveLength(4); // the groups, then what the file ends with
  await writeFile(path, Buffer.concat(written));
  expect(await readParquet(path)).toEqual({
    features: Float32Array.of(1, 2, 3, 4, 5, 6, -0, 1e-45),
    shape: [4, 2],
    paths: source.paths,
    labels: source.labels,
  });
});

test("readFeatureTable() takes Parquet of others: embeddings alone, doubles, labels as whole numbers", async () => {
  const path = join(root, "foreign.parquet");
  const list = (type: "FLOAT" | "DOUBLE") =>
    [
      { name: "embedding", converted_type: "LIST", repetition_type: "OPTIONAL", num_children: 1 },
      { name: "list", repetition_type: "REPEATED", num_children: 1 },
      { name: "element", type, repetition_type: "OPTIONAL" },
    ] as const;
  const embedding = { name: "embedding", data: [[0.5, 2] as (number | null)[], [3, 4]] };
  const write = (columnData: { name: string; data: unknown[] }[], schema: readonly object[]): Promise<void> =>
    writeFile(
      path,
      // as: the schema is written out above and below
      Buffer.from(parquetWriteBuffer({ columnData, schema: [{ name: "root", num_children: columnData.length }, ...schema] as never })),
    );
  await write([embedding], list("DOUBLE"));
  const plain = { features: Float32Array.of(0.5, 2, 3, 4), shape: [2, 2], paths: undefined, labels: undefined };
  expect(await readFeatureTable(path)).toEqual(plain);
  await write(
    [{ name: "label", data: [7n, -1n] }, embedding],
    [{ name: "label", type: "INT64", repetition_type: "REQUIRED" }, ...list("FLOAT")],
  );
  expect(await readFeatureTable(path)).toEqual({ ...plain, labels: ["7", "-1"] });
  await write([{ name: "embedding", data: [[1], [1, 2]] }], list("FLOAT"));
  await expect(readFeatureTable(path)).rejects.toThrow(/row 1 has 2 numbers, the first 1; write it again by `tricera embed`/);
  for (const bad of [[null], null, [NaN], []]) {
    await write([{ name: "embedding", data: [bad, [1]] }], list("FLOAT"));
    await expect(readFeatureTable(path), String(bad)).rejects.toThrow(FormatError);
  }
  await write([{ name: "vector", data: [1, 2] }], [{ name: "vector", type: "FLOAT", repetition_type: "REQUIRED" }]);
  await expect(readFeatureTable(path)).rejects.toThrow(/it has the columns vector and no "embedding"/);
});

test("readParquet() of damaged bytes throws FormatError or gives rows that fit together", async () => {
  const path = join(root, "damaged.parquet");
  await writeFeatureTable(
    path,
    { features: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [3, 2], paths: ["a", "b", "c"], labels: ["x", "y", "x"] },
    {},
  );
  const good = await readFile(path);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 }),
      fc.oneof(fc.constant(good.length), fc.nat(good.length)),
      async (edits, keep) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of edits) bytes[at] = value;
        await writeFile(path, bytes.subarray(0, keep));
        try {
          const { features, shape, paths = [] } = await readParquet(path);
          expect(features.length).toBe((shape[0] ?? 0) * (shape[1] ?? 0));
          expect(paths.length === shape[0] || paths.length === 0).toBe(true);
          expect(features.every(Number.isFinite)).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      },
    ),
    { numRuns: 400 },
  );
});
