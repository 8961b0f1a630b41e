/** @file Where the classes of images come from: first folder, webdataset's `.cls`, a manifest, a file of labels. */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { FormatError, PlatformError } from "../core/index.ts";
import { type DataEntry, entryName } from "./entry.ts";
import { reasonOf } from "./reason.ts";
import { manifestRows } from "./manifest.ts";

const foldersOf = (name: string): readonly string[] =>
  name
    .split("/")
    .slice(0, -1)
    .filter((part) => part !== "" && part !== ".");

/** How many folders all of them begin with. */
function commonFolders(all: readonly (readonly string[])[]): number {
  const [first = []] = all;
  const differs = first.findIndex((part, i) => all.some((folders) => folders[i] !== part));
  return differs < 0 ? first.length : differs;
}

/** The first folder that differs names the class, when every image lies in one and there are at least two. */
export function classesByFolder(names: readonly string[], { below = 0 }: { readonly below?: number } = {}): readonly string[] | undefined {
  const labels = names.map((name) => foldersOf(name)[below]);
  return labels.every((l) => l !== undefined) && new Set(labels).size >= 2 ? labels : undefined;
}

/** Members of tar files together: their `.cls` where every image has one, otherwise the first folder below those that all share. */
export function labelMembers(entries: readonly DataEntry[]): readonly DataEntry[] {
  const members = entries.filter((e) => e.member !== undefined);
  if (members.every((e) => e.label !== undefined)) return entries;
  const names = members.map((e) => e.member ?? "");
  const labels = classesByFolder(names, { below: commonFolders(names.map(foldersOf)) });
  const byEntry = new Map(members.map((e, i) => [e, labels?.[i]]));
  return entries.map((e) => (byEntry.has(e) ? withLabel(e, byEntry.get(e)) : e));
}

/** The entry with this label, or without one. */
export function withLabel(entry: DataEntry, label: string | undefined): DataEntry {
  const { path, bytes, mtimeMs, member, offset } = entry;
  const place = member === undefined || offset === undefined ? {} : { member, offset };
  return { path, ...place, bytes, mtimeMs, ...(label === undefined ? {} : { label }) };
}

/** Labels by a `.csv`, `.tsv` or `.jsonl` of `path,label`, paths relative to it; throws FormatError for an image it does not name. */
export async function labelByFile(entries: readonly DataEntry[], file: string): Promise<readonly DataEntry[]> {
  const content = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new PlatformError(`Cannot read labels "${file}": ${reasonOf(cause)}; give folder, none or a file to --labels`, { cause });
  });
  const labels = new Map(manifestRows(content, file).map(({ image, label }) => [resolve(dirname(file), image), label]));
  const labelled = entries.map((entry) => withLabel(entry, labels.get(entryName(entry))));
  const missing = labelled.filter((e) => e.label === undefined);
  const [first] = missing;
  if (first !== undefined)
    throw new FormatError(
      `Cannot label ${missing.length} of ${entries.length} images by "${file}": it has no label for "${entryName(first)}"; add a line path,label (paths relative to the file)`,
      { file },
    );
  return labelled;
}
