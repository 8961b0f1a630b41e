/** @file Feature tables: features of images with their paths and labels, in a file and its sidecar `FILE.json`. */
import { open, readFile, rm, stat } from "node:fs/promises";
import { z } from "zod";
import { ConfigError, FormatError, formatType, type HostTensor, PlatformError, sizeOf } from "../core/index.ts";
import { checkDiskSpace, openSafetensors, readNpy, toFloat32, writeFileAtomic, writeNpy, writeSafetensors } from "../weights/index.ts";
import { decodeCsv, encodeCsv } from "./csv.ts";
import { encodeParquet, readParquet } from "./parquet.ts";
import { writeLance } from "./lance.ts";
import { piecesOf, type RowSource } from "./rows.ts";
import { writeSidecar } from "./sidecar.ts";

/** Row i shows `paths[i]`. */
export interface FeatureTable {
  readonly features: Float32Array;
  /** `[n, d]`, or `[n, p, d]` for tokens. */
  readonly shape: readonly number[];
  /** Absent where a foreign table has none. */
  readonly paths?: readonly string[] | undefined;
  /** Absent without classes. */
  readonly labels?: readonly string[] | undefined;
}

/** Formats that are read; `.lance` is written, too. */
export const TABLE_SUFFIXES: readonly string[] = [".safetensors", ".npy", ".csv", ".parquet"];
const WRITTEN_SUFFIXES: readonly string[] = [...TABLE_SUFFIXES, ".lance"];
/** Formats of one vector a row. */
const VECTOR_SUFFIXES: readonly string[] = [".csv", ".parquet", ".lance"];

/** Whether each row is one vector in that format, so that layers stand side by side in it. */
export function holdsVectorsOnly(out: string): boolean {
  return VECTOR_SUFFIXES.some((suffix) => out.endsWith(suffix));
}

/** Whether a path names a feature table, by its suffix: `--data` of that name is no list of images. */
export async function isFeatureTable(path: string): Promise<boolean> {
  const suffix = TABLE_SUFFIXES.find((s) => path.endsWith(s));
  if (suffix !== ".csv") return suffix !== undefined;
  await using file = await open(path, "r").catch(() => undefined); // a manifest may be a .csv, too
  const start = await file?.read(Buffer.alloc(64), 0, 64, 0);
  return /^(\u00EF\u00BB\u00BF)?filenames,embedding_0[,\r\n]/.test(start?.buffer.toString("latin1") ?? "");
}

/** Throws ConfigError when the suffix names no format, or the format cannot hold the table. */
export function checkTableName(
  out: string,
  { tokens, attention = false }: { readonly tokens: boolean; readonly attention?: boolean },
): void {
  const fail = (state: string, todo: string): never => {
    throw new ConfigError(`Cannot write "${out}": ${state}; ${todo}`, { keyPath: "out" });
  };
  const suffix = WRITTEN_SUFFIXES.find((s) => out.endsWith(s));
  if (suffix === undefined) fail("its suffix names no table format", `use ${WRITTEN_SUFFIXES.join(", ")}`);
  if (tokens && holdsVectorsOnly(out)) fail(`a row of ${suffix} holds one vector, not one a token`, "use .safetensors or .npy");
  if (attention && suffix !== ".safetensors") fail(`a ${suffix} has no place for attention maps`, "use .safetensors");
}

/**
 * Writes a table and its sidecar. The table comes last and takes its place whole, so a table that is there has its sidecar; a kill leaves
 * no table. Throws PlatformError when the disk is full.
 */
export async function writeFeatureTable(out: string, table: FeatureTable, about: object): Promise<void> {
  const { features, shape, paths = [], labels } = table;
  await checkDiskSpace(out, features.byteLength);
  await rm(out, { force: true, recursive: out.endsWith(".lance") });
  await writeSidecar(out, { shape, paths, labels, about });
  const tensor = { dtype: "f32", shape, data: features } as const;
  const source: RowSource = { dim: sizeOf(shape.slice(1)), paths, labels, pieces: () => piecesOf(features, sizeOf(shape.slice(1))) };
  if (out.endsWith(".csv")) await writeFileAtomic(out, encodeCsv(source));
  else if (out.endsWith(".parquet")) await writeFileAtomic(out, encodeParquet(source));
  else if (out.endsWith(".lance")) await writeLance(out, source);
  else if (out.endsWith(".npy")) await writeNpy(out, tensor);
  else await writeSafetensors(out, new Map([["features", tensor]]), { format: "pt" });
}

