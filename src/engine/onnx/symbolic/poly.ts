/** @file Whole numbers that depend on sizes which are not fixed: sums of products of symbols, found from a few of their values. */
import { InternalError } from "../../../core/index.ts";

/** A size that is not fixed: its name, and the three values it is traced at. */
export interface SizeSymbol {
  readonly name: string;
  readonly low: number;
  readonly high: number;
  /** Where the fit is held against the truth. */
  readonly probe: number;
}

/** `Σ c[m] Π symbols of m` over the subsets m of the symbols, by bit mask: 2^k coefficients. At most linear in each symbol. */
export type Poly = readonly number[];

/** Values of the symbols at a corner: high where the symbol's bit is set. */
export function cornerOf(symbols: readonly SizeSymbol[], mask: number): number[] {
  return symbols.map(({ low, high }, i) => ((mask >> i) & 1 ? high : low));
}

/** The polynomial that takes `values[mask]` at each corner. Throws InternalError where a coefficient is no whole number. */
export function fitPoly(symbols: readonly SizeSymbol[], values: readonly number[]): Poly {
  const c = [...values];
  for (const [i, { low, high }] of symbols.entries())
    for (let mask = 0; mask < c.length; mask++) {
      if ((mask >> i) & 1) continue;
      const [at, next] = [c[mask] ?? 0, c[mask | (1 << i)] ?? 0];
      const slope = (next - at) / (high - low);
      c[mask | (1 << i)] = slope;
      c[mask] = at - slope * low;
    }
  if (!c.every(Number.isInteger)) throw new InternalError(`Cannot fit ${values.join(", ")}: not linear in each size`);
  return c;
}

export function polyAt(poly: Poly, sizes: readonly number[]): number {
  return poly.reduce((sum, c, mask) => sum + c * sizes.reduce((n, size, i) => ((mask >> i) & 1 ? n * size : n), 1), 0);
}

/** Whether it is the same number whatever the sizes. */
export function isFixed(poly: Poly): boolean {
  return poly.every((c, mask) => mask === 0 || c === 0);
}

export function samePoly(a: Poly | undefined, b: Poly | undefined): boolean {
  return a !== undefined && b !== undefined && a.length === b.length && a.every((c, i) => c === b[i]);
}

/** Symbols of a mask, by index. */
export function symbolsOf(mask: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => i).filter((i) => (mask >> i) & 1);
}

/** `5 + rows*columns`: the name of a size in a model. */
export function polyText(poly: Poly, symbols: readonly SizeSymbol[]): string {
  const terms = poly.flatMap((c, mask) => {
    if (c === 0) return [];
    const names = symbolsOf(mask, symbols.length).map((i) => symbols[i]?.name ?? "");
    return [[...(c === 1 && names.length > 0 ? [] : [String(c)]), ...names].join("*")];
  });
  return terms.length === 0 ? "0" : terms.join(" + ");
}
