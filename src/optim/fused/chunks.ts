/** @file Cuts the parameters into chunks of a fixed size: the unit of work of a thread and of a partial sum. */
import type { Layout } from "../layout.ts";
import type { Span } from "./kernel.ts";

/** 8192 floats: five arrays of 32 KB stay in a core's second-level cache between the update and the EMA. Changing it changes bits. */
const CHUNK_FLOATS = 8192;

/** A piece of one parameter, padding included. */
export interface Chunk extends Span {
  /** Index of the parameter in the layout. */
  readonly param: number;
}

/** All chunks in layout order; they depend on the layout alone, so sums over them do not depend on threads. */
export function makeChunks(layout: Layout): Chunk[] {
  return layout.entries.flatMap(({ index, offset, paddedLength }) =>
    Array.from({ length: Math.ceil(paddedLength / CHUNK_FLOATS) }, (_, i) => ({
      param: index,
      start: offset + i * CHUNK_FLOATS,
      length: Math.min(CHUNK_FLOATS, paddedLength - i * CHUNK_FLOATS),
    })),
  );
}
