/** @file Feature tables as CSV: `filenames,embedding_0,…,embedding_{d-1},labels`. */
import { FormatError } from "../core/index.ts";
import type { RowSource } from "./rows.ts";
import type { FeatureTable } from "./table.ts";

const cell = (text: string): string => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** Nine digits name every float32. */
const digits = (value: number): string => String(Number(value.toPrecision(9)));

/** The bytes of a table of vectors; without labels their cells are empty. */
export async function* encodeCsv({ dim, paths, labels, pieces }: RowSource): AsyncGenerator<Uint8Array> {
  const text = new TextEncoder();
  yield text.encode(`filenames,${Array.from({ length: dim }, (_, j) => `embedding_${j}`).join(",")},labels\n`);
  let row = 0;
  for await (const piece of pieces())
    for (let at = 0; at < piece.length; at += dim, row++) {
      const numbers = Array.from(piece.subarray(at, at + dim), digits);
      yield text.encode(`${cell(paths[row] ?? "")},${numbers.join(",")},${cell(labels?.[row] ?? "")}\n`);
    }
}

type Fail = (line: number, state: string) => FormatError;

/** The records of a file; line ends in quotes belong to their cell. The last line must have its end: a file that was cut off has none. */
function* recordsOf(bytes: Uint8Array, fail: Fail): Generator<readonly string[]> {
  const text = new TextDecoder("utf-8", { fatal: true });
  let [from, line, quoted] = [0, 0, false];
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] === 0x22) quoted = !quoted;
    if (bytes[i] !== 0x0a || quoted) continue;
    line++;
    let record: string;
    try {
      record = text.decode(bytes.subarray(from, i));
    } catch {
      throw fail(line, "is not UTF-8");
    }
    yield cellsOf(record.replace(/\r$/, ""), () => fail(line, "has a stray quote"));
    from = i + 1;
  }
  if (from < bytes.length) throw fail(line + 1, "is cut off");
}

function cellsOf(record: string, stray: () => FormatError): readonly string[] {
  if (!record.includes('"')) return record.split(",");
  const cells: string[] = [];
  const next = /(?:"((?:[^"]|"")*)"|([^",]*))(,|$)/y;
  for (;;) {
    const found = next.exec(record);
    if (found === null) throw stray();
    cells.push(found[1]?.replaceAll('""', '"') ?? found[2] ?? "");
    if (found[3] === "") return cells;
  }
}

/** Width of the embedding, from the header. */
function readHeader(cells: readonly string[] | undefined, fail: Fail): { readonly dim: number; readonly hasLabels: boolean } {
  const hasLabels = cells?.at(-1) === "labels";
  const names = cells?.slice(1, hasLabels ? -1 : undefined) ?? [];
  if (cells?.[0] !== "filenames" || names.length === 0 || names.some((name, j) => name !== `embedding_${j}`))
    throw fail(1, "is not filenames,embedding_0,…,labels");
  return { dim: names.length, hasLabels };
}

function readNumber(text: string, wrong: () => FormatError): number {
  const value = text.trim() === "" ? NaN : Number(text);
  if (!Number.isFinite(value)) throw wrong();
  return value;
}

/** The table of a CSV file in memory. Throws FormatError with the line that is wrong; a file that is cut off is never half read. */
export function decodeCsv(bytes: Uint8Array, path = "buffer"): FeatureTable {
  const fail: Fail = (line, state) =>
    new FormatError(`Cannot read table "${path}": line ${line} ${state}; write it again by \`tricera embed\``, { file: path });
  const records = recordsOf(bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes, fail);
  const head = records.next();
  const { dim, hasLabels } = readHeader(head.done === true ? undefined : head.value, fail);
  const features = new Float32Array(Math.floor(bytes.length / (2 * dim)) * dim); // a number and its comma take two bytes
  const [paths, labels]: [string[], string[]] = [[], []];
  for (const cells of records) {
    const line = paths.length + 2;
    if (cells.length !== 1 + dim + (hasLabels ? 1 : 0)) throw fail(line, `has ${cells.length} cells`);
    for (let j = 0; j < dim; j++) {
      const value = cells[1 + j] ?? "";
      features[paths.length * dim + j] = readNumber(value, () => fail(line, `has "${value.slice(0, 20)}" where a number should be`));
    }
    paths.push(cells[0] ?? "");
    labels.push(hasLabels ? (cells[1 + dim] ?? "") : "");
  }
  return {
    features: features.subarray(0, paths.length * dim),
    shape: [paths.length, dim],
    paths,
    labels: labels.some((l) => l !== "") ? labels : undefined,
  };
}
