/** @file How far an exported model's numbers are from those of its source. */

/** Of one output, the worst over all pictures. */
export interface Difference {
  /** max |got − wanted|. */
  readonly maxAbsError: number;
  /** The same over max |wanted|. */
  readonly maxRelError: number;
  /** The worst cosine of two vectors along the last axis. */
  readonly worstCosine: number;
}

export interface Tolerance {
  /** Of `maxRelError`; none for weights that were rounded. */
  readonly maxRelError: number;
  readonly worstCosine: number;
}

/** Compares vectors of `width` numbers, row by row; two rows of zeros have cosine 1, what is not finite gives NaN. */
export function compareRows(got: Float32Array, wanted: Float32Array, width: number): Difference {
  let [maxAbsError, largest, worstCosine] = [0, 0, 1];
  for (let from = 0; from < wanted.length; from += width) {
    let [dot, a2, b2] = [0, 0, 0];
    for (let i = from; i < from + width; i++) {
      const [a, b] = [got[i] ?? Number.NaN, wanted[i] ?? Number.NaN];
      maxAbsError = Math.max(maxAbsError, Math.abs(a - b));
      largest = Math.max(largest, Math.abs(b));
      dot += a * b;
      a2 += a * a;
      b2 += b * b;
    }
    worstCosine = Math.min(worstCosine, a2 === 0 && b2 === 0 ? 1 : dot / Math.sqrt(a2 * b2));
  }
  return { maxAbsError, maxRelError: maxAbsError / (largest || 1), worstCosine };
}

/** The worse of two; NaN is the worst. */
export function worse(a: Difference, b: Difference): Difference {
  return {
    maxAbsError: Math.max(a.maxAbsError, b.maxAbsError),
    maxRelError: Math.max(a.maxRelError, b.maxRelError),
    worstCosine: Math.min(a.worstCosine, b.worstCosine),
  };
}

/** Whether it is near enough; NaN never is. */
export function isWithin({ maxRelError, worstCosine }: Difference, tolerance: Tolerance): boolean {
  return maxRelError <= tolerance.maxRelError && worstCosine >= tolerance.worstCosine;
}
