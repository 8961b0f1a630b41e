/** @file Rotary positions on the host: periods, tables of sines and cosines, and the draws that augment them. DINOv3 spec §3.2. */
import { ConfigError, type Rng } from "../core/index.ts";
import type { Grid } from "./position.ts";

export interface RopeConfig {
  /** Periods grow from 1 towards this number; 100 unless periods are given by `minPeriod` and `maxPeriod`. */
  readonly base?: number;
  readonly minPeriod?: number;
  readonly maxPeriod?: number;
  /** What patch coordinates are divided by: each axis by its own length (unless said), or both by the longer or the shorter one. */
  readonly normalize?: "separate" | "max" | "min";
  /** Augmentation of the student: coordinates plus U(−shift, shift), an axis. */
  readonly shift?: number;
  /** Augmentation of the student: coordinates times exp U(−ln jitter, ln jitter), an axis. */
  readonly jitter?: number;
  /** Augmentation of the student: both coordinates times the same exp U(−ln rescale, ln rescale). */
  readonly rescale?: number;
}

/** One drawn augmentation, as it is applied: `(u + shift) · jitter · rescale`. */
export interface RopeDraws {
  readonly shift: readonly [y: number, x: number];
  readonly jitter: readonly [y: number, x: number];
  readonly rescale: number;
}

/** Sines and cosines `[rows·columns, headDim]`, row-major. */
export interface RopeTables {
  readonly sin: Float32Array;
  readonly cos: Float32Array;
}

function fail(key: string, state: string, todo: string): never {
  throw new ConfigError(`Cannot rotate positions: ${state}; ${todo}`, { keyPath: `model.rope.${key}` });
}

/** Periods are said once: by their base, or by both ends. */
function checkPeriods({ base, minPeriod, maxPeriod }: RopeConfig): void {
  if (minPeriod === undefined && maxPeriod === undefined) {
    if (!((base ?? 100) > 0)) fail("base", `base is ${base}`, "give a positive number");
    return;
  }
  const ends = [minPeriod ?? 0, maxPeriod ?? 0];
  if (base !== undefined || !ends.every((x) => x > 0))
    fail("minPeriod", `base is ${base}, minPeriod ${minPeriod}, maxPeriod ${maxPeriod}`, "give base, or both positive periods");
}

/** Throws ConfigError for a head that has no whole number of frequencies, and for periods that are said twice or by half. */
export function checkRope(config: RopeConfig, headDim: number): void {
  const { shift = 0, jitter = 1, rescale = 1 } = config;
  if (!Number.isInteger(headDim) || headDim < 4 || headDim % 4 !== 0)
    fail("headDim", `a head has ${headDim} numbers`, "give each head a multiple of 4");
  checkPeriods(config);
  if (!(shift >= 0)) fail("shift", `shift is ${shift}`, "give a number from 0");
  if (!(jitter >= 1)) fail("jitter", `jitter is ${jitter}`, "give a factor from 1");
  if (!(rescale >= 1)) fail("rescale", `rescale is ${rescale}`, "give a factor from 1");
}

/** The `headDim / 4` periods: `base^(4i / headDim)`, or from `minPeriod` to `maxPeriod` in equal ratios. Throws ConfigError. */
export function ropePeriods(config: RopeConfig, headDim: number): Float64Array {
  checkRope(config, headDim);
  const count = headDim / 4;
  const { base = 100, minPeriod, maxPeriod } = config;
  if (minPeriod === undefined || maxPeriod === undefined)
    return Float64Array.from({ length: count }, (_, i) => base ** ((4 * i) / headDim));
  const at = (i: number): number => (count === 1 ? 0 : i / (count - 1)); // as linspace(0, 1, count)
  return Float64Array.from({ length: count }, (_, i) => maxPeriod * (maxPeriod / minPeriod) ** (at(i) - 1));
}

/** Coordinates of patch centres along an axis, in (−1, 1) where the divisor is its own length. */
function coordinates(length: number, divisor: number): number[] {
  return Array.from({ length }, (_, i) => (2 * (i + 0.5)) / divisor - 1);
}

/** Divisors of rows and columns. */
function divisors({ rows, columns }: Grid, normalize: NonNullable<RopeConfig["normalize"]>): readonly [number, number] {
  if (normalize === "separate") return [rows, columns];
  const both = Math[normalize](rows, columns);
  return [both, both];
}

const PLAIN: RopeDraws = { shift: [0, 0], jitter: [1, 1], rescale: 1 };

/**
 * Sines and cosines of a grid's tokens: angles `2π y / period` for each period, then `2π x / period`, and both again for the second half
 * of the head. Computed in float64, rounded to float32. Throws ConfigError.
 */
export function ropeTables({
  rope,
  headDim,
  grid,
  draws = PLAIN,
}: {
  readonly rope: RopeConfig;
  readonly headDim: number;
  readonly grid: Grid;
  readonly draws?: RopeDraws;
}): RopeTables {
  const periods = ropePeriods(rope, headDim);
  const [byRows, byColumns] = divisors(grid, rope.normalize ?? "separate");
  const moved = (u: number, axis: 0 | 1): number => (u + draws.shift[axis]) * draws.jitter[axis] * draws.rescale;
  const y = coordinates(grid.rows, byRows).map((u) => moved(u, 0));
  const x = coordinates(grid.columns, byColumns).map((u) => moved(u, 1));
  const sin = new Float32Array(grid.rows * grid.columns * headDim);
  const cos = new Float32Array(sin.length);
  let at = 0;
  for (const v of y)
    for (const u of x)
      for (let half = 0; half < 2; half++)
        for (const coordinate of [v, u])
          for (const period of periods) {
            const angle = (2 * Math.PI * coordinate) / period;
            sin[at] = Math.sin(angle);
            cos[at++] = Math.cos(angle);
          }
  return { sin, cos };
}

/** Whether tables of this configuration are augmented in training. */
export function ropeIsAugmented({ shift = 0, jitter = 1, rescale = 1 }: RopeConfig): boolean {
  return shift > 0 || jitter > 1 || rescale > 1;
}

/** One augmentation; a new one is due for each block and group of crops of the student. Shift is drawn first, then jitter, then rescale. */
export function drawRope({ shift = 0, jitter = 1, rescale = 1 }: RopeConfig, rng: Rng): RopeDraws {
  const factor = (most: number): number => Math.exp(rng.uniform(-Math.log(most), Math.log(most)));
  const pair = (draw: () => number): [number, number] => [draw(), draw()];
  return { shift: pair(() => rng.uniform(-shift, shift)), jitter: pair(() => factor(jitter)), rescale: factor(rescale) };
}
