/** @file What the teacher makes of a few fixed images, stored along a run: patch tokens and class-token attention. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { HostTensor } from "../../core/index.ts";
import { type DataList, imageRef, makeList } from "../../data/index.ts";
import type { Encoder } from "../../features/index.ts";
import type { EvalPool } from "../../images/node/index.ts";
import { isViT } from "../../nn/index.ts";
import { readSafetensors, writeSafetensors } from "../../weights/index.ts";
import type { TrainConfig } from "../config/index.ts";
import { gridOf } from "../loop/networks.ts";

/** Where a run keeps what its pictures are drawn from. */
export const PICTURES = "pictures";

const SHOWN = 5;
const SNAPSHOT = /^step-(\d+)\.safetensors$/;

/** One moment: patch tokens `[b, p, d]` and attention `[b, h, p]` of the shown images. */
export interface Snapshot {
  readonly step: number;
  readonly images: number;
  readonly tokens: Float32Array;
  readonly attention: Float32Array;
}

/** `count` numbers spread evenly over 0..n-1. */
export function spreadOver(n: number, count: number): readonly number[] {
  const m = Math.min(n, count);
  return Array.from({ length: m }, (_, i) => Math.floor(((i + 0.5) * n) / m));
}

/** The images that are drawn along the run: always the same of one list. */
export function shownImages(list: DataList): DataList {
  return makeList(spreadOver(list.entries.length, SHOWN).flatMap((i) => list.entries[i] ?? []));
}

/** Stores the moment of a step. */
export async function storeSnapshot(
  runDir: string,
  step: number,
  {
    shown,
    encoder,
    pool,
    config,
  }: { readonly shown: DataList; readonly encoder: Encoder; readonly pool: EvalPool; readonly config: TrainConfig },
): Promise<void> {
  const sizePx = config.crops.globalSizePx;
  const { width, heads } = config.model;
  const { images } = await pool.load(shown.entries.map((_, i) => imageRef(shown, i)));
  const { features, attention } = await encoder.encode(images, { pool: "patch", sizePx, attention: isViT(encoder.config) });
  const [b, p] = [shown.entries.length, gridOf(config) ** 2];
  const tensors = new Map<string, HostTensor>([
    ["tokens", { dtype: "f32", shape: [b, p, width], data: features }],
    ["attention", { dtype: "f32", shape: [b, heads, p], data: attention ?? new Float32Array(b * heads * p) }],
  ]);
  await writeSafetensors(join(runDir, PICTURES, `step-${String(step).padStart(8, "0")}.safetensors`), tensors);
}

/** The steps with a stored moment, rising, up to `lastStep`: a resumed run may have left later ones. */
export async function snapshotSteps(runDir: string, lastStep: number = Infinity): Promise<readonly number[]> {
  const names = await readdir(join(runDir, PICTURES)).catch(() => []);
  const steps = names.flatMap((name) => {
    const match = SNAPSHOT.exec(name);
    return match === null ? [] : [Number(match[1])];
  });
  return steps.filter((step) => step <= lastStep).sort((a, b) => a - b);
}

/** At most `count` of the moments: the first, the last, and evenly between. */
export function chooseMoments(steps: readonly number[], count: number): readonly number[] {
  const m = Math.min(count, steps.length);
  const chosen = Array.from({ length: m }, (_, i) => steps[Math.round((i * (steps.length - 1)) / Math.max(1, m - 1))]);
  return [...new Set(chosen.flatMap((s) => s ?? []))];
}

/** A stored moment; undefined when its file lacks a tensor. Throws FormatError when it is damaged. */
export async function readSnapshot(runDir: string, step: number): Promise<Snapshot | undefined> {
  const { tensors } = await readSafetensors(join(runDir, PICTURES, `step-${String(step).padStart(8, "0")}.safetensors`));
  const [tokens, attention] = [tensors.get("tokens"), tensors.get("attention")];
  if (!(tokens?.data instanceof Float32Array) || !(attention?.data instanceof Float32Array)) return undefined;
  return { step, images: tokens.shape[0] ?? 0, tokens: tokens.data, attention: attention.data };
}
