/** @file PyTorch's `.pth`, `.pt` and `.bin` files: zip archives (since 1.6) and the legacy layout before; pickles are read as data, nothing is run. */
import { open, type FileHandle } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { FormatError, type HostTensor, type Shape, sizeOf, UsageError } from "../../core/index.ts";
import { readAt } from "../read-at.ts";
import type { TensorSource } from "../tensor-source.ts";
import { readPickle, type PickleRules, type PickleValue } from "./pickle.ts";
import { listTensors, readTensor, type ReadStorage, type StorageRef, type TensorRef, torchRules } from "./tensors.ts";
import { type OpenFile, readZip, type ZipEntry } from "./zip.ts";

const MAX_PICKLE_BYTES = 256 * 2 ** 20;
const CHUNK_BYTES = 16 * 2 ** 20;
/** How often over one may read what a file holds: tensors may share memory, a few times. */
const MAX_SHARING = 8;

function broken(path: string, state: string): never {
  throw new FormatError(`Cannot read weights of "${path}": ${state}; save or download the file again`, { file: path });
}

interface Opened {
  readonly tensors: ReadonlyMap<string, TensorRef>;
  readonly read: ReadStorage;
}

/** An open file of tensors. Owns its handle. */
class TorchFile implements TensorSource {
  readonly path: string;
  readonly entries: ReadonlyMap<string, { readonly dtype: string; readonly shape: Shape }>;
  readonly #handle: FileHandle;
  readonly #opened: Opened;
  #bytesLeft: number;

  constructor({ handle, path, sizeBytes }: OpenFile, opened: Opened) {
    this.path = path;
    this.#handle = handle;
    this.#opened = opened;
    this.#bytesLeft = MAX_SHARING * sizeBytes;
    this.entries = new Map([...opened.tensors].map(([name, { storage, shape }]) => [name, { dtype: storage.typeName, shape }]));
  }

