/** @file Images inside tar files, read in place: where each member's bytes lie. */
import { type FileHandle, open } from "node:fs/promises";
import { FormatError, PlatformError } from "../core/index.ts";
import type { DataEntry } from "./entry.ts";
import { reasonOf } from "./reason.ts";
import { isImageName } from "./image-names.ts";

const BLOCK = 512;

/** Longer names than this are no names. */
const MAX_NAME_BYTES = 1 << 20;

/** The class of a webdataset sample is a short text. */
const MAX_CLASS_BYTES = 4096;

/** How a file starts that has to be decompressed first. */
const COMPRESSED: readonly (readonly [name: string, start: readonly number[]])[] = [
  ["gzip", [0x1f, 0x8b]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a]],
  ["bzip2", [0x42, 0x5a, 0x68]],
];

const text = (block: Buffer, from: number, length: number): string => {
  const field = block.subarray(from, from + length);
  const end = field.indexOf(0);
  return field.toString("utf8", 0, end < 0 ? field.length : end);
};

/** A number field: octal text, or base 256 when its top bit is set (GNU). */
function numberField(block: Buffer, from: number, length: number): number {
  if ((block[from] ?? 0) & 0x80) {
    let value = (block[from] ?? 0) & 0x7f;
    for (let i = from + 1; i < from + length; i++) value = value * 256 + (block[i] ?? 0);
    return value;
  }
  const digits = text(block, from, length).trim();
  return digits === "" ? 0 : /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : NaN;
}

/** The header's sum counts its own field as spaces. */
function isSumRight(block: Buffer): boolean {
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 32 : (block[i] ?? 0);
  return sum === numberField(block, 148, 8);
}

/** The records of a pax header, "27 path=some/name.jpg\n": each states its own length, so a value may hold line ends. */
function paxRecords(data: Buffer): ReadonlyMap<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < data.length;) {
    const length = Number.parseInt(data.toString("latin1", at, at + 12), 10);
    if (!(length > 0) || at + length > data.length) return records;
    const [, key, value] = /^\d+ ([^=]+)=([^]*)\n$/.exec(data.toString("utf8", at, at + length)) ?? [];
    if (key !== undefined && value !== undefined) records.set(key, value);
    at += length;
  }
  return records;
}

/** What a pax header or a GNU long name says about the member that follows. */
interface Override {
  readonly name?: string;
  readonly bytes?: number;
}

function overrideOf(kind: string, data: Buffer): Override {
  if (kind === "L") return { name: text(data, 0, data.length) };
  const records = paxRecords(data);
  const [name, bytes] = [records.get("path"), records.get("size")];
  return { ...(name === undefined ? {} : { name }), ...(bytes === undefined ? {} : { bytes: /^\d+$/.test(bytes) ? Number(bytes) : NaN }) };
}

interface Member {
  readonly name: string;
  readonly start: number;
  readonly bytes: number;
}

function memberName(block: Buffer): string {
  const [prefix, short] = [text(block, 345, 155), text(block, 0, 100)];
  return prefix === "" || text(block, 257, 5) !== "ustar" ? short : `${prefix}/${short}`;
}

interface TarFile {
  readonly file: FileHandle;
  readonly path: string;
  readonly fileBytes: number;
  readonly signal: AbortSignal | undefined;
}

function wrong({ path }: TarFile, at: number, why: string, hint = "download or pack it again"): FormatError {
  return new FormatError(`Cannot read tar file "${path}": ${why} at byte ${at}; ${hint}`, { file: path });
}

/** Reads the header at `at` into `block`; false at the mark of the end. */
async function readHeader(tar: TarFile, block: Buffer, at: number): Promise<boolean> {
  tar.signal?.throwIfAborted();
  const { bytesRead } = await tar.file.read(block, 0, BLOCK, at);
  if (bytesRead < BLOCK) throw wrong(tar, at, "the file became shorter");
  if (block.every((b) => b === 0)) return false;
  if (isSumRight(block)) return true;
  const packed = COMPRESSED.find(([, start]) => at === 0 && start.every((b, i) => block[i] === b));
  throw packed === undefined
    ? wrong(tar, at, "there is no valid header")
    : wrong(tar, at, `${packed[0]} data starts`, "decompress it first");
}

/** Pax headers, GNU long names, global pax headers: about members, none themselves. Their size is their own. */
const META = "xLg";

function checkSize(tar: TarFile, at: number, { kind, bytes }: { readonly kind: string; readonly bytes: number }): void {
  if (!Number.isSafeInteger(bytes) || bytes < 0) throw wrong(tar, at, "a member has no valid size");
  if (at + BLOCK + bytes > tar.fileBytes) throw wrong(tar, at, `a member of ${bytes} bytes is cut off`);
  if (META.includes(kind) && bytes > MAX_NAME_BYTES) throw wrong(tar, at, `there is a name of ${bytes} bytes`);
}

/** Members that are files, in order. Throws FormatError with the offset where the file stops to be a tar file. */
async function* membersOf(tar: TarFile): AsyncGenerator<Member> {
  const block = Buffer.alloc(BLOCK);
  let next: Override = {};
  let at = 0;
  while (at + BLOCK <= tar.fileBytes) {
    if (!(await readHeader(tar, block, at))) return;
    const kind = String.fromCharCode(block[156] ?? 0);
    const isMeta = META.includes(kind);
    const bytes = (isMeta ? undefined : next.bytes) ?? numberField(block, 124, 12);
    checkSize(tar, at, { kind, bytes });
    const start = at + BLOCK;
    if (isMeta) next = kind === "g" ? next : { ...next, ...overrideOf(kind, await readBytes(tar.file, start, bytes)) };
    else {
      if (kind === "0" || kind === "\0") yield { name: next.name ?? memberName(block), start, bytes };
      next = {};
    }
    at = start + Math.ceil(bytes / BLOCK) * BLOCK;
  }
  if (at !== tar.fileBytes) throw wrong(tar, at, "the file ends inside a block");
}

async function readBytes(file: FileHandle, start: number, bytes: number): Promise<Buffer> {
  const data = Buffer.alloc(bytes);
  await file.read(data, 0, bytes, start);
  return data;
}

/** A sample's key, as webdataset takes it: the name up to the first dot of its last part. */
function keyOf(name: string): string {
  const dot = name.indexOf(".", name.lastIndexOf("/") + 1);
  return dot < 0 ? name : name.slice(0, dot);
}

/**
 * The images of a tar file (ustar, pax, GNU long names) in its order. An image with a `.cls` member of the same key has that text as its
 * label (webdataset). Throws FormatError with the offset where the file stops to be a tar file.
 */
export async function listTar(path: string, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<readonly DataEntry[]> {
  await using file = await open(path, "r").catch((cause: unknown) => {
    throw new PlatformError(`Cannot read tar file "${path}": ${reasonOf(cause)}; check --data`, { cause });
  });
  const { size: fileBytes, mtimeMs } = await file.stat();
  const entries: DataEntry[] = [];
  const labels = new Map<string, string>();
  for await (const { name, start, bytes } of membersOf({ file, path, fileBytes, signal: options.signal })) {
    if (isImageName(name)) entries.push({ path, member: name, offset: start, bytes, mtimeMs: Math.trunc(mtimeMs) });
    else if (name.endsWith(".cls") && bytes <= MAX_CLASS_BYTES)
      labels.set(keyOf(name), (await readBytes(file, start, bytes)).toString("utf8").trim());
  }
  return entries.map((entry) => {
    const label = labels.get(keyOf(entry.member ?? ""));
    return label === undefined ? entry : { ...entry, label };
  });
}
