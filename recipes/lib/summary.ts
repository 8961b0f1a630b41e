/** @file Numbers of several seeds in a cell of a table. */

/** Of at least one number. */
export function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

/** Mean and range in per cent of shares of 1; empty where there are none. */
export function summary(values: readonly number[]): string {
  if (values.length === 0) return "";
  const percent = values.map((v) => 100 * v);
  const range = percent.length === 1 ? "" : ` (${Math.min(...percent).toFixed(1)} to ${Math.max(...percent).toFixed(1)})`;
  return `${mean(percent).toFixed(1)}${range}`;
}
