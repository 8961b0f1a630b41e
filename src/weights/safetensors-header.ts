/** @file The header of a safetensors file: written in the reference's bytes, read with every claim checked against the file. */
import { FormatError, sizeOf, type DType } from "../core/index.ts";
import { STORED_BYTES, type StoredDType } from "./tensor-bytes.ts";

/** Where one tensor lies: offsets count from the end of the header. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  /** In header order. */
  readonly entries: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Record<string, string>;
}

/** The reference refuses longer headers too. */
export const MAX_HEADER_BYTES = 100_000_000;

const CODES: { readonly [K in StoredDType]: string } = {
  f32: "F32",
  f64: "F64",
  bf16: "BF16",
  f16: "F16",
  i32: "I32",
  i64: "I64",
  i8: "I8",
  i16: "I16",
  u16: "U16",
  u32: "U32",
  u64: "U64",
  u8: "U8",
  bool: "BOOL",
};
const DTYPES: ReadonlyMap<string, StoredDType> = new Map(Object.entries(CODES).map(([dtype, code]) => [code, dtype as StoredDType])); // keys of CODES

/**
 * Lays tensors out and writes the header: `[u64 length][JSON, padded with spaces to 8 bytes]`.
 * The header keeps the given order; the data is ordered by element size, large first, so that every tensor lies aligned.
 */
