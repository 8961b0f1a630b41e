/** @file `embed()`: features of images as a table in a file. */
import { rm, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { ConfigError, FormatError, type JobOptions } from "../core/index.ts";
import { type DataList, entryName, listData } from "../data/index.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { openEvalPool } from "../images/node/index.ts";
import { writeFileAtomic } from "../weights/index.ts";
import type { Pooling } from "./trace-encoder.ts";
import { type Extracted, extractFeatures } from "./extract.ts";
import { openModel } from "./model.ts";
import type { DecodeRules, Preprocessing } from "./processor.ts";
import { checkTableName, type FeatureTable, writeFeatureTable } from "./table.ts";

export interface ExtractRequest extends JobOptions {
  readonly model: string;
  /** The architecture of a bare weight file. */
  readonly arch?: string | undefined;
  readonly pool?: Pooling;
  readonly imageSizePx?: number | undefined;
  readonly normalize?: boolean;
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
  /** `.safetensors`, `.npy` or `.csv`. */
  readonly out: string;
  readonly layers?: readonly number[];
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

/** Features of lists of images by a model at a path; each list in turn. */
export async function extractByModel(
  lists: readonly DataList[],
  request: ExtractRequest,
): Promise<{ readonly found: readonly Extracted[]; readonly how: HowExtracted }> {
  const threads = request.threads ?? availableParallelism();
  using device = openCpu({ threads });
  const { encoder, preprocessing: own, rules } = await openModel(request.model, device, { arch: request.arch });
  using closing = encoder;
  const imageSizePx = request.imageSizePx ?? own.imageSizePx;
  checkSize(imageSizePx, encoder.patchSizePx);
  const preprocessing = { ...own, imageSizePx, decode: request.decode ?? rules.decode, alpha: request.alpha ?? rules.alpha };
  await using pool = openEvalPool({ ...preprocessing, threads });
  const { pool: pooling = "cls", batchSize = 32, normalize = false, skipBroken = false, signal, onProgress, onNotice } = request;
  const found: Extracted[] = [];
  for (const list of lists) {
    const options = { encoder: closing, pool, imageSizePx, pooling, batchSize, normalize, skipBroken, signal, onProgress };
    const extracted = await extractFeatures(list, options);
    for (const { reason } of extracted.failed) onNotice?.(`Left out: ${reason}`);
    found.push(extracted);
  }
  return { found, how: { preprocessing } };
}

function checkSize(sizePx: number, patch: number): void {
  if (sizePx % patch !== 0 || sizePx < patch)
    throw new ConfigError(
      `Cannot embed at ${sizePx} px: patches are ${patch} px; use ${Math.max(patch, Math.floor(sizePx / patch) * patch)} or ${Math.ceil(sizePx / patch) * patch}`,
      { keyPath: "imageSizePx" },
    );
}

async function checkOut({ out, pool, layers = [-1], overwrite = false }: EmbedOptions): Promise<void> {
  if (layers.length !== 1 || layers[0] !== -1)
    throw new ConfigError("Cannot embed other layers than the last: this release has none; leave --layers out", { keyPath: "layers" });
  checkTableName(out, { tokens: pool === "patch" || pool === "all" });
  const there = await stat(out).catch(() => undefined);
  if (there?.isDirectory() === true)
    throw new ConfigError(`Cannot write "${out}": it is a folder; give a file name to --out`, { keyPath: "out" });
  if (there !== undefined && !overwrite)
    throw new ConfigError(`Cannot write "${out}": it is there already; give --overwrite or another --out`, { keyPath: "out" });
}

/**
 * Writes features of images to a table; beside it `OUT.json` says which row is which image and how it was made, `OUT.failed.jsonl` which
 * images are broken. Nothing is written before all is computed, and the table appears whole or not at all.
 */
export async function embed(options: EmbedOptions): Promise<EmbedResult> {
  await checkOut(options);
  const { out, data, overwrite: _overwrite, layers: _layers, ...request } = options;
  const list = await listData(data, request);
  const { found, how } = await extractByModel([list], request);
  const [extracted] = found;
  if (extracted === undefined || extracted.rows.length === 0)
    throw new FormatError(`Cannot embed "${data}": none of ${list.entries.length} images could be read; look at the first messages`, {
      file: data,
    });
  request.signal?.throwIfAborted();
  const { dim, tokens, failed } = extracted;
  const table = toTable(extracted, list, options.pool ?? "cls");
  const { model, arch = null, pool = "cls", normalize = false } = request;
  if (failed.length > 0) await writeFileAtomic(`${out}.failed.jsonl`, failed.map((f) => `${JSON.stringify(f)}\n`).join(""));
  else await rm(`${out}.failed.jsonl`, { force: true });
  await writeFeatureTable(out, table, { model, arch, pool, layers: [-1], normalize, ...how });
  return { out, images: table.shape[0] ?? 0, dim: dim / tokens, shape: table.shape, failedImages: failed.length };
}

function toTable({ features, dim, tokens, rows }: Extracted, list: DataList, pool: Pooling): FeatureTable {
  const entries = Array.from(rows, (i) => list.entries[i]).flatMap((e) => e ?? []);
  return {
    features,
    shape: pool === "patch" || pool === "all" ? [rows.length, tokens, dim / tokens] : [rows.length, dim],
    paths: entries.map(entryName),
    labels: list.classes.length > 0 ? entries.map((e) => e.label ?? "") : undefined,
  };
}
