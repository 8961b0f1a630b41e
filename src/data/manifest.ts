/** @file Manifests: text files that name images, one a line. */
import { z } from "zod";
import { FormatError } from "../core/index.ts";

/** One line: the image's path relative to the manifest, and its class if there is one. */
export interface ManifestRow {
  readonly image: string;
  readonly label?: string | undefined;
}

const jsonRow = z.object({ path: z.string().min(1), label: z.union([z.string(), z.number().transform(String)]).optional() });

/** Cells of a line; cells in double quotes may hold the separator and doubled quotes (RFC 4180). */
export function cellsOf(line: string, separator: string): string[] {
  const cells: string[] = [];
  const cell = new RegExp(`(?:"((?:[^"]|"")*)"|([^${separator}]*))(?:${separator}|$)`, "y");
  while (cell.lastIndex < line.length) {
    const found = cell.exec(line);
    if (found === null) return [line];
    cells.push((found[1]?.replaceAll('""', '"') ?? found[2] ?? "").trim());
  }
  return cells;
}

/** Throws when the line names no image. */
function rowOf(line: string, suffix: string): ManifestRow {
  if (suffix === "txt") return { image: line.trim() };
  if (suffix === "jsonl") {
    const row = jsonRow.parse(JSON.parse(line));
    return { image: row.path, label: row.label };
  }
  const [image = "", label] = cellsOf(line, suffix === "tsv" ? "\t" : ",");
  if (image === "") throw new FormatError("Cannot read the line: its first cell is empty; write path,label");
  return { image, label: label === "" ? undefined : label };
}

const isHeader = (line: string): boolean => /^"?(path|image|file|filename)"?\s*([,\t]|$)/i.test(line);

/**
 * The rows of a `.txt`, `.csv`, `.tsv` or `.jsonl` manifest; empty lines, and a first line `path,…` of a table, are passed over.
 * Throws FormatError with the line that names no image.
 */
export function manifestRows(content: string, path: string): readonly ManifestRow[] {
  const suffix = path.slice(path.lastIndexOf(".") + 1).toLowerCase();
  const isTable = suffix === "csv" || suffix === "tsv";
  const rows: ManifestRow[] = [];
  for (const [i, line] of content
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .entries()) {
    if (line.trim() === "" || (i === 0 && isTable && isHeader(line))) continue;
    try {
      rows.push(rowOf(line, suffix));
    } catch (cause) {
      const what = isTable ? "a row without a path" : 'no JSON object with a "path"';
      throw new FormatError(`Cannot read manifest "${path}": line ${i + 1} is ${what}; correct it`, { file: path, cause });
    }
  }
  if (rows.length === 0) throw new FormatError(`Cannot read manifest "${path}": it names no image; write one path a line`, { file: path });
  return rows;
}
