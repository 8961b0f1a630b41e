/** @file Safetensors files: encode, stream to disk, read whole or tensor by tensor. */
import { open, type FileHandle } from "node:fs/promises";
import { FormatError, nameHint, sizeOf, UsageError, InternalError, type DType, type HostTensor } from "../core/index.ts";
import { writeFileAtomic } from "./atomic-file.ts";
import { decodeHeader, decodeHeaderLength, encodeHeader, type SafetensorsHeader, type TensorEntry } from "./safetensors-header.ts";
import { readAt } from "./read-at.ts";
import { bytesOf, STORED_BYTES, tensorOf, type NamedTensors } from "./tensor-bytes.ts";

export type { TensorEntry } from "./safetensors-header.ts";

/** A tensor that is made while it is written: its bytes (little endian, row-major) come in pieces. */
export interface StreamedTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly pieces: () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

export type WritableTensors = ReadonlyMap<string, HostTensor | StreamedTensor>;
export type Metadata = Readonly<Record<string, string>>;

/** The bytes of a safetensors file. Deterministic: the same tensors in the same order give the same bytes. */
export function encodeSafetensors(tensors: NamedTensors, metadata: Metadata = {}): Uint8Array {
  const { bytes: header, layout } = encodeHeader(describe(tensors), metadata);
  const out = new Uint8Array(header.length + bodyBytes(layout));
  out.set(header);
  for (const { name, begin } of layout) out.set(bytesOf(tensors.get(name)!), header.length + begin); // layout names the tensors given
  return out;
}

/** Writes a file whole or not at all; host tensors are written from their own memory, streamed ones as they come. */
export async function writeSafetensors(path: string, tensors: WritableTensors, metadata: Metadata = {}): Promise<void> {
  const { bytes: header, layout } = encodeHeader(describe(tensors), metadata);
  await writeFileAtomic(path, pieces(header, layout, tensors), { sizeBytes: header.length + bodyBytes(layout) });
}

/** Reads tensors and metadata; `names` picks some, so that only those are read. float16 becomes float32. Throws FormatError. */
export async function readSafetensors(
  path: string,
  options: { readonly names?: Iterable<string> } = {},
): Promise<{ readonly tensors: NamedTensors; readonly metadata: Record<string, string> }> {
  await using file = await openSafetensors(path);
  const tensors = new Map<string, HostTensor>();
  for (const name of options.names ?? file.entries.keys()) tensors.set(name, await file.read(name));
  return { tensors, metadata: file.metadata };
}

/** The tensors of a file that is in memory already; `path` is for error messages. */
export function decodeSafetensors(
  bytes: Uint8Array,
  path = "buffer",
): { readonly tensors: NamedTensors; readonly metadata: Record<string, string> } {
  const length = decodeHeaderLength(bytes, { path, sizeBytes: bytes.length });
  const start = 8 + length;
  const { entries, metadata } = decodeHeader(bytes.subarray(8, start), { path, bodyBytes: bytes.length - start });
  const tensors = [...entries.values()].map(
    (e) => [e.name, tensorOf(e.dtype, e.shape, bytes.slice(start + e.begin, start + e.end))] as const,
  );
  return { tensors: new Map(tensors), metadata };
}

/** Opens a file and checks its header; tensors are read when asked for. */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const handle = await open(path, "r").catch((cause: unknown) => {
    throw new FormatError(
      `Cannot open "${path}": ${cause instanceof Error ? cause.message : String(cause)}; check the path and its permissions`,
      { file: path, cause },
    );
  });
  try {
    const info = await handle.stat();
    if (!info.isFile())
      throw new FormatError(`Cannot read "${path}": it is not a file; give the path of a .safetensors file`, { file: path });
    const sizeBytes = info.size;
    const length = decodeHeaderLength(await readAt(handle, { path, offset: 0, length: Math.min(8, sizeBytes) }), { path, sizeBytes });
    const header = decodeHeader(await readAt(handle, { path, offset: 8, length }), { path, bodyBytes: sizeBytes - 8 - length });
    return new SafetensorsFile(handle, { path, header, bodyStart: 8 + length });
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** An open safetensors file. Owns its handle: use with `await using`. */
export class SafetensorsFile implements AsyncDisposable {
  readonly path: string;
  /** Names, dtypes, shapes and places, in header order. */
  readonly entries: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Record<string, string>;
  readonly #handle: FileHandle;
  readonly #bodyStart: number;

  constructor(handle: FileHandle, options: { readonly path: string; readonly header: SafetensorsHeader; readonly bodyStart: number }) {
    this.path = options.path;
    this.entries = options.header.entries;
    this.metadata = options.header.metadata;
    this.#handle = handle;
    this.#bodyStart = options.bodyStart;
  }

  /** Reads one tensor. Throws UsageError for a name that is not there. */
  async read(name: string): Promise<HostTensor> {
    const e = this.#entry(name);
    return tensorOf(
      e.dtype,
      e.shape,
      await readAt(this.#handle, { path: this.path, offset: this.#bodyStart + e.begin, length: e.end - e.begin }),
    );
  }

  /** Reads rows `from` to `to` (not included) along the first axis. */
  async readRows(name: string, from: number, to: number): Promise<HostTensor> {
    const e = this.#entry(name);
    const [rows = 0, ...rest] = e.shape;
    if (e.shape.length === 0 || from < 0 || to > rows || from > to)
      throw new RangeError(
        `Cannot read rows ${from} to ${to} of "${name}": it has shape [${e.shape.join(",")}]; stay inside its first axis`,
      );
    const rowBytes = sizeOf(rest) * STORED_BYTES[e.dtype];
    const offset = this.#bodyStart + e.begin + from * rowBytes;
    return tensorOf(e.dtype, [to - from, ...rest], await readAt(this.#handle, { path: this.path, offset, length: (to - from) * rowBytes }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  #entry(name: string): TensorEntry {
    const entry = this.entries.get(name);
    if (entry === undefined)
      throw new UsageError(`Cannot read tensor "${name}" of "${this.path}": it is not there; ${nameHint(name, this.entries.keys())}`);
    return entry;
  }
}

function describe(tensors: WritableTensors): { name: string; dtype: DType; shape: readonly number[] }[] {
  return [...tensors].map(([name, { dtype, shape }]) => {
    if (name === "__metadata__")
      throw new UsageError(`Cannot write a tensor named "__metadata__": safetensors keeps that name; choose another`);
    return { name, dtype, shape };
  });
}

function bodyBytes(layout: readonly TensorEntry[]): number {
  return layout.at(-1)?.end ?? 0;
}

async function* pieces(header: Uint8Array, layout: readonly TensorEntry[], tensors: WritableTensors): AsyncGenerator<Uint8Array> {
  yield header;
  for (const { name, begin, end } of layout) {
    const tensor = tensors.get(name)!; // layout names the tensors given
    if ("data" in tensor) {
      yield bytesOf(tensor);
      continue;
    }
    let written = 0;
    for await (const piece of tensor.pieces()) {
      written += piece.byteLength;
      if (written <= end - begin) yield piece;
    }
    if (written !== end - begin)
      throw new InternalError(
        `Cannot write tensor "${name}": its pieces have ${written} bytes, ${tensor.dtype}[${tensor.shape.join(",")}] needs ${end - begin}`,
      );
  }
}
