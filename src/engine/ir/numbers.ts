/** @file Values of a typed array as plain numbers, whatever its element type. */
import type { TypedArray } from "../../core/index.ts";

/** int64 values become the nearest float64. */
export function numbersOf(data: TypedArray): number[] {
  return data instanceof BigInt64Array ? Array.from(data, Number) : Array.from(data);
}

/** Values as text that tells 0 and −0 apart, as 1/x does. */
export function valuesKey(data: TypedArray): string {
  return numbersOf(data)
    .map((x) => (Object.is(x, -0) ? "-0" : String(x)))
    .join(",");
}
