/** @file Patch tokens of a few fixed images along a run, and those of an earlier look to compare with. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { type HostTensor, Rng } from "../../core/index.ts";
import { type DataList, imageRef } from "../../data/index.ts";
import type { Encoder } from "../../features/index.ts";
import type { EvalPool } from "../../images/node/index.ts";
import { readSafetensors, writeSafetensors } from "../../weights/index.ts";
import type { PatchTokens } from "../dense-monitors.ts";
import { PICTURES, spreadOver } from "./snapshots.ts";

/** Images that are looked at, and patches of each that are compared: their cosines cost patches² × width. */
const [IMAGES, PATCHES] = [16, 256];

/** What the network makes of the fixed images at one step. */
export interface Sight {
  readonly step: number;
  /** Rows of the run's list. */
  readonly images: readonly number[];
  readonly tokens: PatchTokens;
  /** Class tokens, `[images, width]`. */
  readonly cls: Float32Array;
}

export interface SightOptions {
  readonly list: DataList;
  readonly encoder: Encoder;
  /** Gives squares of `imageSizePx`. */
  readonly pool: EvalPool;
  readonly imageSizePx: number;
}

const fileOf = (runDir: string): string => join(runDir, PICTURES, "dense-first.safetensors");

/** At most `PATCHES` of the patches, rising: always the same of one size, and no pattern in the grid. */
function comparedPatches(patches: number): readonly number[] {
  const all = Array.from(new Rng(0, "dense/patches").permutation(patches));
  return all.slice(0, PATCHES).sort((a, b) => a - b);
}

/** Images of which tokens are compared: spread evenly over the list. */
export function watchedImages(list: DataList): readonly number[] {
  return spreadOver(list.entries.length, IMAGES);
}

/** Looks at these rows of the list; images that cannot be read are left out. Undefined where none can. */
export async function takeSight(
  images: readonly number[],
  { step, signal, list, encoder, pool, imageSizePx }: SightOptions & { readonly step: number; readonly signal?: AbortSignal | undefined },
): Promise<Sight | undefined> {
  const batch = await pool.load(images.map((i) => imageRef(list, i)));
  const broken = new Set(batch.failed.map(({ index }) => index));
  const good = images.flatMap((image, slot) => (broken.has(slot) ? [] : [{ image, slot }]));
  if (good.length === 0) return undefined;
  const { features } = await encoder.encode(batch.images, { pool: "all", sizePx: imageSizePx, signal });
  const [width, all, p] = [encoder.dim("all"), encoder.tokens("all", imageSizePx), encoder.tokens("patch", imageSizePx)];
  const compared = comparedPatches(p);
  const row = (slot: number, token: number): Float32Array =>
    features.subarray((slot * all + token) * width, (slot * all + token + 1) * width);
  const data = new Float32Array(good.length * compared.length * width);
  const cls = new Float32Array(good.length * width);
  good.forEach(({ slot }, b) => {
    cls.set(row(slot, 0), b * width); // the class token is the first, the patches are the last
    compared.forEach((patch, i) => data.set(row(slot, all - p + patch), (b * compared.length + i) * width));
  });
  const tokens = { data, images: good.length, patches: compared.length, width };
  return { step, images: good.map(({ image }) => image), tokens, cls };
}

/** Keeps what later looks are compared with. */
export async function storeFirstSight(runDir: string, { step, images, tokens }: Sight): Promise<void> {
  const { data, patches, width } = tokens;
  const tensor: HostTensor = { dtype: "f32", shape: [images.length, patches, width], data: Float32Array.from(data) };
  await writeSafetensors(fileOf(runDir), new Map([["tokens", tensor]]), { step: String(step), images: images.join(",") });
}

/** The look that later ones are compared with; undefined where there is none. Throws FormatError when its file is damaged. */
export async function readFirstSight(runDir: string): Promise<Omit<Sight, "cls"> | undefined> {
  const file = fileOf(runDir);
  if ((await stat(file).catch(() => undefined)) === undefined) return undefined;
  const { tensors, metadata } = await readSafetensors(file);
  const found = tensors.get("tokens");
  if (!(found?.data instanceof Float32Array)) return undefined;
  const [images = 0, patches = 0, width = 0] = found.shape;
  const rows = (metadata["images"] ?? "").split(",").map(Number);
  return { step: Number(metadata["step"] ?? NaN), images: rows, tokens: { data: found.data, images, patches, width } };
}

/** Tokens of both looks for the images that both have. */
export function sharedTokens(
  now: Pick<Sight, "images" | "tokens">,
  then: Pick<Sight, "images" | "tokens">,
): { readonly now: PatchTokens; readonly before: PatchTokens } | undefined {
  const both = now.images.filter((image) => then.images.includes(image));
  if (both.length === 0 || now.tokens.patches !== then.tokens.patches) return undefined;
  const take = ({ images, tokens }: Pick<Sight, "images" | "tokens">): PatchTokens => {
    const { data, patches, width } = tokens;
    const size = patches * width;
    const out = new Float32Array(both.length * size);
    both.forEach((image, b) => {
      const from = images.indexOf(image) * size;
      for (let j = 0; j < size; j++) out[b * size + j] = data[from + j] ?? NaN;
    });
    return { data: out, images: both.length, patches, width };
  };
  return { now: take(now), before: take(then) };
}
