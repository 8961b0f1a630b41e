/** @file Gradient clipping: from norms to one coefficient a parameter. */

/** `per-parameter`: DINO. `global`: one norm. `per-module`: DINOv2's one norm for each of backbone and heads. */
export type Clip = { readonly kind: "none" } | { readonly kind: "per-parameter" | "global" | "per-module"; readonly norm: number };

/** PyTorch's guard against division by zero. */
const CLIP_EPS = 1e-6;

/** min(1, limit / (norm + 1e-6)). */
export function clipCoefficient(norm: number, limit: number): number {
  return Math.min(1, limit / (norm + CLIP_EPS));
}

/**
 * One coefficient for every parameter from the sums of squares of the gradients (0 where the gradient is dropped).
 * Sums are taken in the order given, so the result does not depend on who computed them.
 */
export function clipCoefficients(clip: Clip, squares: ArrayLike<number>, modules: readonly string[]): Float64Array {
  const n = squares.length;
  if (clip.kind === "none") return new Float64Array(n).fill(1);
  const groupOf = { "per-parameter": (i: number) => String(i), global: () => "", "per-module": (i: number) => modules[i] ?? "" }[clip.kind];
  const sums = new Map<string, number>();
  for (let i = 0; i < n; i++) sums.set(groupOf(i), (sums.get(groupOf(i)) ?? 0) + squares[i]!); // i < squares.length
  return Float64Array.from({ length: n }, (_, i) => clipCoefficient(Math.sqrt(sums.get(groupOf(i)) ?? 0), clip.norm));
}