const sidecarSchema = z.object({ paths: z.array(z.string()), labels: z.array(z.string()).nullable() });
type Sidecar = z.infer<typeof sidecarSchema>;

async function readSidecar(path: string, rows: number): Promise<Sidecar | undefined> {
  const file = `${path}.json`;
  const text = await readFile(file, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const wrong = (state: string, cause?: unknown): FormatError =>
    new FormatError(`Cannot use table "${path}": "${file}" ${state}; embed again`, { file, cause });
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw wrong("is not JSON", cause);
  }
  const side = sidecarSchema.safeParse(raw);
  if (!side.success) throw wrong("has no lists of paths and labels", side.error);
  const { paths, labels } = side.data;
  if (paths.length !== rows || (labels !== null && labels.length !== rows))
    throw wrong(`has ${paths.length} paths and ${labels?.length ?? 0} labels for ${rows} rows`);
  return side.data;
}

interface Tensors {
  readonly features: Float32Array;
  readonly shape: readonly number[];
  readonly labels?: readonly string[] | undefined;
}

async function readTensors(path: string): Promise<Tensors> {
  if (path.endsWith(".npy")) {
    const tensor = await readNpy(path);
    return { shape: tensor.shape, features: floats(tensor, path) };
  }
  await using file = await openSafetensors(path);
  if (!file.entries.has("features"))
    throw new FormatError(`Cannot use table "${path}": it has no tensor "features"; make it by \`tricera embed\``, { file: path });
  const tensor = await file.read("features");
  const numbers = file.entries.has("labels") ? (await file.read("labels")).data : undefined;
  return {
    shape: tensor.shape,
    features: floats(tensor, path),
    labels: numbers === undefined ? undefined : Array.from<number | bigint, string>(numbers, String),
  };
}

function floats(tensor: HostTensor, path: string): Float32Array {
  const { data } = /^(f|bf)/.test(tensor.dtype) ? toFloat32(tensor) : tensor;
  if (data instanceof Float32Array) return data;
  throw new FormatError(`Cannot use table "${path}": its features are ${formatType(tensor.dtype, tensor.shape)}, not floats; embed again`, {
    file: path,
  });
}

async function readWhole(path: string): Promise<FeatureTable> {
  if (path.endsWith(".parquet")) return readParquet(path);
  return path.endsWith(".csv") ? decodeCsv(await readFile(path), path) : readTensors(path);
}

/**
 * Reads a table that `embed()` wrote, or a foreign one: tensor `features` (and, if any, whole numbers `labels`) in .safetensors, a plain
 * .npy, a .csv of `filenames,embedding_0,…,labels`, a .parquet of `embedding` and, if any, `path` and `label`. Throws FormatError when rows, paths and labels do not agree, or anything is cut off.
 */
export async function readFeatureTable(path: string): Promise<FeatureTable> {
  await stat(path).catch((cause: unknown) => {
    throw new PlatformError(`Cannot read table "${path}": it is not there; check the path, or make it by \`tricera embed\``, { cause });
  });
  const table = await readWhole(path);
  const { shape, features } = table;
  const [rows = 0] = shape;
  if (shape.length < 2 || shape.length > 3 || features.length !== sizeOf(shape))
    throw new FormatError(
      `Cannot use table "${path}": its features have shape [${shape.join(",")}], not [n,d] or [n,p,d]; make it by \`tricera embed\``,
      { file: path },
    );
  const side = await readSidecar(path, rows);
  const labels = table.labels ?? side?.labels ?? undefined;
  if (labels !== undefined && labels.length !== rows)
    throw new FormatError(`Cannot use table "${path}": it has ${labels.length} labels for ${rows} rows; embed again`, { file: path });
  return { features, shape, paths: table.paths ?? side?.paths, labels };
}
