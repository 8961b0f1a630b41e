/** @file The protobuf wire format: a growing byte writer and a cursor that reads it back. Knows no message. */
import { FormatError } from "../../core/index.ts";

const VARINT = 0;
const BYTES = 2;
const FIXED32 = 5;
const text = new TextEncoder();
const untext = new TextDecoder("utf-8", { fatal: true });

/** Writes protobuf fields into one buffer that doubles when full; nested messages are written in place. */
export class WireWriter {
  #bytes = new Uint8Array(1024);
  #length = 0;

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** An integer field; a negative one takes ten bytes, as protobuf's int64 does. */
  int(field: number, value: number): void {
    this.#tag(field, VARINT);
    if (value >= 0) this.#varint(value);
    else this.#varint64(BigInt.asUintN(64, BigInt(value)));
  }

  float(field: number, value: number): void {
    this.#tag(field, FIXED32);
    this.#reserve(4);
    new DataView(this.#bytes.buffer).setFloat32(this.#length, value, true);
    this.#length += 4;
  }

  string(field: number, value: string): void {
    this.bytes(field, text.encode(value));
  }

  bytes(field: number, value: Uint8Array): void {
    this.#tag(field, BYTES);
    this.#varint(value.length);
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  /** The tag and length of a field of that many bytes, which are written elsewhere. */
  open(field: number, lengthBytes: number): void {
    this.#tag(field, BYTES);
    this.#varint(lengthBytes);
  }

  /** A nested message: `write` adds its fields; the body moves up only when its length needs more than one byte. */
  message(field: number, write: () => void): void {
    this.#tag(field, BYTES);
    this.#reserve(1);
    this.#length += 1;
    const start = this.#length;
    write();
    const end = this.#length;
    const extra = varintBytes(end - start) - 1;
    this.#reserve(extra);
    if (extra > 0) this.#bytes.copyWithin(start + extra, start, end);
    this.#length = start - 1;
    this.#varint(end - start);
    this.#length = end + extra;
  }

  #tag(field: number, wire: number): void {
    this.#varint(field * 8 + wire);
  }

  #varint(value: number): void {
    this.#reserve(10);
    let rest = value;
    for (; rest > 127; rest = Math.floor(rest / 128)) this.#bytes[this.#length++] = (rest % 128) | 128;
    this.#bytes[this.#length++] = rest;
  }

  #varint64(value: bigint): void {
    this.#reserve(10);
    let rest = value;
    for (; rest > 127n; rest >>= 7n) this.#bytes[this.#length++] = Number(rest & 127n) | 128;
    this.#bytes[this.#length++] = Number(rest);
  }

  #reserve(extra: number): void {
    const needed = this.#length + extra;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

function varintBytes(value: number): number {
  let n = 1;
  for (let rest = value; rest > 127; rest = Math.floor(rest / 128)) n++;
  return n;
}

/** One field as it was read: `bytes` for messages, strings and packed numbers, `number` for everything else. */
export interface WireField {
  readonly field: number;
  readonly number: number;
  readonly bytes: Uint8Array;
}

const NO_BYTES = new Uint8Array(0);

/** The fields of one message, in the order they were written. Throws FormatError on bytes that are no protobuf. */
export function* readFields(bytes: Uint8Array): Generator<WireField> {
  const cursor = { bytes, at: 0 };
  while (cursor.at < bytes.length) {
    const tag = readVarint(cursor);
    const field = Math.floor(tag / 8);
    const wire = tag % 8;
    if (wire === VARINT) yield { field, number: readVarint(cursor), bytes: NO_BYTES };
    else if (wire === FIXED32) yield { field, number: readFloat(cursor), bytes: NO_BYTES };
    else if (wire === BYTES) yield { field, number: 0, bytes: take(cursor, readVarint(cursor)) };
    else
      throw new FormatError(
        `Cannot read ONNX model: field ${field} at byte ${cursor.at} has wire type ${wire}; it is damaged or no ONNX model`,
      );
  }
}

/** The varints of a packed field. */
function readPacked(bytes: Uint8Array): number[] {
  const cursor = { bytes, at: 0 };
  const values: number[] = [];
  while (cursor.at < bytes.length) values.push(readVarint(cursor));
  return values;
}

/** The integers of a repeated field, packed or one by one. */
export function readInts(fields: readonly WireField[], field: number): number[] {
  return fields.filter((f) => f.field === field).flatMap((f) => (f.bytes.length > 0 ? readPacked(f.bytes) : [f.number]));
}

export function readText(bytes: Uint8Array): string {
  try {
    return untext.decode(bytes);
  } catch (cause) {
    throw new FormatError("Cannot read ONNX model: a name is not UTF-8; it is damaged or no ONNX model", { cause });
  }
}

interface Cursor {
  readonly bytes: Uint8Array;
  at: number;
}

function readVarint(cursor: Cursor): number {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    const byte = take(cursor, 1)[0]!; // take() gave one byte
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return Number(BigInt.asIntN(64, value));
  }
  throw new FormatError(`Cannot read ONNX model: the number at byte ${cursor.at} does not end; it is damaged or no ONNX model`);
}

function readFloat(cursor: Cursor): number {
  const four = take(cursor, 4);
  return new DataView(four.buffer, four.byteOffset, 4).getFloat32(0, true);
}

function take(cursor: Cursor, count: number): Uint8Array {
  const end = cursor.at + count;
  if (count < 0 || end > cursor.bytes.length)
    throw new FormatError(
      `Cannot read ONNX model: it ends at byte ${cursor.bytes.length} inside a field of ${count} bytes; it is cut off or no ONNX model`,
    );
  const part = cursor.bytes.subarray(cursor.at, end);
  cursor.at = end;
  return part;
}
