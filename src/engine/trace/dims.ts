/** @file Named axes: `dims(x, "b n d")` gives `{ b, n, d }` and checks literals and repeats, at trace time. */
import { ShapeError } from "../../core/index.ts";
import type { Tensor } from "./tensor.ts";

type Words<S extends string> = S extends `${infer A} ${infer B}` ? A | Words<B> : S;
type Names<S extends string> = Exclude<Words<S>, `${number}` | "_">;

/** Reads the axes of `x` by name. A number must match its axis, `_` matches anything, a repeated name must repeat its size. */
export function dims<S extends string>(x: Tensor, pattern: S): { readonly [K in Names<S>]: number } {
  const words = pattern.split(" ");
  const found: Record<string, number> = {};
  const bad = (why: string): never => {
    throw new ShapeError(`Cannot read ${x.toString()} as "${pattern}": ${why}`);
  };
  if (words.length !== x.shape.length) bad(`it has ${x.shape.length} axes, not ${words.length}; correct the pattern or reshape`);
  words.forEach((word, i) => {
    const size = x.shape[i] ?? 0;
    if (word === "_") return;
    const wanted = /^\d+$/.test(word) ? Number(word) : found[word];
    if (wanted !== undefined && wanted !== size) bad(`axis ${i} (${word}) is ${size}, not ${wanted}; correct the shape`);
    if (!/^\d+$/.test(word)) found[word] = size;
  });
  return found as { readonly [K in Names<S>]: number }; // every name of the pattern was set above
}
