/** @file Rows of features that come in pieces: what every table format is written from, in constant memory. */

/** Row i shows `paths[i]`. */
export interface RowSource {
  /** Numbers in a row. */
  readonly dim: number;
  readonly paths: readonly string[];
  /** Absent without classes. */
  readonly labels?: readonly string[] | undefined;
  /** All rows in order, whole rows in each piece; a piece is valid until the next. */
  readonly pieces: () => Iterable<Float32Array> | AsyncIterable<Float32Array>;
}

/** Numbers read or encoded at once. */
const PIECE_NUMBERS = 2 ** 20;

/** Rows of `dim` numbers that go through memory at once. */
export function rowsAtOnce(dim: number): number {
  return Math.max(1, Math.floor(PIECE_NUMBERS / Math.max(1, dim)));
}

/** A matrix in memory as a source. */
export function* piecesOf(features: Float32Array, dim: number): Generator<Float32Array> {
  const step = rowsAtOnce(dim) * dim;
  for (let at = 0; at < features.length; at += step) yield features.subarray(at, Math.min(features.length, at + step));
}
