/** @file The passes of resampling and blur by the SIMD kernels, where the bytes lie in their memory. */
import type { Taps } from "../kernels.ts";
import { type Arena, simdArena } from "./arena.ts";
import { ACROSS_ROWS, TURN_BYTES } from "./module.ts";

/** Taps with integer weights of `bits` fractional bits. */
export interface IntTaps extends Omit<Taps, "weights"> {
  readonly weights: Int32Array;
  readonly bits: number;
}

/** Where a block of rows lies in a buffer. */
export interface Source {
  readonly data: Uint8Array;
  readonly origin: number;
  readonly rowBytes: number;
}

export interface AcrossJob {
  readonly width: number;
  readonly rows: number;
  readonly taps: IntTaps;
}

export interface ColumnsJob {
  readonly outRowBytes: number;
  readonly taps: IntTaps;
}

/** The arena where it holds the output, else undefined. */
export function arenaOf(out: Uint8Array): Arena | undefined {
  const arena = simdArena();
  return arena?.holds(out) === true ? arena : undefined;
}

let held: Uint8Array | undefined;
let copy: Uint8Array | undefined;

/** A picture's bytes in the arena; the ten views of one picture share the copy. */
export function sourceIn(data: Uint8Array, arena: Arena | undefined): Uint8Array {
  if (arena === undefined || arena.holds(data)) return data;
  if (held === data && copy !== undefined) return copy;
  copy = arena.take("source", data.length);
  copy?.set(data);
  held = data;
  return copy ?? data;
}

/** Weights and a table of places in the arena's memory, as integers. */
function tableOf(arena: Arena, integers: number): Int32Array | undefined {
  const bytes = arena.take("taps", integers * Int32Array.BYTES_PER_ELEMENT);
  return bytes === undefined ? undefined : new Int32Array(bytes.buffer, bytes.byteOffset, integers);
}

/** Makes as many rows as go in fours, and says how many; 0 where the bytes lie elsewhere. */
export function acrossRows({ data, origin, rowBytes }: Source, out: Uint8Array, { width, rows, taps }: AcrossJob): number {
  const arena = arenaOf(out);
  const groups = Math.floor(rows / ACROSS_ROWS);
  if (arena === undefined || groups === 0 || !arena.holds(data)) return 0;
  const { starts, counts, weights, stride, bits } = taps;
  const table = tableOf(arena, weights.length + 3 * width);
  if (table === undefined) return 0;
  table.set(weights);
  const places = table.subarray(weights.length);
  for (let x = 0; x < width; x++) {
    const at = table.byteOffset + 4 * x * stride;
    places[3 * x] = 3 * (starts[x] ?? 0);
    places[3 * x + 1] = at;
    places[3 * x + 2] = at + 4 * (counts[x] ?? 0);
  }
  for (let g = 0; g < groups; g++) {
    const from = data.byteOffset + origin + g * ACROSS_ROWS * rowBytes;
    const to = out.byteOffset + g * ACROSS_ROWS * width * 3;
    arena.run("across", from, rowBytes, places.byteOffset, width, to, width * 3, 1 << (bits - 1), bits);
  }
  return groups * ACROSS_ROWS;
}

/** Makes all rows, or none where the bytes lie elsewhere. */
export function columnsByKernel({ data, origin, rowBytes }: Source, out: Uint8Array, { outRowBytes, taps }: ColumnsJob): boolean {
  const arena = arenaOf(out);
  if (arena === undefined || outRowBytes < TURN_BYTES || !arena.holds(data)) return false;
  const { starts, counts, weights, stride, bits } = taps;
  const table = tableOf(arena, weights.length);
  if (table === undefined) return false;
  table.set(weights);
  for (let y = 0; y < starts.length; y++) {
    const from = data.byteOffset + origin + (starts[y] ?? 0) * rowBytes;
    const to = out.byteOffset + y * outRowBytes;
    const at = table.byteOffset + 4 * y * stride;
    arena.run("columns", from, rowBytes, counts[y] ?? 0, at, to, outRowBytes, 1 << (bits - 1), bits);
  }
  return true;
}

export interface BoxJob {
  /** First byte, bytes in all, and how far the neighbour of a byte is. */
  readonly start: number;
  readonly bytes: number;
  readonly step: number;
  readonly inner: number;
  readonly outer: number;
}

/** One box filter of three or five taps over a span; false where the bytes lie elsewhere. */
export function boxByKernel(kernel: "three" | "five", [from, to]: readonly [Uint8Array, Uint8Array], job: BoxJob): boolean {
  const { start, bytes, step, inner, outer } = job;
  const arena = arenaOf(to);
  if (arena === undefined || bytes < TURN_BYTES || !arena.holds(from)) return false;
  arena.run(kernel, from.byteOffset + start, to.byteOffset + start, bytes, step, inner, outer, 0x800000);
  return true;
}