  async read(name: string): Promise<HostTensor> {
    const ref = this.#opened.tensors.get(name);
    if (ref === undefined)
      throw new UsageError(`Cannot read tensor "${name}" of "${this.path}": it is not there; choose one of its entries`);
    this.#bytesLeft -= sizeOf(ref.shape) * ref.storage.width;
    if (this.#bytesLeft < 0) broken(this.path, `its tensors are more than ${MAX_SHARING} times what it holds`);
    return readTensor(ref, { read: this.#opened.read, file: this.path });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

/** Compares an entry with its checksum. */
async function checkCrc({ handle, path }: OpenFile, { name, offset, size, crc }: ZipEntry): Promise<void> {
  let sum = 0;
  for (let at = 0; at < size; at += CHUNK_BYTES)
    sum = crc32(await readAt(handle, { path, offset: offset + at, length: Math.min(CHUNK_BYTES, size - at) }), sum);
  if (sum !== crc) broken(path, `the checksum of its entry "${name}" is wrong`);
}

async function contentOf(file: OpenFile, entry: ZipEntry | undefined): Promise<Uint8Array> {
  if (entry === undefined)
    return broken(file.path, "its archive has no data.pkl, so it is none of PyTorch's (TorchScript and ONNX are not known)");
  const { offset, size, name } = entry;
  if (size > MAX_PICKLE_BYTES) broken(file.path, `its entry "${name}" has ${size} bytes`);
  await checkCrc(file, entry);
  return readAt(file.handle, { path: file.path, offset, length: size });
}

function checkLength({ width, length }: StorageRef, size: number, path: string): void {
  if (length * width !== size) broken(path, `a storage of ${length} values has ${size} bytes`);
}

async function openArchive(file: OpenFile): Promise<Opened> {
  const entries = await readZip(file);
  const { path, handle } = file;
  const pickles = [...entries.keys()].filter((name) => /^[^/]*\/data\.pkl$/.test(name));
  if (pickles.length > 1) broken(path, "its archive has several data.pkl");
  const root = (pickles[0] ?? "").replace(/data\.pkl$/, "");
  if (entries.has(`${root}constants.pkl`)) broken(path, "it is a TorchScript program, not weights");
  const order = entries.get(`${root}byteorder`);
  if (order !== undefined && new TextDecoder().decode(await contentOf(file, order)).trim() !== "little")
    broken(path, "its values are not little-endian");
  const tensors = listTensors(readPickle(await contentOf(file, entries.get(pickles[0] ?? "")), torchRules(path)).value, path);
  const checked = new Set<string>();
  const read: ReadStorage = async (storage, from, to) => {
    const entry = entries.get(`${root}data/${storage.key}`);
    if (entry === undefined) return broken(path, `its archive lacks storage "${storage.key}"`);
    checkLength(storage, entry.size, path);
    if (!checked.has(storage.key)) await checkCrc(file, entry);
    checked.add(storage.key);
    const { width } = storage;
    return readAt(handle, { path, offset: entry.offset + from * width, length: (to - from) * width });
  };
  return { tensors, read };
}

const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn;
const LEGACY_PROTOCOL = 1001;

/** Pickles one after the other, from a window of the file that grows as they need. */
class PickleStream {
  offset = 0;
  readonly storages: Map<string, StorageRef> = new Map();
  readonly #file: OpenFile;
  readonly #rules: PickleRules;
  #window = new Uint8Array(0);

  constructor(file: OpenFile) {
    this.#file = file;
    this.#rules = torchRules(file.path, this.storages);
  }

  async next(): Promise<PickleValue> {
    const { handle, path, sizeBytes } = this.#file;
    for (let size = 2 ** 20; ; size *= 8) {
      const length = Math.min(size, sizeBytes - this.offset, MAX_PICKLE_BYTES);
      if (this.#window.length < length) this.#window = new Uint8Array(await readAt(handle, { path, offset: this.offset, length }));
      const isWhole = length === sizeBytes - this.offset || length === MAX_PICKLE_BYTES;
      try {
        const { value, length: used } = readPickle(this.#window, this.#rules);
        this.offset += used;
        this.#window = this.#window.subarray(used);
        return value;
      } catch (error) {
        if (isWhole || !(error instanceof FormatError) || !/cut off/.test(error.message)) throw error;
      }
    }
  }
}

/** Magic number, protocol, machine, the object, the keys of its storages; then, for each key, its length in 8 bytes and its values. */
async function openLegacy(file: OpenFile): Promise<Opened> {
  const { path, handle, sizeBytes } = file;
  const stream = new PickleStream(file);
  if ((await stream.next()) !== LEGACY_MAGIC) broken(path, "it is a pickle, but none of PyTorch's");
  if ((await stream.next()) !== LEGACY_PROTOCOL) broken(path, "it is of another protocol than 1001");
  const machine = await stream.next();
  if (machine instanceof Map && machine.get("little_endian") === false) broken(path, "its values are not little-endian");
  const tensors = listTensors(await stream.next(), path);
  const keys = await stream.next();
  if (!Array.isArray(keys)) return broken(path, "it does not list its storages");
  const places = await locateStorages(file, { from: stream.offset, keys: keys as readonly PickleValue[], storages: stream.storages });
  const read: ReadStorage = async (storage, from, to) => {
    const place = places.get(storage.key);
    if (place === undefined) return broken(path, `it lacks storage "${storage.key}"`);
    if (place.length !== storage.length) broken(path, `a storage of ${storage.length} values has ${place.length}`);
    const { width } = storage;
    const offset = place.offset + from * width;
    if (offset + (to - from) * width > sizeBytes) broken(path, `it is cut off in storage "${storage.key}"`);
    return readAt(handle, { path, offset, length: (to - from) * width });
  };
  return { tensors, read };
}

interface LegacyParts {
  readonly from: number;
  readonly keys: readonly PickleValue[];
  readonly storages: ReadonlyMap<string, StorageRef>;
}

/** Where each storage's values begin. */
async function locateStorages(
  { handle, path, sizeBytes }: OpenFile,
  { from, keys, storages }: LegacyParts,
): Promise<ReadonlyMap<string, { readonly offset: number; readonly length: number }>> {
  const places = new Map<string, { readonly offset: number; readonly length: number }>();
  let at = from;
  for (const key of keys) {
    const storage = typeof key === "string" ? storages.get(key) : undefined;
    if (storage === undefined) return broken(path, "it lists a storage that nothing uses");
    if (at + 8 > sizeBytes) broken(path, `it is cut off before storage "${storage.key}"`);
    const head = await readAt(handle, { path, offset: at, length: 8 });
    const length = Number(new DataView(head.buffer, head.byteOffset, 8).getBigUint64(0, true));
    places.set(storage.key, { offset: at + 8, length });
    at += 8 + length * storage.width;
  }
  return places;
}

/** Whether a file begins as PyTorch's do: a zip archive, or a pickle of protocol 2 and later. */
export function looksLikeTorch(start: Uint8Array): boolean {
  return (
    (start[0] === 0x50 && start[1] === 0x4b && start[2] === 3 && start[3] === 4) ||
    (start[0] === 0x80 && (start[1] ?? 0) >= 2 && (start[1] ?? 9) <= 5)
  );
}

/** Opens a PyTorch file; tensors of nested dicts are named by their path. Throws FormatError for a damaged one and for anything but data. */
export async function openTorch(path: string): Promise<TensorSource> {
  const handle = await open(path, "r");
  try {
    const file: OpenFile = { handle, path, sizeBytes: (await handle.stat()).size };
    const start = await readAt(handle, { path, offset: 0, length: Math.min(4, file.sizeBytes) });
    return new TorchFile(file, await (start[0] === 0x50 ? openArchive(file) : openLegacy(file)));
  } catch (error) {
    await handle.close();
    throw error;
  }
}
