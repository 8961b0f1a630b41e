/** @file Timing of variants in turn, as the peers' `interleave` does it, and the numbers that it gives. */

/** Times of one variant, ms. */
export interface Timed {
  readonly median_ms: number;
  readonly min_ms: number;
  /** The run before the counted ones. */
  readonly first_ms: number;
  /** CPU time of this process over wall time: well under the threads, something else was running. */
  readonly cores: number;
}

/** The upper one of the two in the middle. */
export function median(xs: readonly number[]): number {
  return xs.toSorted((a, b) => a - b)[xs.length >> 1] ?? NaN;
}

export function round(x: number, digits = 1): number {
  return Math.round(x * 10 ** digits) / 10 ** digits;
}

/** CPU time of this process so far, all threads, ms. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Runs every variant once, then all of them in turn (a, b, a, b, …) `reps` times, so that noise hits all alike. */
export async function interleave<Name extends string>(
  variants: Readonly<Record<Name, () => Promise<void>>>,
  reps: number,
): Promise<Record<Name, Timed>> {
  const runs = (Object.entries(variants) as [Name, () => Promise<void>][]).map(([name, run]) => ({
    // keys of the record
    name,
    run,
    wall: [] as number[],
    cores: [] as number[],
  }));
  for (let rep = 0; rep <= reps; rep++)
    for (const { run, wall, cores } of runs) {
      const [started, used] = [performance.now(), cpuMs()];
      await run();
      const ms = performance.now() - started;
      wall.push(ms);
      cores.push((cpuMs() - used) / ms);
    }
  const timed = runs.map(({ name, wall: [first = NaN, ...wall], cores }): [Name, Timed] => [
    name,
    {
      median_ms: round(median(wall)),
      min_ms: round(Math.min(...wall)),
      first_ms: round(first),
      cores: round(median(cores.slice(1)), 2),
    },
  ]);
  return Object.fromEntries(timed) as Record<Name, Timed>; // one for each key
}

/** Largest memory of the process so far, MiB, as the peers' `peak_rss_mb`. */
export function peakRssMb(): number {
  return Math.round(process.resourceUsage().maxRSS / 1024);
}
