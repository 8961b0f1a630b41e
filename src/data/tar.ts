/** @file Images inside tar files, read in place: where each member's bytes lie. */
import { open, stat } from "node:fs/promises";
import { FormatError } from "../core/index.ts";
import type { DataEntry } from "./entry.ts";
import { isImageName } from "./image-names.ts";

const BLOCK = 512;

const text = (block: Buffer, from: number, length: number): string => {
  const field = block.subarray(from, from + length);
  const end = field.indexOf(0);
  return field.toString("utf8", 0, end < 0 ? length : end);
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

/** The `path` and `size` records of a pax header: "27 path=some/name.jpg\n". */
function paxRecords(data: string): Readonly<Record<string, string>> {
  const records: Record<string, string> = {};
  for (const line of data.split("\n")) {
    const [, key, value] = /^\d+ ([^=]+)=(.*)$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) records[key] = value;
  }
  return records;
}

/** Longer names than this are no names. */
const MAX_NAME_BYTES = 1 << 20;

/**
 * The images of a tar file (ustar, pax, GNU long names), by member name; a member's class is its first folder when there are several.
 * Throws FormatError with the offset where the file stops to be a tar file.
 */
export async function listTar(path: string, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<readonly DataEntry[]> {
  const { size: fileBytes, mtimeMs } = await stat(path);
  await using file = await open(path, "r");
  const block = Buffer.alloc(BLOCK);
  const entries: DataEntry[] = [];
  let next: { name?: string; bytes?: number } = {};
  let at = 0;
  const wrong = (why: string): FormatError =>
    new FormatError(`Cannot read tar file "${path}": ${why} at byte ${at}; download or pack it again`, { file: path });
  for (; at + BLOCK <= fileBytes;) {
    options.signal?.throwIfAborted();
    await file.read(block, 0, BLOCK, at);
    if (block.every((b) => b === 0)) return withLabels(entries);
    if (!isSumRight(block)) throw wrong("there is no valid header");
    const kind = String.fromCharCode(block[156] ?? 0);
    const bytes = next.bytes ?? numberField(block, 124, 12);
    const start = at + BLOCK;
    if (!Number.isSafeInteger(bytes) || start + bytes > fileBytes) throw wrong(`a member of ${bytes} bytes is cut off`);
    if (kind === "x" || kind === "L") {
      if (bytes > MAX_NAME_BYTES) throw wrong(`a name of ${bytes} bytes`);
      const data = Buffer.alloc(bytes);
      await file.read(data, 0, bytes, start);
      const pax = kind === "x" ? paxRecords(data.toString("utf8")) : { path: text(data, 0, bytes), size: undefined };
      next = {
        ...(pax["path"] === undefined ? {} : { name: pax["path"] }),
        ...(pax["size"] === undefined ? {} : { bytes: Number(pax["size"]) }),
      };
    } else {
      const prefix = text(block, 345, 155);
      const short = text(block, 0, 100);
      const member = next.name ?? (prefix === "" || text(block, 257, 5) !== "ustar" ? short : `${prefix}/${short}`);
      if ((kind === "0" || kind === "\0") && isImageName(member))
        entries.push({ path, member, offset: start, bytes, mtimeMs: Math.trunc(mtimeMs) });
      if (kind !== "g") next = {};
    }
    at = start + Math.ceil(bytes / BLOCK) * BLOCK;
  }
  if (at !== fileBytes) throw wrong("the file ends inside a block");
  return withLabels(entries);
}

/** The folder right above a member is its class when there are several such folders. */
function withLabels(entries: readonly DataEntry[]): readonly DataEntry[] {
  const labels = entries.map(({ member = "" }) => member.split("/").slice(0, -1).at(-1));
  if (new Set(labels).size < 2 || labels.some((l) => l === undefined || l === ".")) return entries;
  return entries.map((e, i) => ({ ...e, label: labels[i] ?? "" }));
}
