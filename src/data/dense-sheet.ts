/** @file `tricera-data.yaml`: what a data set says of itself (contracts 31). */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { FormatError, nameHint } from "../core/index.ts";

/** The file's name; it lies in the folder of the data set. */
export const DATA_SHEET = "tricera-data.yaml";

/** The folders of one split. */
export interface SplitFolders {
  readonly images?: string | undefined;
  readonly masks?: string | undefined;
}

/** Folders are relative to the sheet. Depth unit and intrinsics are left to those who need them. */
export interface DataSheet {
  /** A word for people and programs: `camvid`, `depth`, `tracking`. */
  readonly layout?: string | undefined;
  readonly images?: string | undefined;
  readonly masks?: string | undefined;
  /** Ids of pixels without a class. */
  readonly ignoreIds?: readonly number[] | undefined;
  /** Names of the classes by id. */
  readonly classes?: readonly string[] | undefined;
  readonly splits?: Readonly<Record<string, SplitFolders>> | undefined;
  readonly depthUnit?: unknown;
  readonly intrinsics?: unknown;
  readonly intrinsicsSizePx?: unknown;
}

const text = z.string().min(1);
const folders = z.strictObject({ images: text.optional(), masks: text.optional() });
const KEYS = {
  layout: text.optional(),
  images: text.optional(),
  masks: text.optional(),
  ignoreIds: z.array(z.int().min(0).max(65_535)).optional(),
  classes: z
    .array(text)
    .min(1)
    .refine((names) => new Set(names).size === names.length, "each name once")
    .optional(),
  splits: z.record(text, folders).optional(),
  depthUnit: z.unknown().optional(),
  intrinsics: z.unknown().optional(),
  intrinsicsSizePx: z.unknown().optional(),
};
const sheetSchema: z.ZodType<DataSheet> = z.strictObject(KEYS);

function firstIssue(error: z.ZodError): string {
  const [issue] = error.issues;
  if (issue?.code === "unrecognized_keys") {
    const [key = ""] = issue.keys;
    return `the key "${key}" is not known; ${nameHint(key, issue.path.length === 0 ? Object.keys(KEYS) : ["images", "masks"])}`;
  }
  return `${issue?.path.join(".") || "its content"} is wrong (${issue?.message ?? "unknown"}); correct it`;
}

/** The sheet of a folder; undefined where it has none. Throws FormatError for one that cannot be read or has wrong keys. */
export async function readDataSheet(folder: string): Promise<DataSheet | undefined> {
  const file = join(folder, DATA_SHEET);
  const content = await readFile(file, "utf8").catch(() => undefined);
  if (content === undefined) return undefined;
  let raw: unknown;
  try {
    raw = parseYaml(content);
  } catch (cause) {
    const why = cause instanceof Error ? (cause.message.split("\n", 1)[0] ?? "") : String(cause);
    throw new FormatError(`Cannot read "${file}": it is no YAML (${why.replace(/:$/, "")}); correct it`, { file, cause });
  }
  const parsed = sheetSchema.safeParse(raw ?? {});
  if (parsed.success) return parsed.data;
  throw new FormatError(`Cannot read "${file}": ${firstIssue(parsed.error)}`, { file });
}
