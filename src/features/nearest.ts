/** @file Nearest neighbours by dot product, block by block: there is never a whole matrix of scores. */
import { ConfigError, type JobOptions, ShapeError } from "../core/index.ts";
import { makeScoreBlock, MAXIMA_COLUMNS, openOrt } from "../engine/runtime/index.ts";

export interface NearestOptions extends JobOptions {
  /** Width of a row. */
  readonly dim: number;
  readonly k: number;
  readonly threads: number;
  /** Rows of a block; the defaults fit a processor's cache. The result does not depend on them. */
  readonly blocks?: SearchBlocks | undefined;
}

export interface SearchBlocks {
  readonly queryRows: number;
  /** Rounded up to a multiple of 64. */
  readonly bankRows: number;
}

/** Row i: the k nearest bank rows of query i, nearest first; equal scores in the bank's order. */
export interface Nearest {
  readonly k: number;
  readonly indices: Int32Array;
  readonly scores: Float32Array;
}

const DEFAULT_BLOCKS: SearchBlocks = { queryRows: 512, bankRows: 4096 };

/** Numbers that a search holds at once, beside bank and queries themselves: it grows with k, never with the product of bank and queries. */
export interface SearchPlan extends SearchBlocks {
  /** Of the bank's size at most. */
  readonly k: number;
  /** Float32 numbers in one block of scores; there are two. */
  readonly scores: number;
  /** Float32 numbers in one block of maxima; there are two. */
  readonly maxima: number;
  /** Neighbours and their scores of one block of queries. */
  readonly best: number;
  /** Indices and scores of the result. */
  readonly result: number;
}

/** The block sizes and buffers of a search of `queries` rows in a bank of `bank` rows. Throws ConfigError for a bad k or an empty bank. */
export function planSearch(
  { bank, queries }: { readonly bank: number; readonly queries: number },
  { k, blocks = DEFAULT_BLOCKS }: { readonly k: number; readonly blocks?: SearchBlocks | undefined },
): SearchPlan {
  if (bank === 0) throw new ConfigError("Cannot find neighbours: the bank is empty; give images that vote", { keyPath: "bank" });
  if (!Number.isInteger(k) || k < 1)
    throw new ConfigError(`Cannot find ${k} neighbours: it is no whole number of at least 1; correct k`, { keyPath: "k" });
  const wholeGroups = (rows: number): number => Math.ceil(rows / MAXIMA_COLUMNS) * MAXIMA_COLUMNS;
  const queryRows = Math.min(blocks.queryRows, queries);
  const bankRows = wholeGroups(Math.min(blocks.bankRows, bank));
  const [scores, kept] = [queryRows * bankRows, Math.min(k, bank)];
  return { k: kept, queryRows, bankRows, scores, maxima: scores / MAXIMA_COLUMNS, best: 2 * queryRows * kept, result: 2 * queries * kept };
}

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

interface Buffers {
  readonly scores: Float32Array;
  readonly maxima: Float32Array;
}

/** One block is computed while the last one is looked through. */
function makeBuffers({ scores, maxima }: SearchPlan): readonly [Buffers, Buffers] {
  const make = (): Buffers => ({ scores: new Float32Array(scores), maxima: new Float32Array(maxima) });
  return [make(), make()];
}

function rowsOf(values: Float32Array, dim: number, what: string): number {
  if (!Number.isInteger(dim) || dim < 1 || values.length % dim !== 0)
    throw new ShapeError(`Cannot find neighbours: the ${what} has ${values.length} numbers, which are no rows of ${dim}; check the width`);
  if (!allFinite(values))
    throw new ConfigError(`Cannot find neighbours: the ${what} has features that are not finite; embed again`, { keyPath: what });
  return values.length / dim;
}

/**
 * The k bank rows with the largest dot product for every query. Rows should have unit length for cosine similarity. Throws ConfigError for
 * NaN or infinite features, an empty bank and a bad k, ShapeError for arrays that are no rows of `dim`.
 */
export async function nearestNeighbours(bank: Float32Array, queries: Float32Array, options: NearestOptions): Promise<Nearest> {
  const { dim, threads, signal, onProgress } = options;
  const [n, m] = [rowsOf(bank, dim, "bank"), rowsOf(queries, dim, "queries")];
  const plan = planSearch({ bank: n, queries: m }, options);
  const { k, queryRows, bankRows } = plan;
  const result = { k, indices: new Int32Array(m * k), scores: new Float32Array(m * k) };
  if (m === 0) return result;
  const buffers = makeBuffers(plan);
  using env = openOrt({ threads });
  using scorer = makeScoreBlock(env);
  for (let q = 0; q < m; q += queryRows) {
    const rows = Math.min(queryRows, m - q);
    const part = queries.subarray(q * dim, (q + rows) * dim);
    const best = Array.from({ length: rows }, () => new Best(k));
    let last: Block | undefined;
    for (let b = 0, turn = 0; b < n; b += bankRows, turn ^= 1) {
      signal?.throwIfAborted();
      const real = Math.min(bankRows, n - b);
      const columns = Math.ceil(real / MAXIMA_COLUMNS) * MAXIMA_COLUMNS;
      const { scores, maxima } = buffers[turn === 0 ? 0 : 1];
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
    if (best.some((own) => own.indices.includes(-1)))
      throw new ConfigError("Cannot find neighbours: dot products overflow float32; scale the features, as --normalize does", {
        keyPath: "bank",
      });
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
