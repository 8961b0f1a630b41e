/** @file Which patches are alike: cosines between patch tokens, of one picture or of two. */
import { ShapeError } from "../core/index.ts";

/** Patch tokens `[p, d]`. */
export interface PatchTokens {
  readonly patches: Float32Array;
}

function rowsOf({ patches }: PatchTokens, width: number): number {
  if (Number.isInteger(width) && width > 0 && patches.length % width === 0) return patches.length / width;
  throw new ShapeError(`Cannot compare patches of width ${width}: there are ${patches.length} values; give the model's width`);
}

function norm(token: Float32Array): number {
  return Math.max(1e-12, Math.hypot(...token));
}

/**
 * Cosine of one patch token of `from` with every patch token of `to`, `[p]`. Throws ShapeError for tokens of another width, RangeError for a
 * patch that is not there.
 */
export function similarityMap(
  from: PatchTokens,
  patch: number,
  { to = from, width }: { readonly to?: PatchTokens; readonly width: number },
): Float32Array {
  const [own, others] = [rowsOf(from, width), rowsOf(to, width)];
  if (!Number.isInteger(patch) || patch < 0 || patch >= own)
    throw new RangeError(`Cannot compare patch ${patch}: there are ${own}; give a number from 0 to ${own - 1}`);
  const query = from.patches.subarray(patch * width, (patch + 1) * width);
  const scale = 1 / norm(query);
  return Float32Array.from({ length: others }, (_, i) => {
    const token = to.patches.subarray(i * width, (i + 1) * width);
    let sum = 0;
    for (let c = 0; c < width; c++) sum += query[c]! * token[c]!; // c < width
    return (sum * scale) / norm(token);
  });
}

/** The place of the greatest value; the first of equals. */
export function bestPatch(similarity: Float32Array): number {
  let best = 0;
  for (let i = 1; i < similarity.length; i++) if (similarity[i]! > similarity[best]!) best = i; // i < length
  return best;
}