export function encodeHeader(
  tensors: readonly { readonly name: string; readonly dtype: DType; readonly shape: readonly number[] }[],
  metadata: Readonly<Record<string, string>>,
): { readonly bytes: Uint8Array; readonly layout: readonly TensorEntry[] } {
  const layout: TensorEntry[] = [];
  let at = 0;
  for (const { name, dtype, shape } of tensors.toSorted((a, b) => STORED_BYTES[b.dtype] - STORED_BYTES[a.dtype])) {
    const end = at + sizeOf(shape) * STORED_BYTES[dtype];
    layout.push({ name, dtype, shape, begin: at, end });
    at = end;
  }
  const entries = new Map(layout.map((e) => [e.name, e]));
  const parts = tensors.map(({ name }) => {
    const { dtype, shape, begin, end } = entries.get(name)!; // every tensor was laid out above
    return `${JSON.stringify(name)}:{"dtype":"${CODES[dtype]}","shape":[${shape.join(",")}],"data_offsets":[${begin},${end}]}`;
  });
  if (Object.keys(metadata).length > 0) parts.unshift(`"__metadata__":${JSON.stringify(metadata)}`);
  const json = new TextEncoder().encode(`{${parts.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return { bytes, layout };
}

/** Length of the JSON, from the first 8 bytes. Throws FormatError when it cannot be. */
export function decodeHeaderLength(start: Uint8Array, file: { readonly path: string; readonly sizeBytes: number }): number {
  const { path, sizeBytes } = file;
  if (sizeBytes < 8 || start.length < 8) throw broken(path, 0, `the file has ${sizeBytes} bytes and is cut off`);
  const length = Number(new DataView(start.buffer, start.byteOffset, 8).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES) throw broken(path, 0, `it claims a header of ${length} bytes, so it is no safetensors file`);
  if (8 + length > sizeBytes)
    throw broken(path, 0, `it claims a header of ${length} bytes in a file of ${sizeBytes}, so it is cut off or no safetensors file`);
  return length;
}

/** Reads the JSON of the header and checks it: names, dtypes, shapes, sizes, no gap, no overlap, nothing missing at the end. */
export function decodeHeader(json: Uint8Array, file: { readonly path: string; readonly bodyBytes: number }): SafetensorsHeader {
  const { path, bodyBytes } = file;
  const text = decodeText(json, path);
  const raw = parseObject(text, path);
  const metadata = parseMetadata(raw["__metadata__"], path);
  const all = headerNames(text);
  if (new Set(all).size !== all.length) throw broken(path, 8, `two tensors are called "${twiceIn(all)}"`);
  const names = all.filter((name) => name !== "__metadata__");
  const entries = new Map(names.map((name) => [name, parseEntry(name, raw[name], path)]));
  checkCoverage([...entries.values()], { path, bodyBytes, bodyStart: 8 + json.length });
  return { entries, metadata };
}

function decodeText(json: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(json);
  } catch (cause) {
    throw broken(path, 8, "the header is not UTF-8", cause);
  }
}

function parseObject(text: string, path: string): Record<string, unknown> {
  if (!text.startsWith("{")) throw broken(path, 8, "the header does not start with {");
  try {
    return JSON.parse(text) as Record<string, unknown>; // starts with { and parsed, so it is an object
  } catch (cause) {
    throw broken(path, 8, "the header is not JSON", cause);
  }
}

function parseMetadata(raw: unknown, path: string): Record<string, string> {
  if (raw === undefined) return {};
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) throw broken(path, 8, "__metadata__ is not an object");
  const pairs = Object.entries(raw).map(([key, value]) => {
    if (typeof value !== "string") throw broken(path, 8, `__metadata__ "${key}" is not a string`);
    return [key, value] as const;
  });
  return Object.fromEntries(pairs);
}

function twiceIn(names: readonly string[]): string {
  const seen = new Set<string>();
  return names.find((name) => seen.size === seen.add(name).size) ?? "";
}

const [QUOTE, BACKSLASH] = [0x22, 0x5c];

/** Where a string that begins at `from` has its last quote. */
function endOfString(text: string, from: number): number {
  for (let i = from + 1; ; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) return i;
    if (code === BACKSLASH) i++;
  }
}

/** Names of the outermost object in the text's order, each as often as it stands there: JSON.parse moves "0" to the front and keeps one of two. */
function headerNames(text: string): string[] {
  const names: string[] = [];
  const colon = /\s*:/y;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x7b || code === 0x5b) depth++;
    else if (code === 0x7d || code === 0x5d) depth--;
    if (code !== QUOTE) continue;
    const end = endOfString(text, i);
    colon.lastIndex = end + 1;
    if (depth === 1 && colon.test(text)) names.push(JSON.parse(text.slice(i, end + 1)) as string); // a string of JSON that was parsed
    i = end;
  }
  return names;
}

function parseEntry(name: string, raw: unknown, path: string): TensorEntry {
  const what = `tensor "${name}"`;
  if (typeof raw !== "object" || raw === null) throw broken(path, 8, `${what} is not described by an object`);
  const { dtype: code, shape, data_offsets: offsets }: { dtype?: unknown; shape?: unknown; data_offsets?: unknown } = raw;
  const dtype = DTYPES.get(String(code));
  if (dtype === undefined)
    throw broken(path, 8, `${what} has dtype ${JSON.stringify(code)}, readable are ${[...DTYPES.keys()].join(", ")}`);
  if (!isSizes(shape)) throw broken(path, 8, `${what} has shape ${JSON.stringify(shape)}`);
  if (!isSizes(offsets) || offsets.length !== 2) throw broken(path, 8, `${what} has data_offsets ${JSON.stringify(offsets)}`);
  const [begin = 0, end = 0] = offsets;
  const wantedBytes = sizeOf(shape) * STORED_BYTES[dtype];
  if (!Number.isSafeInteger(wantedBytes)) throw broken(path, 8, `${what} has the impossible shape [${shape.join(",")}]`);
  if (end - begin !== wantedBytes)
    throw broken(
      path,
      8,
      `${what} has ${end - begin} bytes at [${begin},${end}], ${CODES[dtype]}[${shape.join(",")}] needs ${wantedBytes}`,
    );
  return { name, dtype, shape, begin, end };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}

/** Tensors must fill the body without gap or overlap, as the format demands. */
function checkCoverage(
  entries: TensorEntry[],
  options: { readonly path: string; readonly bodyBytes: number; readonly bodyStart: number },
): void {
  const { path, bodyBytes, bodyStart } = options;
  let at = 0;
  for (const e of entries.toSorted((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (e.begin < at) throw broken(path, bodyStart + e.begin, `tensor "${e.name}" overlaps the one before it`);
    if (e.begin > at) throw broken(path, bodyStart + at, `there is a gap of ${e.begin - at} bytes before tensor "${e.name}"`);
    if (e.end > bodyBytes)
      throw broken(path, bodyStart + bodyBytes, `the file is cut off in tensor "${e.name}" (${e.end - bodyBytes} bytes missing)`);
    at = e.end;
  }
  if (at < bodyBytes) throw broken(path, bodyStart + at, `${bodyBytes - at} bytes after the last tensor belong to none`);
}

function broken(path: string, offset: number, state: string, cause?: unknown): FormatError {
  return new FormatError(`Cannot read safetensors "${path}": ${state} (byte ${offset}); write or download the file again`, {
    file: path,
    cause,
  });
}
