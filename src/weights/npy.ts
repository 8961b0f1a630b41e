/** @file NumPy's .npy files of numbers, little endian, C order. */
import { open } from "node:fs/promises";
import { FormatError, sizeOf, DTypeError, formatType, type DType, type HostTensor } from "../core/index.ts";
import { writeFileAtomic } from "./atomic-file.ts";
import type { StreamedTensor } from "./safetensors.ts";
import { readAt } from "./read-at.ts";
import { bytesOf, STORED_BYTES, tensorOf, type StoredDType } from "./tensor-bytes.ts";

const DESCR: { readonly [K in DType]: string | undefined } = {
  f32: "<f4",
  f64: "<f8",
  i32: "<i4",
  i64: "<i8",
  u8: "|u1",
  bool: "|b1",
  bf16: undefined,
};
const STORED: ReadonlyMap<string, StoredDType> = new Map([
  ["<f4", "f32"],
  ["<f8", "f64"],
  ["<f2", "f16"],
  ["|i1", "i8"],
  ["<i2", "i16"],
  ["<u2", "u16"],
  ["<u4", "u32"],
  ["<u8", "u64"],
  ["<i4", "i32"],
  ["<i8", "i64"],
  ["|u1", "u8"],
  ["|b1", "bool"],
]);
const MAGIC = "\x93NUMPY";
const MAX_HEADER_BYTES = 65_535;

/** Writes a `.npy` file (format 1.0), whole or not at all; a streamed tensor is written as it comes. Throws DTypeError for bfloat16. */
export async function writeNpy(path: string, tensor: HostTensor | StreamedTensor): Promise<void> {
  const { dtype, shape } = tensor;
  const header = encodeNpyHeader(dtype, shape);
  async function* pieces(): AsyncGenerator<Uint8Array> {
    yield header;
    if ("data" in tensor) yield bytesOf(tensor);
    else yield* tensor.pieces();
  }
  await writeFileAtomic(path, pieces(), { sizeBytes: header.length + sizeOf(shape) * STORED_BYTES[dtype] });
}

/** Reads a `.npy` file of numbers in C order, of any size; float16 becomes float32. Throws FormatError. */
export async function readNpy(path: string): Promise<HostTensor> {
  const handle = await open(path, "r").catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FormatError(`Cannot open "${path}": ${why}; check the path and its permissions`, { file: path, cause });
  });
  try {
    const info = await handle.stat();
    if (!info.isFile()) throw new FormatError(`Cannot read "${path}": it is not a file; give the path of a .npy file`, { file: path });
    const start = await readAt(handle, { path, offset: 0, length: Math.min(info.size, 12 + MAX_HEADER_BYTES) });
    const { dtype, shape, bodyStart } = decodeNpyHeader(start, { path, sizeBytes: info.size });
    return tensorOf(dtype, shape, await readAt(handle, { path, offset: bodyStart, length: info.size - bodyStart }));
  } finally {
    await handle.close();
  }
}

/** The tensor of a `.npy` file in memory; `path` is for error messages. */
export function decodeNpy(bytes: Uint8Array, path = "buffer"): HostTensor {
  const { dtype, shape, bodyStart } = decodeNpyHeader(bytes, { path, sizeBytes: bytes.length });
  return tensorOf(dtype, shape, new Uint8Array(bytes.subarray(bodyStart)));
}

interface NpyHeader {
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  /** Where the data begins; it fills the rest of the file, exactly. */
  readonly bodyStart: number;
}

/** Reads the header from the first bytes of a file, and checks its claims against the file's size. */
function decodeNpyHeader(bytes: Uint8Array, { path, sizeBytes }: { readonly path: string; readonly sizeBytes: number }): NpyHeader {
  const fail = (state: string): FormatError =>
    new FormatError(`Cannot read npy "${path}": ${state}; write the file again with numpy.save of a plain numeric array`, { file: path });
  if (bytes.length < 10 || latin(bytes.subarray(0, 6)) !== MAGIC) throw fail("it does not start with the NumPy signature (byte 0)");
  const major = bytes[6] ?? 0;
  if (major < 1 || major > 3) throw fail(`its format version is ${major} (byte 6)`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = major === 1 ? 10 : 12;
  if (bytes.length < start) throw fail("it is cut off in its header");
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const bodyStart = start + length;
  if (length > MAX_HEADER_BYTES || bodyStart > bytes.length) throw fail(`it claims a header of ${length} bytes (byte 8)`);
  const { dtype, shape } = parseNpyHeader(latin(bytes.subarray(start, bodyStart)), fail);
  const wanted = sizeOf(shape) * STORED_BYTES[dtype];
  const got = sizeBytes - bodyStart;
  if (got !== wanted) throw fail(`it holds ${got} bytes of data, shape (${shape.join(", ")}) needs ${wanted} (byte ${bodyStart})`);
  return { dtype, shape, bodyStart };
}

function encodeNpyHeader(dtype: DType, shape: readonly number[]): Uint8Array {
  const descr = DESCR[dtype];
  if (descr === undefined)
    throw new DTypeError(`Cannot write ${formatType(dtype, shape)} to .npy: NumPy has no such type; convert to float32 first`);
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${tuple}, }`;
  const text = `${dict.padEnd(Math.ceil((10 + dict.length + 1) / 64) * 64 - 11)}\n`;
  const bytes = new Uint8Array(10 + text.length);
  bytes.set(Uint8Array.from(MAGIC, (c) => c.charCodeAt(0)));
  bytes.set([1, 0, text.length & 255, text.length >> 8], 6);
  bytes.set(new TextEncoder().encode(text), 10);
  return bytes;
}

function parseNpyHeader(text: string, fail: (state: string) => FormatError): { dtype: StoredDType; shape: number[] } {
  const descr = /'descr'\s*:\s*'([^']*)'/.exec(text)?.[1];
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(text)?.[1];
  const tuple = /'shape'\s*:\s*\(([\d\s,]*)\)/.exec(text)?.[1];
  if (descr === undefined || order === undefined || tuple === undefined)
    throw fail("its header is not a dictionary of descr, fortran_order and shape (byte 10)");
  const dtype = STORED.get(descr);
  if (dtype === undefined) throw fail(`its dtype is ${descr}, readable are ${[...STORED.keys()].join(", ")}`);
  if (order === "True") throw fail("it is in Fortran order");
  const shape = tuple
    .split(",")
    .map((s) => s.trim())
    .filter((s) => s !== "")
    .map(Number);
  if (!shape.every(Number.isSafeInteger) || !Number.isSafeInteger(sizeOf(shape) * 8)) throw fail(`its shape (${tuple}) is impossible`);
  return { dtype, shape };
}

function latin(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
