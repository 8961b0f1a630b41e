/** @file Reads and writes whole pieces of a file at their places. */
import { type FileHandle, open } from "node:fs/promises";
import { PlatformError } from "../core/index.ts";

/** Bytes a system call is given. */
const IO_BYTES = 2 ** 26;

/** Opens a file for reading and writing, cut or filled with zeros to its size. */
export async function openCut(path: string, sizeBytes: number): Promise<FileHandle> {
  await (await open(path, "a")).close(); // "r+" makes no file, "w+" keeps none
  const file = await open(path, "r+");
  await file.truncate(sizeBytes);
  return file;
}

/** The bytes of numbers, in place. */
export function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Writes all bytes from a place on. */
export async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, at, Math.min(IO_BYTES, bytes.length - at), position + at);
    at += bytesWritten;
  }
}

/** Fills all bytes from a place on. Throws PlatformError when the file ends before. */
export async function readAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesRead } = await file.read(bytes, at, Math.min(IO_BYTES, bytes.length - at), position + at);
    if (bytesRead === 0)
      throw new PlatformError(
        `Cannot read back rows at byte ${position + at}: the file was cut by another program; begin again with --overwrite`,
      );
    at += bytesRead;
  }
}
