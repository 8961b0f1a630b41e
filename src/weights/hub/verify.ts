/** @file Whether a downloaded file is what was wanted: its hash, its size, and that it is no web page, no pointer and no torn header. */
import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { FormatError, type JobOptions } from "../../core/index.ts";
import { openSafetensors } from "../safetensors.ts";
import type { CheckedBy } from "./manifest.ts";

export interface Wanted {
  readonly name: string;
  /** From the hub or the user. */
  readonly sha256: string | undefined;
  /** git's hash of a small file: SHA-1 of `blob <size>\0` and the bytes. */
  readonly gitSha1: string | undefined;
  readonly sizeBytes: number | undefined;
}

export interface Verified {
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly checkedBy: CheckedBy;
}

const PIECE_BYTES = 2 ** 20;

type Reading = Pick<JobOptions, "signal" | "onProgress">;

/** Files that take long to read show their progress. */
const SHOWN_BYTES = 256e6;

async function hashFile(
  path: string,
  hashes: readonly Hash[],
  { name, sizeBytes, signal, onProgress }: Reading & { readonly name: string; readonly sizeBytes: number },
): Promise<void> {
  const stream = createReadStream(path, { highWaterMark: PIECE_BYTES });
  const total = Math.round(sizeBytes / 1e6);
  let done = 0;
  for await (const piece of stream as AsyncIterable<Buffer>) {
    signal?.throwIfAborted();
    for (const hash of hashes) hash.update(piece);
    done += piece.length;
    if (sizeBytes > SHOWN_BYTES) onProgress?.({ what: `checking ${name}`, done: Math.round(done / 1e6), total, unit: "MB" });
  }
}

function wrongHash(name: string, kind: string, hashes: readonly [got: string, wanted: string]): FormatError {
  const [got, wanted] = hashes;
  return new FormatError(
    `Cannot pull "${name}": its ${kind} is ${got}, ${wanted} is wanted, so it was damaged on the way or is another file; pull again, and if it stays so, do not use that source`,
    { file: name },
  );
}

/** Checks size and hash of the file at `path`. Throws FormatError for another file than wanted. */
export async function verifyFile(path: string, wanted: Wanted, options: Reading): Promise<Verified> {
  const { name, sha256, gitSha1 } = wanted;
  const sizeBytes = (await statSize(path)) ?? 0;
  if (wanted.sizeBytes !== undefined && wanted.sizeBytes !== sizeBytes)
    throw new FormatError(`Cannot pull "${name}": it has ${sizeBytes} bytes, ${wanted.sizeBytes} are wanted; pull again`, { file: name });
  const [sha, git] = [createHash("sha256"), createHash("sha1").update(`blob ${sizeBytes}\0`)];
  await hashFile(path, gitSha1 === undefined ? [sha] : [sha, git], { ...options, name, sizeBytes });
  const got = sha.digest("hex");
  if (sha256 !== undefined && sha256 !== got) throw wrongHash(name, "sha256", [got, sha256]);
  if (gitSha1 !== undefined) {
    const gotGit = git.digest("hex");
    if (gotGit !== gitSha1) throw wrongHash(name, "git hash", [gotGit, gitSha1]);
  }
  const checkedBy =
    sha256 !== undefined ? "sha256" : gitSha1 !== undefined ? "git-sha1" : wanted.sizeBytes !== undefined ? "size" : "nothing";
  return { sizeBytes, sha256: got, checkedBy };
}

async function statSize(path: string): Promise<number | undefined> {
  const file = await open(path, "r");
  try {
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}

async function readStart(path: string): Promise<Buffer> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(512), 0, 512, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** What text stands where data should, or undefined. */
export function textInstead(start: Uint8Array): string | undefined {
  const text = Buffer.from(start).toString("latin1").trimStart().toLowerCase();
  if (text.startsWith("<!doctype html") || text.startsWith("<html") || text.startsWith("<head")) return "a web page (HTML)";
  if (text.startsWith("<?xml") || text.startsWith("<error")) return "an XML message";
  if (text.startsWith("version https://git-lfs.github.com/")) return "a git-lfs pointer, not the file it points to";
  return undefined;
}

export function notTheFile(name: string, what: string): FormatError {
  return new FormatError(
    `Cannot pull "${name}": the server gave ${what}; check HF_ENDPOINT and whether the network asks to log in first (a portal, a proxy)`,
    { file: name },
  );
}

/** `PK` of a zip, or a pickle's protocol byte, as `torch.save` writes. */
function isTorchFile(start: Uint8Array): boolean {
  return (start[0] === 0x50 && start[1] === 0x4b) || start[0] === 0x80;
}

/** Checks that a file of weights begins as one: `name` is its name, `path` where it lies now. Throws FormatError. */
export async function checkContent(path: string, name: string): Promise<void> {
  const start = await readStart(path);
  const text = textInstead(start);
  if (text !== undefined) throw notTheFile(name, text);
  if (/\.(pth|bin|pt)$/.test(name) && !isTorchFile(start))
    throw new FormatError(`Cannot pull "${name}": it is no file of PyTorch; check the address and pull again`, { file: name });
  if (!name.endsWith(".safetensors")) return;
  try {
    await using file = await openSafetensors(path);
    void file;
  } catch (cause) {
    throw new FormatError(`Cannot pull "${name}": it is no whole safetensors file; pull again, or report it to who published it`, {
      file: name,
      cause,
    });
  }
}
