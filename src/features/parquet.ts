/** @file Feature tables as Parquet: `path` (string), `label` (string or null), `embedding` (list of float). The only importer of hyparquet. */
import type { AsyncBuffer, FileMetaData, SchemaElement } from "hyparquet";
import { FormatError } from "../core/index.ts";
import { type RowSource, rowsAtOnce } from "./rows.ts";
import type { FeatureTable } from "./table.ts";

const SCHEMA: SchemaElement[] = [
  { name: "schema", num_children: 3 },
  { name: "path", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" },
  { name: "label", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
  { name: "embedding", converted_type: "LIST", repetition_type: "REQUIRED", num_children: 1 },
  { name: "list", repetition_type: "REPEATED", num_children: 1 },
  { name: "element", type: "FLOAT", repetition_type: "REQUIRED" },
];

/** Says how wide the embedding is where there are no rows. */
const WIDTH_KEY = "tricera.width";

/** The bytes of a table, a row group a piece. Loaded when it is asked for, so that other formats do without. */
export async function* encodeParquet({ dim, paths, labels, pieces }: RowSource): AsyncGenerator<Uint8Array> {
  const { ByteWriter, ParquetWriter } = await import("hyparquet-writer");
  const writer = new ByteWriter();
  const parquet = new ParquetWriter({
    writer,
    schema: SCHEMA,
    codec: "UNCOMPRESSED",
    createdBy: "tricera",
    kvMetadata: [{ key: WIDTH_KEY, value: String(dim) }],
  });
  const taken = (): Uint8Array => {
    const bytes = new Uint8Array(writer.buffer.slice(0, writer.index)); // the next group goes into the same memory
    writer.index = 0;
    return bytes;
  };
  let from = 0;
  for await (const piece of pieces()) {
    const rows = piece.length / dim;
    const vectors = Array.from({ length: rows }, (_, i) => Array.from(piece.subarray(i * dim, (i + 1) * dim)));
    const columnData = [
      { name: "path", data: paths.slice(from, from + rows) },
      { name: "label", data: labels?.slice(from, from + rows) ?? Array<null>(rows).fill(null) },
      // floats of features hardly repeat: no dictionary, and the least and greatest of all axes tell nothing
      { name: "embedding", data: vectors, encoding: "PLAIN" as const, statistics: false },
    ];
    await parquet.write({ columnData, rowGroupSize: rowsAtOnce(dim) });
    from += rows;
    yield taken();
  }
  await parquet.finish();
  yield taken();
}

interface Rows {
  readonly features: Float32Array[];
  readonly paths: string[];
  readonly labels: (string | null)[];
  dim: number;
}

type Fail = (state: string, cause?: unknown) => FormatError;

/**
 * Reads a table of Parquet: `embedding` (a list of numbers, all of one length), and, if any, `path` and `label` (text or whole numbers).
 * Throws FormatError when the file is cut or damaged, or rows do not agree.
 */
export async function readParquet(path: string): Promise<FeatureTable> {
  const fail: Fail = (state, cause) =>
    new FormatError(`Cannot read table "${path}": ${state}; write it again by \`tricera embed\``, { file: path, cause });
  const { asyncBufferFromFile, parquetMetadataAsync } = await import("hyparquet");
  const file = await asyncBufferFromFile(path);
  let metadata: FileMetaData;
  try {
    metadata = await parquetMetadataAsync(file);
  } catch (cause) {
    throw fail(`it is no whole Parquet file (${reasonOf(cause)})`, cause);
  }
  const rows = await readGroups(file, metadata, fail);
  const n = rows.paths.length;
  const features = new Float32Array(n * rows.dim);
  let at = 0;
  for (const piece of rows.features) {
    features.set(piece, at);
    at += piece.length;
  }
  const names = columnsOf(metadata);
  const labelled = rows.labels.some((l) => l !== null);
  return {
    features,
    shape: [n, rows.dim],
    paths: names.has("path") ? rows.paths : undefined,
    labels: labelled ? rows.labels.map((l) => l ?? "") : undefined,
  };
}

function reasonOf(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split("\n", 1)[0] ?? "";
}

/** Names of the first level. */
function columnsOf({ row_groups: groups }: FileMetaData): ReadonlySet<string> {
  return new Set(groups.flatMap((g) => g.columns.map((c) => c.meta_data?.path_in_schema[0] ?? "")));
}

/** Group by group, so that what a damaged file claims is never allocated at once. */
async function readGroups(file: AsyncBuffer, metadata: FileMetaData, fail: Fail): Promise<Rows> {
  const { parquetReadObjects } = await import("hyparquet");
  const names = columnsOf(metadata);
  const width = Number(metadata.key_value_metadata?.find(({ key }) => key === WIDTH_KEY)?.value ?? 0);
  const found: Rows = { features: [], paths: [], labels: [], dim: Number.isSafeInteger(width) ? width : 0 };
  if (metadata.row_groups.length > 0 && !names.has("embedding"))
    throw fail(`it has the columns ${[...names].join(", ")} and no "embedding"`);
  const columns = ["path", "label", "embedding"].filter((name) => names.has(name));
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    let objects: Record<string, unknown>[];
    try {
      objects = await parquetReadObjects({ file, metadata, columns, rowStart, rowEnd });
    } catch (cause) {
      throw fail(`rows from ${rowStart} are damaged (${reasonOf(cause)})`, cause);
    }
    if (objects.length !== rowEnd - rowStart) throw fail(`rows from ${rowStart} are cut off`);
    for (const [i, row] of objects.entries()) addRow(found, row, (state) => fail(`row ${rowStart + i} ${state}`));
    rowStart = rowEnd;
  }
  return found;
}

function addRow(found: Rows, { path, label, embedding }: Record<string, unknown>, fail: Fail): void {
  if (!isVector(embedding)) throw fail("has no embedding of finite numbers");
  if (found.features.length === 0) found.dim = embedding.length;
  if (embedding.length !== found.dim || found.dim === 0) throw fail(`has ${embedding.length} numbers, the first ${found.dim}`);
  found.features.push(Float32Array.from(embedding));
  found.paths.push(textOf(path) ?? "");
  found.labels.push(textOf(label));
}

function isVector(value: unknown): value is ArrayLike<number> {
  return (Array.isArray(value) || ArrayBuffer.isView(value)) && Array.from(value as ArrayLike<unknown>).every(Number.isFinite); // an array of whatever
}

function textOf(value: unknown): string | null {
  return typeof value === "string" ? value : typeof value === "bigint" || typeof value === "number" ? String(value) : null;
}
