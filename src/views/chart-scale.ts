/** @file From values to places on a chart: spans, round ticks, thinning. */

export type Point = readonly [x: number, y: number];

export const isFinitePoint = ([x, y]: Point): boolean => Number.isFinite(x) && Number.isFinite(y);

/** Three to seven round numbers that lie in a span. */
export function ticks(low: number, high: number): readonly number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? rough;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** The least and greatest value; a single one gets room around it. */
export function spanOf(values: readonly number[]): readonly [low: number, high: number] {
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (low < high) return [low, high];
  const room = Math.max(Math.abs(low) * 0.05, 1e-12);
  return [low - room, high + room];
}

function buckets(points: readonly Point[], count: number): readonly (readonly Point[])[] {
  const each = Math.ceil(points.length / count);
  return Array.from({ length: Math.ceil(points.length / each) }, (_, i) => points.slice(i * each, (i + 1) * each));
}

/** At most about `count` points that keep every peak: least and greatest of each bucket, in order; buckets without a value leave a gap. */
export function thinPeaks(points: readonly Point[], count: number): readonly Point[] {
  if (points.length <= count) return points;
  return buckets(points, Math.ceil(count / 2)).flatMap((bucket): readonly Point[] => {
    const there = bucket.filter(isFinitePoint);
    const [first] = there;
    if (first === undefined) return bucket.slice(0, 1);
    const low = there.reduce((a, b) => (b[1] < a[1] ? b : a), first);
    const high = there.reduce((a, b) => (b[1] > a[1] ? b : a), first);
    if (low === high) return [low];
    return low[0] < high[0] ? [low, high] : [high, low];
  });
}

/** Means of `count` buckets: the course of a noisy series. */
export function averagePoints(points: readonly Point[], count: number): readonly Point[] {
  return buckets(points, count).map((bucket): Point => {
    const there = bucket.filter(isFinitePoint);
    const mean = (i: 0 | 1): number => there.reduce((s, p) => s + p[i], 0) / there.length;
    return there.length === 0 ? [bucket[0]?.[0] ?? NaN, NaN] : [mean(0), mean(1)];
  });
}
