/** @file Nearest neighbours by dot product, block by block: there is never a whole matrix of scores. */
import { ConfigError, type JobOptions } from "../core/index.ts";
import { makeScoreBlock, MAXIMA_COLUMNS, openOrt } from "../engine/runtime/index.ts";

export interface NearestOptions extends JobOptions {
  /** Width of a row. */
  readonly dim: number;
  readonly k: number;
  readonly threads: number;
}

/** Row i: the k nearest bank rows of query i, nearest first; equal scores in the bank's order. */
export interface Nearest {
  readonly k: number;
  readonly indices: Int32Array;
  readonly scores: Float32Array;
}

const QUERY_BLOCK = 512;
/** A multiple of MAXIMA_COLUMNS. */
const BANK_BLOCK = 4096;

/** The best k so far of one query, sorted: scores fall, indices rise among equals. */
class Best {
  readonly scores: Float32Array;
  readonly indices: Int32Array;
  #count = 0;

  constructor(k: number) {
    this.scores = new Float32Array(k).fill(-Infinity);
    this.indices = new Int32Array(k).fill(-1);
  }

  /** What a score must be above to get in. */
  get bar(): number {
    return this.scores[this.scores.length - 1] ?? Infinity;
  }

  add(score: number, index: number): void {
    let at = Math.min(this.#count, this.scores.length - 1);
    for (; at > 0 && this.scores[at - 1]! < score; at--) {
      this.scores[at] = this.scores[at - 1]!; // 0 < at < k
      this.indices[at] = this.indices[at - 1]!; // as above
    }
    this.scores[at] = score;
    this.indices[at] = index;
    this.#count = Math.min(this.#count + 1, this.scores.length);
  }
}

interface Block {
  readonly scores: Float32Array;
  readonly maxima: Float32Array;
  readonly columns: number;
  /** Rows of the bank before the block, and how many of its columns are real. */
  readonly from: number;
  readonly real: number;
}

/** Takes what is above the bar; groups of columns whose largest score is not are passed over whole. */
function select(best: readonly Best[], { scores, maxima, columns, from, real }: Block): void {
  const groups = columns / MAXIMA_COLUMNS;
  for (const [row, own] of best.entries())
    for (let g = 0; g < groups; g++) {
      if (!(maxima[row * groups + g]! > own.bar)) continue; // row < q, g < groups
      const end = Math.min(real, (g + 1) * MAXIMA_COLUMNS);
      for (let j = g * MAXIMA_COLUMNS; j < end; j++) {
        const score = scores[row * columns + j]!; // j < columns
        if (score > own.bar) own.add(score, from + j);
      }
    }
}

/** Two sets of buffers: one block is computed while the last one is looked through. */
function makeBuffers(
  queries: number,
): readonly { readonly scores: Float32Array; readonly maxima: Float32Array; readonly bank: Float32Array | undefined }[] {
  return [0, 1].map(() => ({
    scores: new Float32Array(queries * BANK_BLOCK),
    maxima: new Float32Array((queries * BANK_BLOCK) / MAXIMA_COLUMNS),
    bank: undefined,
  }));
}

/** The k bank rows with the largest dot product for every query. Rows should have unit length for cosine similarity. Throws ConfigError on NaN. */
export async function nearestNeighbours(bank: Float32Array, queries: Float32Array, options: NearestOptions): Promise<Nearest> {
  const { dim, threads, signal, onProgress } = options;
  const [n, m] = [bank.length / dim, queries.length / dim];
  const k = Math.min(options.k, n);
  for (const [what, rows] of [
    ["bank", bank],
    ["queries", queries],
  ] as const)
    if (!allFinite(rows))
      throw new ConfigError(`Cannot find neighbours: the ${what} has features that are not finite; embed again`, { keyPath: what });
  const result = { k, indices: new Int32Array(m * k), scores: new Float32Array(m * k) };
  using env = openOrt({ threads });
  using scorer = makeScoreBlock(env);
  for (let q = 0; q < m; q += QUERY_BLOCK) {
    const rows = Math.min(QUERY_BLOCK, m - q);
    const part = queries.subarray(q * dim, (q + rows) * dim);
    const best = Array.from({ length: rows }, () => new Best(k));
    const buffers = makeBuffers(rows);
    let last: Block | undefined;
    for (let b = 0, turn = 0; b < n; b += BANK_BLOCK, turn ^= 1) {
      signal?.throwIfAborted();
      const real = Math.min(BANK_BLOCK, n - b);
      const columns = Math.ceil(real / MAXIMA_COLUMNS) * MAXIMA_COLUMNS;
      const { scores, maxima } = buffers[turn] ?? { scores: new Float32Array(0), maxima: new Float32Array(0) };
      const block: Block = {
        scores: scores.subarray(0, rows * columns),
        maxima: maxima.subarray(0, (rows * columns) / MAXIMA_COLUMNS),
        columns,
        from: b,
        real,
      };
      const run = scorer.run({
        d: dim,
        queries: part,
        bank: padded(bank.subarray(b * dim, (b + real) * dim), columns * dim),
        scores: block.scores,
        maxima: block.maxima,
      });
      if (last !== undefined) select(best, last);
      await run;
      last = block;
    }
    if (last !== undefined) select(best, last);
    best.forEach((own, i) => {
      result.indices.set(own.indices, (q + i) * k);
      result.scores.set(own.scores, (q + i) * k);
    });
    onProgress?.({ what: "searching", done: q + rows, total: m, unit: "queries" });
  }
  return result;
}

/** Any NaN or infinity makes the sum of x − x NaN. */
function allFinite(values: Float32Array): boolean {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! - values[i]!; // i < length
  return sum === 0;
}

/** Zero rows up to a whole group; their scores are never taken. A group's maximum may be theirs, which costs a look only. */
function padded(rows: Float32Array, length: number): Float32Array {
  if (rows.length === length) return rows;
  const whole = new Float32Array(length);
  whole.set(rows);
  return whole;
}
