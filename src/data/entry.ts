/** @file What a data set is: a fixed, ordered list of images. */

/** One image: a file, or a member of a tar file. */
export interface DataEntry {
  /** Absolute path; for a member of a tar file that of the tar file. */
  readonly path: string;
  /** The member's name inside a tar file. */
  readonly member?: string;
  /** Where the member's bytes begin. */
  readonly offset?: number;
  readonly bytes: number;
  readonly mtimeMs: number;
  readonly label?: string;
}

/** Images in an order that does not depend on the machine: by path, byte by byte. */
export interface DataList {
  readonly entries: readonly DataEntry[];
  /** Sorted names of the classes; empty without labels. */
  readonly classes: readonly string[];
}

/** The name of an entry for people and for comparing lists. */
export function entryName({ path, member }: DataEntry): string {
  return member === undefined ? path : `${path}!${member}`;
}

/** UTF-16 puts surrogates (all above U+FFFF) before U+E000 to U+FFFF; UTF-8 puts them behind. */
function rankOf(codeUnit: number): number {
  if (codeUnit < 0xd800) return codeUnit;
  return codeUnit < 0xe000 ? codeUnit + 0x2000 : codeUnit - 0x800;
}

/** Orders by UTF-8 bytes, as `LC_ALL=C sort` does; lists are long, so without encoding them. */
export function byBytes(a: string, b: string): number {
  const common = Math.min(a.length, b.length);
  for (let i = 0; i < common; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x !== y) return rankOf(x) - rankOf(y);
  }
  return a.length - b.length;
}

/** A sorted list with its classes. */
export function makeList(entries: readonly DataEntry[]): DataList {
  const named = entries.map((entry) => ({ entry, name: entryName(entry) }));
  const sorted = named.toSorted((a, b) => byBytes(a.name, b.name)).map(({ entry }) => entry);
  const classes = [...new Set(sorted.flatMap((e) => e.label ?? []))].sort(byBytes);
  return { entries: sorted, classes };
}
