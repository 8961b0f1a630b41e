/** @file Errors by meaning, so that callers catch what they can act on. Text: `Cannot <verb> <thing>: <state>; <what to do>`. */

/** A tensor has another shape than the operation needs. */
export class ShapeError extends TypeError {
  override readonly name: string = "ShapeError";
}

/** A tensor has another element type than the operation needs. */
export class DTypeError extends TypeError {
  override readonly name: string = "DTypeError";
}

/** A configuration value is missing, unknown or wrong; `keyPath` says which. */
export class ConfigError extends Error {
  override readonly name: string = "ConfigError";
  readonly keyPath: string;
  constructor(message: string, options: { readonly keyPath?: string; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.keyPath = options.keyPath ?? "";
  }
}

/** A file is not what it claims to be; `file` says which. */
export class FormatError extends Error {
  override readonly name: string = "FormatError";
  readonly file: string;
  constructor(message: string, options: { readonly file?: string; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.file = options.file ?? "";
  }
}

/** The command line was used wrongly (exit code 2). */
export class UsageError extends Error {
  override readonly name: string = "UsageError";
}

/** Something the machine lacks: a native library, memory, disk. */
export class PlatformError extends Error {
  override readonly name: string = "PlatformError";
}

/** "Cannot happen": a broken invariant of ours, never the user's fault. */
export class InternalError extends Error {
  override readonly name: string = "InternalError";
}

/** The edit distance of two words (insert, delete, replace, swap of neighbours cost 1). */
function editDistance(a: string, b: string): number {
  const rows = Array.from({ length: a.length + 1 }, (_, i) => [i, ...Array<number>(b.length).fill(0)]);
  const first = rows[0]!; // the table has a.length + 1 >= 1 rows
  for (let j = 0; j <= b.length; j++) first[j] = j;
  const at = (i: number, j: number): number => rows[i]?.[j] ?? Infinity;
  for (let i = 1; i <= a.length; i++)
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      const swap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(i - 2, j - 2) + 1 : Infinity;
      rows[i]![j] = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + same, swap); // i < rows.length
    }
  return at(a.length, b.length);
}

/** The candidate nearest to `word`, or undefined when none is near enough to be meant. */
export function nearestName(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const c of candidates) {
    const d = editDistance(word.toLowerCase(), c.toLowerCase());
    if (d < bestDistance) [best, bestDistance] = [c, d];
  }
  return best;
}

/** `"; did you mean "x"?"`-style hint, or the list of what there is when nothing is near. */
export function nameHint(word: string, candidates: Iterable<string>): string {
  const all = [...candidates];
  const near = nearestName(word, all);
  if (near !== undefined) return `did you mean "${near}"?`;
  return all.length <= 12 ? `choose one of ${all.join(", ")}` : `there are ${all.length} names, none near it`;
}
