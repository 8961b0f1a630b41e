/** @file Lists the images of a data set: folder, single image, glob, tar files, or a manifest. */
import { glob, readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { ConfigError, FormatError, PlatformError } from "../core/index.ts";
import { type DataEntry, type DataList, makeList } from "./entry.ts";
import { type ListOptions, listFolder, reasonOf } from "./folder.ts";
import { IMAGE_SUFFIXES, isImageName } from "./image-names.ts";
import { manifestRows } from "./manifest.ts";
import { listTar } from "./tar.ts";

const MANIFEST = /\.(txt|csv|tsv|jsonl)$/i;

async function statOf(path: string): Promise<{ isFolder: boolean; bytes: number; mtimeMs: number }> {
  try {
    const found = await stat(path);
    return { isFolder: found.isDirectory(), bytes: found.size, mtimeMs: Math.trunc(found.mtimeMs) };
  } catch (cause) {
    throw new PlatformError(`Cannot read "${path}": ${reasonOf(cause)}; check --data`, { cause });
  }
}

async function listManifest(path: string, options: ListOptions): Promise<readonly DataEntry[]> {
  const rows = manifestRows(await readFile(path, "utf8"), path);
  const missing: string[] = [];
  const entries = await Promise.all(
    rows.map(async ({ image, label }): Promise<DataEntry | undefined> => {
      const full = resolve(dirname(path), image);
      const found = await stat(full).catch(() => undefined);
      options.signal?.throwIfAborted();
      if (found?.isFile() !== true) {
        missing.push(image);
        return undefined;
      }
      return { path: full, bytes: found.size, mtimeMs: Math.trunc(found.mtimeMs), ...(label === undefined ? {} : { label }) };
    }),
  );
  if (missing.length > 0) {
    const some = missing.slice(0, 3).map((m) => `"${m}"`);
    throw new FormatError(
      `Cannot use manifest "${path}": ${missing.length} of ${rows.length} images are not there (${some.join(", ")}${missing.length > 3 ? ", ..." : ""}); paths are relative to the manifest`,
      { file: path },
    );
  }
  return entries.flatMap((e) => e ?? []);
}

async function listGlob(pattern: string, options: ListOptions): Promise<readonly DataEntry[]> {
  const entries: DataEntry[] = [];
  for await (const name of glob(pattern)) {
    options.signal?.throwIfAborted();
    const path = resolve(name);
    if (path.endsWith(".tar")) entries.push(...(await listTar(path, options)));
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

/**
 * The images of a data set in a fixed order. `spec`: a folder (all images below it; the first folder names the class), a glob in quotes,
 * a `.tar` file, a manifest (`.txt` one path a line; `.csv`/`.tsv` path and label; `.jsonl` {"path", "label"}), one image; several specs
 * are separated by commas. Throws FormatError when there is no image, PlatformError when something cannot be read.
 */
export async function listData(spec: string, options: ListOptions = {}): Promise<DataList> {
  if (spec.trim() === "") throw new ConfigError("Cannot list images: the path is empty; give --data a folder", { keyPath: "data.path" });
  const whole = await stat(resolve(spec)).catch(() => undefined);
  const parts = whole === undefined ? spec.split(",").map((s) => s.trim()) : [spec];
  const entries: DataEntry[] = [];
  for (const part of parts.filter((p) => p !== "")) entries.push(...(await entriesOf(part, options)));
  const list = makeList(entries);
  if (list.entries.length === 0)
    throw new FormatError(`Cannot find images in "${spec}": there is none; it should hold files with ${IMAGE_SUFFIXES}`, { file: spec });
  return list;
}
