/** @file Lists the images of a data set: folder, single image, glob, tar files, or a manifest. */
import { glob, readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { ConfigError, FormatError, nearestName, PlatformError } from "../core/index.ts";
import { type DataEntry, type DataList, makeList } from "./entry.ts";
import { type ListOptions, listFolder } from "./folder.ts";
import { IMAGE_SUFFIXES, isImageName } from "./image-names.ts";
import { labelByFile, labelMembers, withLabel } from "./labels.ts";
import { manifestRows } from "./manifest.ts";
import { reasonOf } from "./reason.ts";
import { expandRanges, splitSpecs } from "./specs.ts";
import { listTar } from "./tar.ts";

const MANIFEST = /\.(txt|csv|tsv|jsonl)$/i;

/** "did you mean "photos"?" for a path that is not there, by what lies beside it. */
async function hintFor(path: string): Promise<string> {
  const near = nearestName(basename(path), await readdir(dirname(path)).catch(() => []));
  return near === undefined ? "check --data" : `did you mean "${near}"?`;
}

async function statOf(path: string): Promise<{ isFolder: boolean; bytes: number; mtimeMs: number }> {
  try {
    const found = await stat(path);
    return { isFolder: found.isDirectory(), bytes: found.size, mtimeMs: Math.trunc(found.mtimeMs) };
  } catch (cause) {
    throw new PlatformError(`Cannot read "${path}": ${reasonOf(cause)}; ${await hintFor(path)}`, { cause });
  }
}

/** System calls under way at once. */
const AT_ONCE = 64;

async function listManifest(path: string, options: ListOptions): Promise<readonly DataEntry[]> {
  const content = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new PlatformError(`Cannot read manifest "${path}": ${reasonOf(cause)}; check --data`, { cause });
  });
  const rows = manifestRows(content, path);
  const entryOf = async ({ image, label }: (typeof rows)[number]): Promise<DataEntry | undefined> => {
    const full = resolve(dirname(path), image);
    const found = await stat(full).catch(() => undefined);
    return found?.isFile() === true ? withLabel({ path: full, bytes: found.size, mtimeMs: Math.trunc(found.mtimeMs) }, label) : undefined;
  };
  const entries: (DataEntry | undefined)[] = [];
  for (let i = 0; i < rows.length; i += AT_ONCE) {
    options.signal?.throwIfAborted();
    entries.push(...(await Promise.all(rows.slice(i, i + AT_ONCE).map(entryOf))));
  }
  const missing = rows.filter((_, i) => entries[i] === undefined).map((row) => row.image);
  if (missing.length > 0) {
    const some = missing.slice(0, 3).map((m) => `"${m}"`);
    throw new FormatError(
      `Cannot use manifest "${path}": ${missing.length} of ${rows.length} images are not there (${some.join(", ")}${missing.length > 3 ? ", ..." : ""}); paths are relative to the manifest`,
      { file: path },
    );
  }
  return entries.flatMap((entry) => entry ?? []);
}

async function listGlob(pattern: string, options: ListOptions): Promise<readonly DataEntry[]> {
  const entries: DataEntry[] = [];
  for await (const name of glob(pattern)) {
    options.signal?.throwIfAborted();
    const path = resolve(name);
    if (path.endsWith(".tar")) for (const entry of await listTar(path, options)) entries.push(entry);
    else if (isImageName(path)) {
      const { isFolder, bytes, mtimeMs } = await statOf(path);
      if (!isFolder) entries.push({ path, bytes, mtimeMs });
    }
  }
  if (entries.length === 0)
    throw new FormatError(`Cannot find images by "${pattern}": no image or tar file matches; put quotes around the pattern and check it`, {
      file: pattern,
    });
  return entries;
}

async function entriesOf(spec: string, options: ListOptions): Promise<readonly DataEntry[]> {
  const path = resolve(spec);
  const there = await stat(path).catch(() => undefined);
  if (there === undefined && /[*?[{]/.test(spec)) return listGlob(spec, options);
  const { isFolder, bytes, mtimeMs } = await statOf(path);
  if (isFolder) return listFolder(path, options);
  if (path.endsWith(".tar")) return listTar(path, options);
  if (MANIFEST.test(path)) return listManifest(path, options);
  if (isImageName(path)) return [{ path, bytes, mtimeMs }];
  throw new FormatError(
    `Cannot use "${spec}" as data: it is no folder, tar file, manifest (.txt .csv .tsv .jsonl) or image (${IMAGE_SUFFIXES}); check --data`,
    { file: path },
  );
}

async function labelled(entries: readonly DataEntry[], labels: string): Promise<readonly DataEntry[]> {
  if (labels === "folder") return labelMembers(entries);
  if (labels === "none") return entries.map((entry) => withLabel(entry, undefined));
  return labelByFile(entries, resolve(labels));
}

/**
 * The images of a data set in a fixed order. `spec`: a folder (all images below it; the first folder names the class), a glob in quotes,
 * a `.tar` file (webdataset), shards `x-{000..012}.tar`, a manifest (`.txt` one path a line; `.csv`/`.tsv` path and label; `.jsonl`
 * {"path", "label"}), one image; several specs are separated by commas. Throws FormatError when there is no image, PlatformError when
 * something cannot be read.
 */
export async function listData(spec: string, options: ListOptions = {}): Promise<DataList> {
  if (spec.trim() === "") throw new ConfigError("Cannot list images: the path is empty; give --data a folder", { keyPath: "data.path" });
  const entries: DataEntry[] = [];
  for (const part of (await isThere(spec)) ? [spec] : splitSpecs(spec))
    for (const one of (await isThere(part)) ? [part] : expandRanges(part))
      for (const entry of await entriesOf(one, options)) entries.push(entry);
  const list = makeList(await labelled(entries, options.labels ?? "folder"));
  if (list.entries.length === 0)
    throw new FormatError(`Cannot find images in "${spec}": there is none; it should hold files with ${IMAGE_SUFFIXES}`, { file: spec });
  return list;
}

async function isThere(path: string): Promise<boolean> {
  return stat(resolve(path)).then(
    () => true,
    () => false,
  );
}
