/** @file `embed()`: features of images as a table in a file. */
import { rm, stat } from "node:fs/promises";
import { ConfigError, FormatError, type JobOptions } from "../core/index.ts";
import { type DataList, digestList, entryName, listData } from "../data/index.ts";
import { writeFileAtomic } from "../weights/index.ts";
import { type Extracted, extractFeatures, type FailedEntry, featureBatches, rowShape } from "./extract.ts";
import type { ResizePolicy } from "./fit.ts";
import { fingerprint, type Settings } from "./journal.ts";
import { lanceName, loadLance } from "./lance.ts";
import { PartialTable } from "./partial-table.ts";
import type { DecodeRules, Preprocessing } from "./processor.ts";
import { checkMixed, type EmbedSession, openSession } from "./session.ts";
import { checkTableName, holdsVectorsOnly } from "./table.ts";
import { isTokenPooling, type Pooling } from "./trace-encoder.ts";

export interface ExtractRequest extends JobOptions {
  readonly model: string;
  /** The architecture of a bare weight file. */
  readonly arch?: string | undefined;
  readonly pool?: Pooling;
  readonly imageSizePx?: number | undefined;
  /** How pictures of other shapes are fitted; default: as the model's processor says. */
  readonly resize?: ResizePolicy | undefined;
  readonly normalize?: boolean;
  /** Default: as many as the caches like, 4 at 224 px. */
  readonly batchSize?: number | undefined;
  readonly threads?: number | undefined;
  /** Default: as the model was trained, `python` for models of others. */
  readonly decode?: "python" | "managed" | undefined;
  readonly alpha?: "drop" | "white" | "black" | undefined;
  readonly skipBroken?: boolean;
  /** `folder`, `none`, or a file of path,label. */
  readonly labels?: string | undefined;
}

export interface EmbedOptions extends ExtractRequest {
  readonly data: string;
  /** `.safetensors`, `.npy`, `.csv`, `.parquet`, or a `.lance` folder. */
  readonly out: string;
  /**
   * Blocks whose output is wanted, from 0, or from the end with -1 the last; each goes through the network's final norm, as in DINOv2's
   * `get_intermediate_layers`. Several stand on an axis of their own, `[n, l, …]`; where a row is one vector (`.csv`, `.parquet`, `.lance`)
   * side by side, in the order asked for.
   */
  readonly layers?: readonly number[];
  /** Whether attention of the class token over the patches in the last block is written, too: tensor `attention` `[n, h, p]`. */
  readonly attention?: boolean;
  readonly overwrite?: boolean;
}

export interface EmbedResult {
  readonly out: string;
  readonly images: number;
  /** Numbers in one vector. */
  readonly dim: number;
  readonly shape: readonly number[];
  readonly failedImages: number;
}

/** What features were made of: written beside them. */
export interface HowExtracted {
  readonly preprocessing: Preprocessing & DecodeRules;
}

/** Features of lists of images by a model at a path, in memory; each list in turn. */
export async function extractByModel(
  lists: readonly DataList[],
  request: ExtractRequest,
): Promise<{ readonly found: readonly Extracted[]; readonly how: HowExtracted }> {
  checkMixed(request, false);
  await using session = await openSession(request);
  const { pool: pooling = "cls", normalize = false, skipBroken = false, signal, onProgress, onNotice } = request;
  const { encoder, pictures: pool, imageSizePx, batchSize, preprocessing } = session;
  const found: Extracted[] = [];
  for (const list of lists) {
    const extracted = await extractFeatures(list, {
      encoder,
      pool,
      imageSizePx,
      pooling,
      batchSize,
      normalize,
      skipBroken,
      signal,
      onProgress,
    });
    for (const { reason } of extracted.failed) onNotice?.(`Left out: ${reason}`);
    found.push(extracted);
  }
  return { found, how: { preprocessing } };
}

async function checkOut({ out, pool = "cls", attention = false, overwrite = false }: EmbedOptions): Promise<void> {
  checkTableName(out, { tokens: isTokenPooling(pool), attention });
  const isLance = out.endsWith(".lance");
  const there = await stat(out).catch(() => undefined);
  if (there?.isDirectory() === true && !isLance)
    throw new ConfigError(`Cannot write "${out}": it is a folder; give a file name to --out`, { keyPath: "out" });
  if (there !== undefined && !overwrite)
    throw new ConfigError(`Cannot write "${out}": it is there already; give --overwrite or another --out`, { keyPath: "out" });
  if (!isLance) return;
  lanceName(out);
  await loadLance();
}

