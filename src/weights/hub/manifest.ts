/** @file `tricera-model.json`: what a folder of the cache holds and where it came from. Only folders that carry it are ours. */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";

export const MANIFEST_NAME = "tricera-model.json";

/** How a file was checked: by its sha256, by git's hash of it, by its size alone, or not at all where nothing was known. */
export type CheckedBy = "sha256" | "git-sha1" | "size" | "nothing";

export interface ManifestFile {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly checkedBy: CheckedBy;
}

export interface Manifest {
  readonly formatVersion: 1;
  readonly id: string;
  /** Of a Hugging Face repository. */
  readonly revision?: string | undefined;
  /** The commit that all files are of, where the hub said it. */
  readonly commit?: string | undefined;
  /** The hub's address or the file's, without its query. */
  readonly source: string;
  readonly licence?: string | undefined;
  /** Empty while files are missing. */
  readonly files: readonly ManifestFile[];
}

const manifestSchema = z.object({
  formatVersion: z.literal(1),
  id: z.string().min(1),
  revision: z.string().optional(),
  commit: z.string().optional(),
  source: z.string(),
  licence: z.string().optional(),
  files: z.array(
    z.object({
      // a name inside the folder, whatever a damaged file says
      name: z.string().regex(/^[\w][\w.-]*$/),
      sizeBytes: z.int().min(0),
      sha256: z.string(),
      checkedBy: z.enum(["sha256", "git-sha1", "size", "nothing"]),
    }),
  ),
}) satisfies z.ZodType<Manifest>;

/** The manifest of a folder; undefined where there is none that can be read: then the folder is not ours. */
export async function readManifest(dir: string): Promise<Manifest | undefined> {
  const text = await readFile(join(dir, MANIFEST_NAME), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return manifestSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** The text of a manifest file. */
export function formatManifest(manifest: Manifest): string {
  return `${JSON.stringify(manifest, undefined, 2)}\n`;
}

/** Whether every file of a manifest lies in the folder in its whole size. */
export async function isWhole(dir: string, { files }: Manifest): Promise<boolean> {
  const found = await Promise.all(files.map(({ name }) => stat(join(dir, name)).catch(() => undefined)));
  return files.length > 0 && files.every(({ sizeBytes }, i) => found[i]?.isFile() === true && found[i].size === sizeBytes);
}
