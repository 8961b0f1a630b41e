/** @file Dot products of many rows with many rows, for nearest neighbours: blocks of scores at ONNX Runtime's Gemm speed. */
import { Owned, ShapeError } from "../../../core/index.ts";
import { encodeModel, type OnnxModel } from "../../onnx/proto.ts";
import type { OrtEnv } from "./env.ts";
import type { OrtSession } from "./session.ts";

/** Columns that share one maximum in `ScoreBlockInput.maxima`. */
export const MAXIMA_COLUMNS = 64;

export interface ScoreBlockInput {
  /** Width d of a row. */
  readonly d: number;
  /** [q, d] */
  readonly queries: Float32Array;
  /** [n, d] */
  readonly bank: Float32Array;
  /** [q, n], written: scores[i, j] = queries[i] · bank[j] */
  readonly scores: Float32Array;
  /** [q, n / 64], written: the largest score of each 64 columns, to skip columns that cannot matter; n must be a multiple of 64. */
  readonly maxima?: Float32Array;
}

export interface ScoreBlock extends Disposable {
  /** Fills `scores` (and `maxima`) off the event loop. Throws ShapeError when the arrays do not fit each other. */
  run(input: ScoreBlockInput): Promise<void>;
}

/** Sessions are kept by shape; a search has a full block and its last, shorter ones. */
const MAX_SESSIONS = 16;

interface Sizes {
  readonly q: number;
  readonly n: number;
  readonly d: number;
  readonly maxima: boolean;
}

/** Scores of blocks of rows; the environment may be disposed before the block. */
export function makeScoreBlock(env: OrtEnv): ScoreBlock {
  const sessions = new Map<string, OrtSession>();
  const sessionFor = (sizes: Sizes): OrtSession => {
    const key = JSON.stringify(sizes);
    const session =
      sessions.get(key) ?? env.session(encodeModel(scoreModel(sizes)), { inputs: ["queries", "bank"], outputs: outputNames(sizes) });
    sessions.delete(key);
    sessions.set(key, session); // now the youngest
    return session;
  };
  return {
    async run(input) {
      const sizes = sizesOf(input);
      if (sizes.q === 0 || sizes.n === 0) return;
      const session = sessionFor(sizes);
      using tensors = new Owned();
      const matrix = (data: Float32Array, shape: readonly number[]) => tensors.use(env.tensor(data, "f32", shape));
      const { q, n, d } = sizes;
      const maxima = input.maxima === undefined ? [] : [matrix(input.maxima, [q, n / MAXIMA_COLUMNS])];
      const run = session.bind([matrix(input.queries, [q, d]), matrix(input.bank, [n, d])], [matrix(input.scores, [q, n]), ...maxima]);
      await run.run();
      evict(sessions);
    },
    [Symbol.dispose]() {
      for (const session of sessions.values()) session[Symbol.dispose]();
      sessions.clear();
    },
  };
}

function evict(sessions: Map<string, OrtSession>): void {
  for (const [key, session] of sessions) {
    if (sessions.size <= MAX_SESSIONS) return;
    if (session.busy) continue;
    sessions.delete(key);
    session[Symbol.dispose]();
  }
}

function sizesOf({ d, queries, bank, scores, maxima }: ScoreBlockInput): Sizes {
  const q = queries.length / d;
  const n = bank.length / d;
  const fits = Number.isInteger(q) && Number.isInteger(n) && scores.length === q * n;
  if (!fits)
    throw new ShapeError(
      `Cannot score rows of width ${d}: queries have ${queries.length} values, the bank ${bank.length}, scores ${scores.length}; pass [q, d], [n, d] and [q, n]`,
    );
  if (maxima !== undefined && maxima.length * MAXIMA_COLUMNS !== q * n)
    throw new ShapeError(
      `Cannot take maxima of ${q} x ${n} scores: the array has ${maxima.length} values; n must be a multiple of ${MAXIMA_COLUMNS} and the array [q, n / ${MAXIMA_COLUMNS}]`,
    );
  return { q, n, d, maxima: maxima !== undefined };
}

function outputNames({ maxima }: Sizes): string[] {
  return maxima ? ["scores", "maxima"] : ["scores"];
}

function scoreModel({ q, n, d, maxima }: Sizes): OnnxModel {
  const groups = n / MAXIMA_COLUMNS;
  const gemm = { op: "Gemm", inputs: ["queries", "bank"], outputs: ["scores"], attrs: { transB: { int: 1 } } };
  const largest = [
    { op: "Reshape", inputs: ["scores", "grouped"], outputs: ["groups"] },
    { op: "ReduceMax", inputs: ["groups", "axes"], outputs: ["maxima"], attrs: { keepdims: { int: 0 } } },
  ];
  return {
    nodes: maxima ? [gemm, ...largest] : [gemm],
    initializers: maxima
      ? [
          { name: "grouped", dtype: "i64", shape: [3], data: BigInt64Array.of(BigInt(q), BigInt(groups), BigInt(MAXIMA_COLUMNS)) },
          { name: "axes", dtype: "i64", shape: [1], data: BigInt64Array.of(2n) },
        ]
      : [],
    inputs: [
      { name: "queries", dtype: "f32", shape: [q, d] },
      { name: "bank", dtype: "f32", shape: [n, d] },
    ],
    outputs: [
      { name: "scores", dtype: "f32", shape: [q, n] },
      ...(maxima ? [{ name: "maxima", dtype: "f32" as const, shape: [q, groups] }] : []),
    ],
  };
}
