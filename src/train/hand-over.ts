/** @file Values of a whole batch, cut into micro-batches and put together again. */
import type { TypedArray } from "../core/index.ts";
import type { Cut } from "../methods/index.ts";

/** Which micro-batch of how many. */
export interface Piece {
  readonly index: number;
  readonly count: number;
}

/** Pairs of ranges: `length` values at `whole` of the batch's array are those at `piece` of the micro-batch's. */
function ranges(cut: Cut, length: number, { index, count }: Piece): { whole: number; piece: number; length: number }[] {
  if (cut.kind === "whole") return [{ whole: 0, piece: 0, length }];
  const runs = cut.kind === "crops" ? cut.count : 1;
  const each = length / (runs * count);
  return Array.from({ length: runs }, (_, v) => ({ whole: (v * count + index) * each, piece: v * each, length: each }));
}

/** Copies a micro-batch's rows out of the batch's: `[v, b, …]` -> `[v, micro, …]`. */
export function takePiece(whole: TypedArray, piece: TypedArray, options: Piece & { readonly cut: Cut }): void {
  for (const r of ranges(options.cut, whole.length, options)) copy(whole.subarray(r.whole, r.whole + r.length), piece, r.piece);
}

/** The mirror of takePiece; a value that is not cut is that of the last micro-batch. */
export function putPiece(piece: TypedArray, whole: TypedArray, options: Piece & { readonly cut: Cut }): void {
  for (const r of ranges(options.cut, whole.length, options)) copy(piece.subarray(r.piece, r.piece + r.length), whole, r.whole);
}

/** Both are of one dtype: they are buffers of one value. */
function copy(from: TypedArray, to: TypedArray, at: number): void {
  (to as { set: (from: TypedArray, at: number) => void }).set(from, at);
}

/** An array of the same type, `count` times as long. */
export function allocLike(array: TypedArray, count: number): TypedArray {
  const make = array.constructor as new (length: number) => TypedArray;
  return new make(array.length * count);
}
