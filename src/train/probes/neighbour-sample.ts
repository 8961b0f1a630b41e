/** @file A fixed sample of images whose class tokens are kept from before training and from after, so that their neighbours can be compared. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { JobOptions } from "../../core/index.ts";
import { type DataList, freezeList, listData, makeList, readFrozenList } from "../../data/index.ts";
import { type Encoder, extractFeatures, normalizeRows } from "../../features/index.ts";
import type { EvalPool } from "../../images/node/index.ts";
import { readSafetensors, writeSafetensors } from "../../weights/index.ts";
import type { TrainConfig } from "../config/index.ts";
import { gridOf } from "../loop/networks.ts";
import { PICTURES, spreadOver } from "./snapshots.ts";

/** Images in the sample: as many as a network can look at in about half a minute on two cores, within these bounds. */
const [LEAST, MOST] = [256, 2000];
const BUDGET_FLOP = 6e12;

export type SampleTime = "first" | "last";

/** Class tokens of the sample at one step, rows scaled to length 1: `[n, dim]`. */
export interface SampleFeatures {
  readonly step: number;
  readonly dim: number;
  readonly features: Float32Array;
}

export interface SampleContext {
  readonly runDir: string;
  readonly config: TrainConfig;
  readonly encoder: Encoder;
  readonly pool: EvalPool;
}

const folder = (runDir: string): string => join(runDir, PICTURES, "neighbours");
const fileOf = (runDir: string, time: SampleTime): string => join(folder(runDir), `${time}.safetensors`);

/** Multiply-adds of one picture, twice: projections and MLP of every token, and attention. */
function flopOfImage(config: TrainConfig): number {
  const { model } = config;
  const tokens = 1 + gridOf(config) ** 2;
  const perToken = (4 + 2 * model.mlpRatio) * model.width ** 2 + 2 * tokens * model.width;
  return 2 * model.depth * tokens * perToken;
}

/** How many images the sample has at most. */
export function sampleSize(config: TrainConfig): number {
  return Math.max(LEAST, Math.min(MOST, Math.floor(BUDGET_FLOP / flopOfImage(config))));
}

/** Spread evenly over the labelled images of the run, where it has them, else over its training images. */
async function chooseSample(list: DataList, config: TrainConfig): Promise<DataList> {
  const from = config.knn.train === null ? list : await listData(config.knn.train);
  return makeList(spreadOver(from.entries.length, sampleSize(config)).flatMap((i) => from.entries[i] ?? []));
}

async function embedSample(
  sample: DataList,
  { config, encoder, pool }: SampleContext,
  signal: AbortSignal | undefined,
): Promise<{ readonly features: Float32Array; readonly dim: number; readonly rows: Int32Array }> {
  const { features, dim, rows } = await extractFeatures(sample, { encoder, pool, imageSizePx: config.crops.globalSizePx, signal });
  normalizeRows(features, dim);
  return { features, dim, rows };
}

async function writeFeatures(file: string, { features, dim, step }: SampleFeatures): Promise<void> {
  const shape = [features.length / dim, dim];
  await writeSafetensors(file, new Map([["features", { dtype: "f32", shape, data: features }]]), { step: String(step) });
}

/** Chooses the sample and keeps what the network makes of it at its first sight; does nothing when that is stored already. */
export async function storeFirstSight(list: DataList, step: number, context: SampleContext & Pick<JobOptions, "signal">): Promise<void> {
  const { runDir, config, signal } = context;
  const file = fileOf(runDir, "first");
  if ((await stat(file).catch(() => undefined)) !== undefined) return;
  const sample = await chooseSample(list, config);
  const { features, dim, rows } = await embedSample(sample, context, signal);
  await freezeList(folder(runDir), makeList(Array.from(rows).flatMap((i) => sample.entries[i] ?? []))); // broken images are left out
  await writeFeatures(file, { features, dim, step });
}

/** Keeps what the network makes of the same sample now; images that can no longer be read get zeros, which are near to nothing. */
export async function storeLastSight(step: number, context: SampleContext & Pick<JobOptions, "signal">): Promise<void> {
  const { runDir, signal } = context;
  const sample = await readSample(runDir);
  if (sample === undefined) return;
  const { features, dim, rows } = await embedSample(sample, context, signal);
  const all = new Float32Array(sample.entries.length * dim);
  rows.forEach((row, i) => all.set(features.subarray(i * dim, (i + 1) * dim), row * dim));
  await writeFeatures(fileOf(runDir, "last"), { features: all, dim, step });
}

/** The sample of a run; undefined when none was taken. */
export async function readSample(runDir: string): Promise<DataList | undefined> {
  const there = await stat(fileOf(runDir, "first")).catch(() => undefined);
  return there === undefined ? undefined : readFrozenList(folder(runDir));
}

/** What was kept of a time; undefined when nothing was. Throws FormatError when the file is damaged. */
export async function readSight(runDir: string, time: SampleTime): Promise<SampleFeatures | undefined> {
  const file = fileOf(runDir, time);
  if ((await stat(file).catch(() => undefined)) === undefined) return undefined;
  const { tensors, metadata } = await readSafetensors(file);
  const found = tensors.get("features");
  if (!(found?.data instanceof Float32Array)) return undefined;
  return { step: Number(metadata["step"] ?? NaN), dim: found.shape[1] ?? 1, features: found.data };
}
