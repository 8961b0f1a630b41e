/** @file `embed()`: features of images as a table in a file. */
import { stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { ConfigError, FormatError, type JobOptions } from "../core/index.ts";
import { type DataList, entryName, listData } from "../data/index.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { openEvalPool } from "../images/node/index.ts";
import { writeFileAtomic, writeNpy, writeSafetensors } from "../weights/index.ts";
import type { Pooling } from "./encoder.ts";
import { type Extracted, extractFeatures } from "./extract.ts";
import { openModel } from "./model.ts";

export interface ExtractRequest extends JobOptions {
  readonly model: string;
  readonly pool?: Pooling;
  readonly imageSizePx?: number | undefined;
  readonly normalize?: boolean;
  readonly batchSize?: number | undefined;
  readonly threads?: number | undefined;
  readonly decode?: "python" | "managed" | undefined;
  readonly alpha?: "drop" | "white" | "black" | undefined;
  readonly skipBroken?: boolean;
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
  readonly dim: number;
  readonly failedImages: number;
}

/** Features of lists of images by a model at a path; each list in turn. */
export async function extractByModel(lists: readonly DataList[], request: ExtractRequest): Promise<readonly Extracted[]> {
  const threads = request.threads ?? availableParallelism();
  using device = openCpu({ threads });
  const { encoder, mean, std, imageSizePx: own } = await openModel(request.model, device);
  using closing = encoder;
  const sizePx = request.imageSizePx ?? own;
  const patch = encoder.config.patchSizePx;
  if (sizePx % patch !== 0)
    throw new ConfigError(
      `Cannot embed at ${sizePx} px: patches are ${patch} px; use ${Math.max(patch, Math.floor(sizePx / patch) * patch)} or ${Math.ceil(sizePx / patch) * patch}`,
      { keyPath: "imageSizePx" },
    );
  await using pool = openEvalPool({
    resize: "square",
    threads,
    decode: request.decode ?? "managed",
    alpha: request.alpha ?? "drop",
    mean,
    std,
    imageSizePx: sizePx,
  });
  const results: Extracted[] = [];
  for (const list of lists) {
    const { pool: pooling = "cls", batchSize = 32, normalize = false, signal, onProgress, onNotice } = request;
    const found = await extractFeatures(list, {
      encoder: closing,
      pool,
      imageSizePx: sizePx,
      pooling,
      batchSize,
      normalize,
      signal,
      onProgress,
    });
    const [first] = found.failed;
    if (first !== undefined && request.skipBroken !== true)
      throw new FormatError(
        `${first.reason} (${found.failed.length} of ${list.entries.length} images are broken; --skip-broken leaves them out)`,
        { file: first.path },
      );
    for (const { reason } of found.failed) onNotice?.(`Left out: ${reason}`);
    results.push(found);
  }
  return results;
}

/** Writes features of images to a table; beside it `OUT.json` says which row is which image. */
export async function embed(options: EmbedOptions): Promise<EmbedResult> {
  const { out, overwrite = false, layers = [-1], data, ...request } = options;
  if (layers.length !== 1 || layers[0] !== -1)
    throw new ConfigError("Cannot embed other layers than the last: this release has none; leave --layers out", { keyPath: "layers" });
  if (!overwrite && (await stat(out).catch(() => undefined)) !== undefined)
    throw new ConfigError(`Cannot write "${out}": it is there already; give --overwrite or another --out`, { keyPath: "out" });
  const list = await listData(data, request);
  const [found] = await extractByModel([list], request);
  if (found === undefined || found.rows.length === 0)
    throw new FormatError(`Cannot embed "${data}": no image could be read; look at the first messages`, { file: data });
  await writeTable(out, found, list);
  const entries = Array.from(found.rows, (i) => list.entries[i]).flatMap((e) => e ?? []);
  const { model, pool = "cls", imageSizePx = null, normalize = false } = request;
  await writeFileAtomic(
    `${out}.json`,
    `${JSON.stringify({ formatVersion: 1, model, pool, imageSizePx, normalize, paths: entries.map(entryName), labels: list.classes.length > 0 ? entries.map((e) => e.label ?? "") : null })}\n`,
  );
  if (found.failed.length > 0) await writeFileAtomic(`${out}.failed.jsonl`, found.failed.map((f) => `${JSON.stringify(f)}\n`).join(""));
  return { out, images: found.rows.length, dim: found.dim, failedImages: found.failed.length };
}

async function writeTable(out: string, { features, dim, rows }: Extracted, list: DataList): Promise<void> {
  const tensor = { dtype: "f32", shape: [rows.length, dim], data: features } as const;
  if (out.endsWith(".safetensors")) return writeSafetensors(out, new Map([["features", tensor]]));
  if (out.endsWith(".npy")) return writeNpy(out, tensor);
  if (out.endsWith(".csv")) return writeFileAtomic(out, csvLines({ features, dim, rows }, list));
  throw new ConfigError(`Cannot write "${out}": its suffix names no table format; use .safetensors, .npy or .csv`, { keyPath: "out" });
}

function* csvLines({ features, dim, rows }: Pick<Extracted, "features" | "dim" | "rows">, list: DataList): Iterable<Uint8Array> {
  const text = new TextEncoder();
  const cell = (s: string): string => (/[",\n\r]/.test(s) ? `"${s.replaceAll('"', '""')}"` : s);
  yield text.encode(`path,label,${Array.from({ length: dim }, (_, j) => `f${j}`).join(",")}\n`);
  for (const [r, i] of rows.entries()) {
    const entry = list.entries[i];
    if (entry !== undefined)
      yield text.encode(`${cell(entryName(entry))},${cell(entry.label ?? "")},${features.subarray(r * dim, (r + 1) * dim).join(",")}\n`);
  }
}
