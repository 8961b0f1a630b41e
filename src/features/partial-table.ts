/** @file A table while it is written: rows go to `OUT.partial` batch by batch, a journal says how far they are whole, a rename ends it. */
import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { PlatformError, sizeOf } from "../core/index.ts";
import { checkDiskSpace, writeFileAtomic } from "../weights/index.ts";
import { encodeCsv } from "./csv.ts";
import type { FailedEntry, FeatureBatch } from "./extract.ts";
import { bytesOf, openCut, readAll, writeAll } from "./file-at.ts";
import { checkSettings, headLine, type Journal, type Progressed, readJournal, type Settings, stateLine } from "./journal.ts";
import { writeLance } from "./lance.ts";
import { encodeParquet } from "./parquet.ts";
import { type RowSource, rowsAtOnce } from "./rows.ts";
import { tableHeader } from "./table-header.ts";
import { type Sidecar, writeSidecar } from "./sidecar.ts";

export interface PartialTableOptions {
  readonly settings: Settings;
  /** Images in all. */
  readonly images: number;
  readonly rowShape: readonly number[];
  /** Shape of a row of attention, where it is written. */
  readonly attentionShape?: readonly number[] | undefined;
  /** Begins again where the settings are others. */
  readonly overwrite: boolean;
  readonly onNotice?: ((line: string) => void) | undefined;
}

/** Bytes copied at once. */
const COPY_BYTES = 2 ** 22;
const FULL_DISK = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

interface Files {
  readonly data: FileHandle;
  readonly attention: FileHandle | undefined;
  readonly journal: FileHandle;
}

const journalOf = (out: string): string => `${out}.partial.journal`;
const dataOf = (out: string): string => `${out}.partial`;
const attentionOf = (out: string): string => `${out}.partial.attention`;

async function sizeOfFile(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0;
}

/** Removes what an unfinished table left. */
async function removePartial(out: string): Promise<void> {
  for (const path of [journalOf(out), dataOf(out), attentionOf(out)]) await rm(path, { force: true });
}

/** What of an unfinished table can be gone on with. Throws ConfigError for other settings, unless it may be overwritten. */
async function findProgress(out: string, options: PartialTableOptions): Promise<Progressed | undefined> {
  const { settings, overwrite, images, rowShape, attentionShape, onNotice } = options;
  const journal = await readJournal(journalOf(out));
  if (journal === undefined) return undefined;
  try {
    checkSettings(out, journal.settings, settings);
  } catch (error) {
    if (!overwrite) throw error;
    onNotice?.(`Begins again: "${out}.partial" was written with other settings or images`);
    return undefined;
  }
  const header = tableHeader(out, { rows: images, row: rowShape, attention: attentionShape }).length;
  const [bytes, attentionBytes] = [await sizeOfFile(dataOf(out)), await sizeOfFile(attentionOf(out))];
  return lastWhole(journal, (rows) => {
    const isThere = bytes >= header + rows * sizeOf(rowShape) * 4;
    return isThere && (attentionShape === undefined || attentionBytes >= rows * sizeOf(attentionShape) * 4);
  });
}

function lastWhole({ states, failed }: Journal, isThere: (rows: number) => boolean): Progressed | undefined {
  const last = states.findLast(({ rows }) => isThere(rows));
  return last === undefined ? undefined : { done: last.done, rows: last.rows, failed: failed.slice(0, last.failures) };
}

/**
 * An unfinished table. A kill at any moment leaves files from which the same settings and images go on at the last whole batch, with the
 * same bytes in the end; `finish` puts the table in its place, whole. Owns its files: use with `await using`.
 */
export class PartialTable implements AsyncDisposable {
  readonly #out: string;
  readonly #options: PartialTableOptions;
  readonly #files: Files;
  readonly #headerBytes: number;
  readonly #failed: FailedEntry[];
  #done: number;
  #rows: number;
  #isClosed = false;

