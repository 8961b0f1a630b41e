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
function cellsOf(line: string, separator: string): string[] {
  const cells: string[] = [];
  const cell = new RegExp(`(?:"((?:[^"]|"")*)"|([^${separator}]*))(?:${separator}|$)`, "y");
  while (cell.lastIndex < line.length) {
    const found = cell.exec(line);
    if (found === null) return [line];
    cells.push((found[1]?.replaceAll('""', '"') ?? found[2] ?? "").trim());
  }
  return cells;
}

function rowOf(line: string, suffix: string): ManifestRow | undefined {
  if (suffix === "txt") return { image: line.trim() };
  if (suffix === "jsonl") {
    const row = jsonRow.parse(JSON.parse(line));
    return { image: row.path, label: row.label };
  }
  const [image = "", label] = cellsOf(line, suffix === "tsv" ? "\t" : ",");
  return image === "" ? undefined : { image, label: label === "" ? undefined : label };
}

/** The rows of a `.txt`, `.csv`, `.tsv` or `.jsonl` manifest; empty lines, and a first line `path,…` of a table, are passed over. */
export function manifestRows(content: string, path: string): readonly ManifestRow[] {
  const suffix = path.slice(path.lastIndexOf(".") + 1).toLowerCase();
  const rows: ManifestRow[] = [];
  for (const [i, line] of content
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .entries()) {
    if (
      line.trim() === "" ||
      (i === 0 && (suffix === "csv" || suffix === "tsv") && /^"?(path|image|file|filename)"?\s*([,\t]|$)/i.test(line))
    )
      continue;
    let row: ManifestRow | undefined;
    try {
      row = rowOf(line, suffix);
    } catch (cause) {
      throw new FormatError(`Cannot read manifest "${path}": line ${i + 1} is no JSON object with a "path"; correct it`, {
        file: path,
        cause,
      });
    }
    if (row !== undefined) rows.push(row);
  }
  if (rows.length === 0) throw new FormatError(`Cannot read manifest "${path}": it names no image; write one path a line`, { file: path });
  return rows;
}
