/** @file `OUT.json` beside a table: which row is which image, and how the features were made. */
import { writeFileAtomic } from "../weights/index.ts";

export interface Sidecar {
  readonly shape: readonly number[];
  readonly paths: readonly string[];
  /** Absent without classes. */
  readonly labels?: readonly string[] | undefined;
  /** Model, pool, layers, preprocessing. */
  readonly about: object;
}

/** Strings written at once. */
const PIECE = 1000;

/** Writes `OUT.json` piece by piece, for a million paths are longer than a string may be. */
export async function writeSidecar(out: string, { shape, paths, labels, about }: Sidecar): Promise<void> {
  function* pieces(): Generator<Uint8Array> {
    const text = new TextEncoder();
    yield text.encode(`${JSON.stringify({ formatVersion: 1, ...about, shape }).slice(0, -1)},"paths":`);
    for (const piece of arrayText(paths)) yield text.encode(piece);
    yield text.encode(`,"labels":`);
    for (const piece of labels === undefined ? ["null"] : arrayText(labels)) yield text.encode(piece);
    yield text.encode("}\n");
  }
  await writeFileAtomic(`${out}.json`, pieces());
}

function* arrayText(strings: readonly string[]): Generator<string> {
  yield "[";
  for (let at = 0; at < strings.length; at += PIECE) {
    const some = JSON.stringify(strings.slice(at, at + PIECE)).slice(1, -1);
    yield at === 0 ? some : `,${some}`;
  }
  yield "]";
}
