/** @file TensorBoard event files: TFRecord framing with masked CRC-32C around hand-written protobuf. */
import { appendFileSync, mkdirSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { concatBytes, FormatError } from "../../core/index.ts";
import { writeError } from "./write-error.ts";

const CRC_TABLE: Uint32Array = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0x82f63b78 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

/** CRC-32C (Castagnoli) of bytes. */
export function crc32c(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) c = CRC_TABLE[(c ^ bytes[i]!) & 0xff]! ^ (c >>> 8); // i < length, index < 256
  return (c ^ 0xffffffff) >>> 0;
}

/** TFRecord's masked sum: rotated right by 15 bits plus a constant. */
export function maskedCrc(bytes: Uint8Array): number {
  const c = crc32c(bytes);
  return (((c >>> 15) | (c << 17)) + 0xa282ead8) >>> 0;
}

/** One TFRecord: u64 length, its sum, the data, its sum; little endian. */
export function frameRecord(data: Uint8Array): Uint8Array {
  const framed = new Uint8Array(data.length + 16);
  const view = new DataView(framed.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc(framed.subarray(0, 8)), true);
  framed.set(data, 12);
  view.setUint32(12 + data.length, maskedCrc(data), true);
  return framed;
}

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

function varint(value: number | bigint): number[] {
  const out: number[] = [];
  let rest = BigInt(value);
  for (; rest > 127n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
  return [...out, Number(rest)];
}

function key(field: number, type: number): number[] {
  return varint((field << 3) | type);
}

function bytesField(field: number, value: Uint8Array): Uint8Array {
  return concatBytes([Uint8Array.from([...key(field, BYTES), ...varint(value.length)]), value]);
}

function textField(field: number, value: string): Uint8Array {
  return bytesField(field, new TextEncoder().encode(value));
}

function doubleField(field: number, value: number): Uint8Array {
  return concatBytes([Uint8Array.from(key(field, FIXED64)), new Uint8Array(Float64Array.of(value).buffer)]);
}

function floatField(field: number, value: number): Uint8Array {
  return concatBytes([Uint8Array.from(key(field, FIXED32)), new Uint8Array(Float32Array.of(value).buffer)]);
}

function intField(field: number, value: number): Uint8Array {
  return Uint8Array.from([...key(field, VARINT), ...varint(value)]);
}

/** The message `Event` that opens a file: wall_time = 1, file_version = 3. */
export function encodeVersion(wallTimeSeconds: number): Uint8Array {
  return concatBytes([doubleField(1, wallTimeSeconds), textField(3, "brain.Event:2")]);
}

/** The message `Event` of some scalars: wall_time = 1, step = 2, summary = 5 { value = 1 { tag = 1, simple_value = 2 } }. */
export function encodeScalars(step: number, values: Readonly<Record<string, number>>, wallTimeSeconds: number): Uint8Array {
  const summary = Object.entries(values).map(([tag, value]) => bytesField(1, concatBytes([textField(1, tag), floatField(2, value)])));
  return concatBytes([doubleField(1, wallTimeSeconds), intField(2, step), bytesField(5, concatBytes(summary))]);
}

export interface TensorboardPicture {
  readonly tag: string;
  readonly width: number;
  readonly height: number;
  readonly png: Uint8Array;
}

/** The message `Event` of a picture: value { tag = 1, image = 4 { height = 1, width = 2, colorspace = 3 (RGB), encoded = 4 } }. */
export function encodePicture(step: number, picture: TensorboardPicture, wallTimeSeconds: number): Uint8Array {
  const { tag, width, height, png } = picture;
  const image = concatBytes([intField(1, height), intField(2, width), intField(3, 3), bytesField(4, png)]);
  const value = concatBytes([textField(1, tag), bytesField(4, image)]);
  return concatBytes([doubleField(1, wallTimeSeconds), intField(2, step), bytesField(5, bytesField(1, value))]);
}

/** `SessionLog { status = START }` at a step (Event.session_log = 7): TensorBoard forgets what an earlier file said of later steps. */
export function encodeRestart(step: number, wallTimeSeconds: number): Uint8Array {
  return concatBytes([doubleField(1, wallTimeSeconds), intField(2, step), bytesField(7, intField(1, 1))]);
}

/** Appends to one event file under `events/`; a resumed run opens a new file. */
export class TensorboardWriter {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  static open(runDir: string, options: { readonly step: number }): TensorboardWriter {
    const dir = join(runDir, "events");
    mkdirSync(dir, { recursive: true });
    const writer = new TensorboardWriter(
      join(dir, `events.out.tfevents.${String(Date.now()).padStart(13, "0")}.${hostname()}.${process.pid}`),
    );
    writer.#append(encodeVersion(Date.now() / 1000));
    if (options.step > 0) writer.#append(encodeRestart(options.step + 1, Date.now() / 1000));
    return writer;
  }

  scalars(step: number, values: Readonly<Record<string, number>>): void {
    this.#append(encodeScalars(step, values, Date.now() / 1000));
  }

  picture(step: number, picture: TensorboardPicture): void {
    this.#append(encodePicture(step, picture, Date.now() / 1000));
  }

  #append(event: Uint8Array): void {
    try {
      appendFileSync(this.#path, frameRecord(event));
    } catch (error) {
      throw writeError(`"${this.#path}"`, error);
    }
  }
}

/** The records of an event file; a torn last record is left out. Throws FormatError where a sum is wrong. */
export function readRecords(file: Uint8Array, name = "event file"): readonly Uint8Array[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const records: Uint8Array[] = [];
  for (let at = 0; at + 12 <= file.length;) {
    const length = Number(view.getBigUint64(at, true));
    if (view.getUint32(at + 8, true) !== maskedCrc(file.subarray(at, at + 8)))
      throw new FormatError(`Cannot read "${name}": the sum at offset ${at + 8} is wrong; the file is damaged`, { file: name });
    const end = at + 12 + length;
    if (end + 4 > file.length) break;
    const data = file.subarray(at + 12, end);
    if (view.getUint32(end, true) !== maskedCrc(data))
      throw new FormatError(`Cannot read "${name}": the sum at offset ${end} is wrong; the file is damaged`, { file: name });
    records.push(data);
    at = end + 4;
  }
  return records;
}
