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

/** Orders by UTF-8 bytes, as `LC_ALL=C sort` does. */
export function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** A sorted list with its classes. */
export function makeList(entries: readonly DataEntry[]): DataList {
  const sorted = entries.toSorted((a, b) => byBytes(entryName(a), entryName(b)));
  const classes = [...new Set(sorted.flatMap((e) => e.label ?? []))].sort(byBytes);
  return { entries: sorted, classes };
}