/** What decides the numbers of a table: a table that was begun with others cannot be gone on with. */
function settingsOf(options: EmbedOptions, session: EmbedSession, list: DataList): Settings {
  const { pool = "cls", normalize = false, attention = false } = options;
  const { encoder, batchSize, preprocessing } = session;
  return {
    weights: fingerprint(encoder),
    images: digestList(list),
    pool,
    layers: encoder.blocks(options.layers),
    normalize,
    attention,
    batchSize, // other batches round otherwise
    ...preprocessing,
  };
}

async function openTable(options: EmbedOptions, session: EmbedSession, list: DataList): Promise<PartialTable> {
  const { out, pool = "cls", layers, attention = false, overwrite = false, onNotice } = options;
  const { encoder, imageSizePx } = session;
  const { rows, columns } = encoder.grid(imageSizePx);
  return PartialTable.open(out, {
    settings: settingsOf(options, session, list),
    images: list.entries.length,
    rowShape: rowShape(encoder, { pooling: pool, imageSizePx, layers }),
    attentionShape: attention ? [encoder.heads, rows * columns] : undefined,
    overwrite,
    onNotice,
  });
}

/**
 * Writes features of images to a table; beside it `OUT.json` says which row is which image and how it was made, `OUT.failed.jsonl` which
 * images are broken. Rows go to `OUT.partial` batch by batch, so memory does not grow with the images; the table appears whole or not at
 * all. What a kill or an error leaves is gone on with by the same settings, and gives the same bytes.
 */
export async function embed(options: EmbedOptions): Promise<EmbedResult> {
  const { data, pool = "cls", layers, attention = false, normalize = false, skipBroken = false } = options;
  checkMixed(options, attention);
  await checkOut(options);
  const list = await listData(data, options);
  await using session = await openSession(options);
  const { encoder, pictures, imageSizePx, batchSize } = session;
  encoder.checkAttention(attention);
  await using table = await openTable(options, session, list);
  const { signal, onProgress, onNotice } = options;
  const job = {
    encoder,
    pool: pictures,
    imageSizePx,
    pooling: pool,
    layers,
    attention,
    batchSize,
    normalize,
    skipBroken,
    signal,
    onProgress,
  };
  for await (const batch of featureBatches(list, { ...job, startAt: table.done })) {
    for (const { reason } of batch.failed) onNotice?.(`Left out: ${reason}`);
    await table.append(batch);
  }
  if (table.rows === 0) {
    await table.discard();
    const state = `none of ${list.entries.length} images could be read`;
    throw new FormatError(`Cannot embed "${data}": ${state}; look at the first messages`, { file: data });
  }
  signal?.throwIfAborted();
  return await finish(options, { table, session, list }); // the table closes behind it
}

interface Embedded {
  readonly table: PartialTable;
  readonly session: EmbedSession;
  readonly list: DataList;
}

async function finish(options: EmbedOptions, { table, session, list }: Embedded): Promise<EmbedResult> {
  const { out, model, arch = null, pool = "cls", layers = [-1], attention = false, normalize = false } = options;
  const { encoder, imageSizePx, preprocessing } = session;
  const { failed, rows } = table;
  await writeFailed(out, failed);
  const bad = new Set(failed.map(({ index }) => index));
  const entries = list.entries.filter((_, i) => !bad.has(i));
  const row = rowShape(encoder, { pooling: pool, imageSizePx, layers });
  const shape = [rows, ...(holdsVectorsOnly(out) ? [row.reduce((a, b) => a * b, 1)] : row)];
  await table.finish({
    shape,
    paths: entries.map(entryName),
    labels: list.classes.length > 0 ? entries.map((e) => e.label ?? "") : undefined,
    about: { model, arch, pool, layers, normalize, ...(attention ? { attention } : {}), preprocessing },
  });
  return { out, images: rows, dim: encoder.dim(pool), shape, failedImages: failed.length };
}

/** `OUT.failed.jsonl` where there are any; none left from before where there are not. */
async function writeFailed(out: string, failed: readonly FailedEntry[]): Promise<void> {
  const file = `${out}.failed.jsonl`;
  if (failed.length === 0) return rm(file, { force: true });
  await writeFileAtomic(file, failed.map(({ path, reason }) => `${JSON.stringify({ path, reason })}\n`).join(""));
}
