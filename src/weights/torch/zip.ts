/** @file The zip archives that PyTorch writes: stored, never compressed; every claim checked against the file. */
import type { FileHandle } from "node:fs/promises";
import { FormatError } from "../../core/index.ts";
import { readAt } from "../read-at.ts";

export interface ZipEntry {
  readonly name: string;
  /** Where its bytes begin. */
  readonly offset: number;
  readonly size: number;
  readonly crc: number;
}

export interface OpenFile {
  readonly handle: FileHandle;
  readonly path: string;
  readonly sizeBytes: number;
}

const END_BYTES = 22;
const MAX_COMMENT = 65_535;
const MAX_DIRECTORY_BYTES = 64 * 2 ** 20;
const MAX_ENTRIES = 100_000;
const UINT32 = 0xffff_ffff;

function broken({ path }: OpenFile, state: string): never {
  throw new FormatError(`Cannot read archive "${path}": ${state}; save or download the file again`, { file: path });
}

async function bytesAt(file: OpenFile, offset: number, length: number): Promise<DataView> {
  if (!Number.isSafeInteger(offset) || offset < 0 || length < 0 || offset + length > file.sizeBytes)
    return broken(file, `it points to byte ${offset}, outside its ${file.sizeBytes} bytes`);
  const bytes = await readAt(file.handle, { path: file.path, offset, length });
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

interface Directory {
  readonly count: number;
  readonly size: number;
  readonly offset: number;
}

/** The record at the end of the archive, the 64-bit one where there is one. */
async function findDirectory(file: OpenFile): Promise<Directory> {
  const start = Math.max(0, file.sizeBytes - END_BYTES - MAX_COMMENT);
  const tail = await bytesAt(file, start, file.sizeBytes - start);
  for (let at = tail.byteLength - END_BYTES; at >= 0; at--) {
    if (tail.getUint32(at, true) !== 0x06054b50 || at + END_BYTES + tail.getUint16(at + 20, true) !== tail.byteLength) continue;
    if (at >= 20 && tail.getUint32(at - 20, true) === 0x07064b50) return await wideDirectory(file, tail.getBigUint64(at - 12, true));
    return { count: tail.getUint16(at + 10, true), size: tail.getUint32(at + 12, true), offset: tail.getUint32(at + 16, true) };
  }
  return broken(file, "it has no end of an archive, so it is cut off");
}

async function wideDirectory(file: OpenFile, at: bigint): Promise<Directory> {
  const record = await bytesAt(file, Number(at), 56);
  if (record.getUint32(0, true) !== 0x06064b50) return broken(file, "its 64-bit end is not where it says");
  const read = (offset: number): number => Number(record.getBigUint64(offset, true));
  return { count: read(32), size: read(40), offset: read(48) };
}

interface Wide {
  size: number;
  stored: number;
  header: number;
}

/** Fields that do not fit 32 bits stand in an extra field, in this order. */
function widen(values: Wide, extra: DataView): Wide {
  for (let at = 0; at + 4 <= extra.byteLength;) {
    const [id, length] = [extra.getUint16(at, true), extra.getUint16(at + 2, true)];
    if (id === 1) {
      let next = at + 4;
      for (const key of ["size", "stored", "header"] as const)
        if (values[key] === UINT32 && next + 8 <= Math.min(at + 4 + length, extra.byteLength)) {
          values[key] = Number(extra.getBigUint64(next, true));
          next += 8;
        }
    }
    at += 4 + length;
  }
  return values;
}

/** Names stay inside a folder of their own: nothing is unpacked, yet such an archive is none of PyTorch's. */
function checkName(file: OpenFile, name: string): void {
  if (name === "" || name.startsWith("/") || name.includes("\\") || /^[A-Za-z]:/.test(name) || name.split("/").includes(".."))
    broken(file, `it has an entry named "${name}"`);
}

interface Record {
  readonly name: string;
  readonly method: number;
  readonly flags: number;
  readonly crc: number;
  readonly wide: Wide;
  readonly next: number;
}

function readRecord(file: OpenFile, directory: DataView, at: number): Record {
  if (at + 46 > directory.byteLength || directory.getUint32(at, true) !== 0x02014b50) broken(file, "its list of entries is damaged");
  const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((o) => directory.getUint16(at + o, true)) as [number, number, number]; // three
  const next = at + 46 + nameBytes + extraBytes + commentBytes;
  if (next > directory.byteLength) broken(file, "its list of entries is cut off");
  const from = directory.byteOffset + at + 46;
  const wide = {
    size: directory.getUint32(at + 24, true),
    stored: directory.getUint32(at + 20, true),
    header: directory.getUint32(at + 42, true),
  };
  return {
    name: new TextDecoder("latin1").decode(new Uint8Array(directory.buffer, from, nameBytes)),
    method: directory.getUint16(at + 10, true),
    flags: directory.getUint16(at + 8, true),
    crc: directory.getUint32(at + 16, true),
    wide: widen(wide, new DataView(directory.buffer, from + nameBytes, extraBytes)),
    next,
  };
}

async function locate(file: OpenFile, { name, method, flags, crc, wide }: Record): Promise<ZipEntry> {
  checkName(file, name);
  if (method !== 0 || wide.size !== wide.stored || (flags & 1) !== 0)
    broken(file, `its entry "${name}" is compressed or encrypted, which PyTorch never does`);
  const local = await bytesAt(file, wide.header, 30);
  if (local.getUint32(0, true) !== 0x04034b50) broken(file, `its entry "${name}" is not where it says`);
  const offset = wide.header + 30 + local.getUint16(26, true) + local.getUint16(28, true);
  if (offset + wide.size > file.sizeBytes) broken(file, `its entry "${name}" goes beyond its end`);
  return { name, offset, size: wide.size, crc };
}

/** The entries of an archive by name. Throws FormatError for a damaged one, for compressed entries, and for names with `..` or from the root. */
export async function readZip(file: OpenFile): Promise<ReadonlyMap<string, ZipEntry>> {
  const { count, size, offset } = await findDirectory(file);
  if (size > MAX_DIRECTORY_BYTES) broken(file, `it claims a list of entries of ${size} bytes`);
  const directory = await bytesAt(file, offset, size);
  const entries = new Map<string, ZipEntry>();
  for (let at = 0; at < directory.byteLength;) {
    const record = readRecord(file, directory, at);
    if (entries.has(record.name)) broken(file, `it has two entries named "${record.name}"`);
    if (entries.size >= MAX_ENTRIES) broken(file, `it has more than ${MAX_ENTRIES} entries`);
    entries.set(record.name, await locate(file, record));
    at = record.next;
  }
  if (entries.size !== count) broken(file, `it claims ${count} entries and lists ${entries.size}`);
  return entries;
}
