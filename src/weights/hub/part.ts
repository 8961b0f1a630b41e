/** @file A file on its way: `NAME.part` holds its bytes, `NAME.part.json` what they are of, so that a later pull can go on. */
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { z } from "zod";

/** What the bytes of a part are of. */
export interface PartState {
  /** The ETag of the server that gave the bytes, as it wrote it. */
  readonly etag?: string | undefined;
  /** What the hub said of the file: its sha256 or git hash. */
  readonly linkedEtag?: string | undefined;
  readonly sizeBytes?: number | undefined;
}

const stateSchema = z.object({
  etag: z.string().optional(),
  linkedEtag: z.string().optional(),
  sizeBytes: z.int().min(0).optional(),
}) satisfies z.ZodType<PartState>;

export interface Part extends PartState {
  readonly hereBytes: number;
}

/** `path` is that of the `.part` file. A part whose state cannot be read is of nothing that is known. */
export async function readPart(path: string): Promise<Part> {
  const size = await stat(path).then(
    (s) => s.size,
    () => 0,
  );
  const text = await readFile(`${path}.json`, "utf8").catch(() => "");
  try {
    return { ...stateSchema.parse(JSON.parse(text)), hereBytes: size };
  } catch {
    return { hereBytes: 0 };
  }
}

export async function writePartState(path: string, state: PartState): Promise<void> {
  await writeFile(`${path}.json`, `${JSON.stringify(state)}\n`);
}

export async function removePart(path: string): Promise<void> {
  await rm(path, { force: true });
  await rm(`${path}.json`, { force: true });
}

/** An ETag that promises the same bytes, which alone may stand in `If-Range` (RFC 9110 §13.1.5). */
export function isStrongEtag(etag: string | undefined): etag is string {
  return etag !== undefined && /^"[^"]+"$/.test(etag);
}

const SHA256 = /^[0-9a-f]{64}$/;

/** Whether more bytes can be asked for: the server can be held to the same file, or the whole is checked by sha256 in the end. */
export function canResume({ hereBytes, etag, linkedEtag }: Part): boolean {
  return hereBytes > 0 && (isStrongEtag(etag) || SHA256.test(linkedEtag ?? ""));
}