  private constructor(
    out: string,
    options: PartialTableOptions,
    { files, progress }: { readonly files: Files; readonly progress: Progressed },
  ) {
    [this.#out, this.#options, this.#files] = [out, options, files];
    [this.#done, this.#rows, this.#failed] = [progress.done, progress.rows, [...progress.failed]];
    this.#headerBytes = tableHeader(out, { rows: options.images, row: options.rowShape, attention: options.attentionShape }).length;
  }

  /** Opens a new one, or goes on with one of the same settings. Throws ConfigError for other settings, PlatformError for a full disk. */
  static async open(out: string, options: PartialTableOptions): Promise<PartialTable> {
    const { settings, images, rowShape, attentionShape, onNotice } = options;
    const progress = await findProgress(out, options);
    if (progress === undefined) await removePartial(out);
    else onNotice?.(`Goes on with "${dataOf(out)}": ${progress.done} of ${images} images are embedded`);
    const { done, rows, failed } = progress ?? { done: 0, rows: 0, failed: [] };
    const rowBytes = (sizeOf(rowShape) + (attentionShape === undefined ? 0 : sizeOf(attentionShape))) * 4;
    await checkDiskSpace(out, (images - done) * rowBytes);
    await mkdir(dirname(out), { recursive: true });
    await writeFileAtomic(journalOf(out), headLine(settings) + (progress === undefined ? "" : stateLine(progress)));
    const header = tableHeader(out, { rows: images, row: rowShape, attention: attentionShape }).length;
    const files: Files = {
      data: await openCut(dataOf(out), header + rows * sizeOf(rowShape) * 4),
      attention: attentionShape === undefined ? undefined : await openCut(attentionOf(out), rows * sizeOf(attentionShape) * 4),
      journal: await open(journalOf(out), "a"),
    };
    return new PartialTable(out, options, { files, progress: { done, rows, failed } });
  }

  /** Images gone through. */
  get done(): number {
    return this.#done;
  }

  get rows(): number {
    return this.#rows;
  }

  /** All whose pictures are broken. */
  get failed(): readonly FailedEntry[] {
    return this.#failed;
  }

  /** Writes the rows of the next batch; the journal names them when they are on the disk. Throws PlatformError when it is full. */
  async append({ to, rows, features, attention, failed }: FeatureBatch): Promise<void> {
    const { rowShape, attentionShape } = this.#options;
    const { data, attention: second, journal } = this.#files;
    try {
      await writeAll(data, bytesOf(features), this.#headerBytes + this.#rows * sizeOf(rowShape) * 4);
      if (second !== undefined && attention !== undefined && attentionShape !== undefined) {
        await writeAll(second, bytesOf(attention), this.#rows * sizeOf(attentionShape) * 4);
        await second.datasync();
      }
      await data.datasync();
      await journal.appendFile(stateLine({ done: to, rows: this.#rows + rows.length, failed }));
    } catch (cause) {
      if (!(cause instanceof Error && "code" in cause && FULL_DISK.has(String(cause.code)))) throw cause;
      const todo = "free some space and give the same command again, which goes on from there";
      throw new PlatformError(`Cannot write "${dataOf(this.#out)}": the disk is full after ${this.#done} images; ${todo}`, { cause });
    }
    this.#done = to;
    this.#rows += rows.length;
    this.#failed.push(...failed);
  }

  /** Puts the table in its place, after its sidecar, and removes what was beside it. */
  async finish(sidecar: Sidecar): Promise<void> {
    const out = this.#out;
    const { rowShape, attentionShape } = this.#options;
    if (this.#headerBytes > 0) {
      const shape = { rows: this.#rows, row: rowShape, attention: attentionShape };
      await writeAll(this.#files.data, tableHeader(out, shape, this.#headerBytes), 0);
      await this.#appendAttention();
      await this.#files.data.sync();
    }
    await rm(out, { force: true, recursive: out.endsWith(".lance") });
    await writeSidecar(out, sidecar);
    const source: RowSource = { dim: sizeOf(rowShape), paths: sidecar.paths, labels: sidecar.labels, pieces: () => this.#pieces() };
    if (this.#headerBytes > 0) await this.#moveIn();
    else if (out.endsWith(".csv")) await writeFileAtomic(out, encodeCsv(source));
    else if (out.endsWith(".parquet")) await writeFileAtomic(out, encodeParquet(source));
    else await writeLance(out, source);
    await this.#close();
    await removePartial(out);
  }

  async #moveIn(): Promise<void> {
    await this.#close();
    await rename(dataOf(this.#out), this.#out);
    if (process.platform === "win32") return; // folders cannot be opened there
    await using folder = await open(dirname(this.#out), "r");
    await folder.sync();
  }

  async #appendAttention(): Promise<void> {
    const { attentionShape, rowShape } = this.#options;
    const { data, attention } = this.#files;
    if (attention === undefined || attentionShape === undefined) return;
    const [bytes, start] = [this.#rows * sizeOf(attentionShape) * 4, this.#headerBytes + this.#rows * sizeOf(rowShape) * 4];
    for (let at = 0; at < bytes; at += COPY_BYTES) {
      const piece = new Uint8Array(Math.min(COPY_BYTES, bytes - at));
      await readAll(attention, piece, at);
      await writeAll(data, piece, start + at);
    }
  }

  /** The rows written so far. */
  async *#pieces(): AsyncGenerator<Float32Array> {
    const dim = sizeOf(this.#options.rowShape);
    const step = rowsAtOnce(dim);
    for (let row = 0; row < this.#rows; row += step) {
      const piece = new Float32Array(Math.min(step, this.#rows - row) * dim);
      await readAll(this.#files.data, bytesOf(piece), this.#headerBytes + row * dim * 4);
      yield piece;
    }
  }

  /** Removes an unfinished table that nobody will go on with. */
  async discard(): Promise<void> {
    await this.#close();
    await removePartial(this.#out);
  }

  async #close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { data, attention, journal } = this.#files;
    for (const file of [data, attention, journal]) await file?.close();
  }

  /** Keeps what is whole, to be gone on with; leaves nothing where nothing is. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    if (this.#done === 0) return this.discard();
    await this.#close();
    const { images, onNotice } = this.#options;
    onNotice?.(`Kept in "${dataOf(this.#out)}": ${this.#done} of ${images} images; the same command goes on from there`);
  }
}
