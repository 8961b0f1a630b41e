/** @file Padded lists: which rows of a fixed-size list count, and how many there are over all processes of a batch. Contracts 7. */
import { ShapeError } from "../core/index.ts";
import { constant, dims, maximum, reshape, scalar, sumAll, type Tensor } from "../engine/trace/index.ts";

/** Which rows of a list count. Without options all of them do, in one process. */
export interface RowOptions {
  /** `[rows]` of 1 (counts) and 0 (padding); by default every row counts. */
  readonly valid?: Tensor | undefined;
  /** The number of rows that count in this process, a scalar; by default the sum of `valid`. */
  readonly count?: Tensor | undefined;
  /** Adds a tensor up over the processes that share the batch; by default there is one. */
  readonly allReduce?: ((t: Tensor) => Tensor) | undefined;
}

/** The same, as objectives use it. */
export interface CountedRows {
  /** `[rows, 1]` of 0 and 1. */
  readonly column: Tensor;
  /** Rows that count over all processes, a scalar that can be 0. */
  readonly total: Tensor;
  readonly allReduce: (t: Tensor) => Tensor;
}

/** Options of the list `[rows, k]` as a column of weights and a total. Throws ShapeError where `valid` or `count` does not fit. */
export function countRows(list: Tensor, { valid, count, allReduce = (t) => t }: RowOptions): CountedRows {
  const { rows } = dims(list, "rows _");
  if (valid !== undefined) dims(valid, `${rows}`);
  if (count !== undefined && count.shape.length !== 0)
    throw new ShapeError(`Cannot count the rows of ${list.toString()} by ${count.toString()}: it is no scalar; reshape it to []`);
  const { builder } = list;
  const column = valid === undefined ? constant(builder, [rows, 1], new Float32Array(rows).fill(1)) : reshape(valid, [rows, 1]);
  const own = count ?? (valid === undefined ? scalar(builder, rows) : sumAll(valid));
  return { column, total: allReduce(own), allReduce };
}

/** `max(total, 1)`: what a sum over no rows is divided by, so that it stays 0. */
export function atLeastOne(total: Tensor): Tensor {
  return maximum(total, 1);
}
