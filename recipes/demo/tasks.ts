/** @file Two questions about drawings never seen: is the same drawing found again, and the same thing by another hand? */
import { nearestNeighbours, normalizeRows } from "../../src/features/index.ts";
import { type AugmentConfig, type CropsConfig, type RgbImage, resample } from "../../src/images/index.ts";
import { loadImage, openCropPool } from "../../src/images/node/index.ts";
import type { Drawing } from "./emoji.ts";

export const SIZE_PX = 32;
const DRAWINGS = 1500;

/** Normalised pictures [n, 3, s, s]: two crops with other colours of each drawing. */
export interface Views {
  readonly drawings: readonly Drawing[];
  readonly first: Float32Array;
  readonly second: Float32Array;
  /** Whole drawings. */
  readonly whole: readonly RgbImage[];
}

/** Pictures -> rows of features. */
export type Represent = (images: Float32Array, count: number) => Promise<{ readonly features: Float32Array; readonly dim: number }>;

export async function makeViews(test: readonly Drawing[], augment: AugmentConfig): Promise<Views> {
  const every = Math.max(1, Math.floor(test.length / DRAWINGS));
  const drawings = test.filter((_, i) => i % every === 0).slice(0, DRAWINGS);
  const crops: CropsConfig = {
    globalSizePx: SIZE_PX,
    localSizePx: SIZE_PX,
    localCount: 0,
    globalScaleRange: [0.4, 1],
    localScaleRange: [0.1, 0.4],
    interpolation: "bicubic",
  };
  await using pool = openCropPool({ threads: 2, seed: 99, crops, augment, decode: "managed", alpha: "white" });
  const { globals } = await pool.crop(
    drawings.map(({ path }, sampleId) => ({ path, sampleId })),
    0,
  );
  const half = globals.length / 2;
  const whole = await Promise.all(drawings.map(({ path }) => loadImage({ path }, { decode: "managed", alpha: "white" })));
  return { drawings, first: globals.subarray(0, half), second: globals.subarray(half), whole };
}

/** Whole drawings as normalised pictures. */
export function wholeImages({ whole }: Views, { mean, std }: Pick<AugmentConfig, "mean" | "std">): Float32Array {
  const area = SIZE_PX ** 2;
  const out = new Float32Array(whole.length * 3 * area);
  whole.forEach((image, i) => {
    const { data } = resample(image, { width: SIZE_PX, height: SIZE_PX, kernel: "bicubic", arithmetic: "pil-u8" });
    for (let p = 0; p < area; p++)
      for (let c = 0; c < 3; c++) out[(3 * i + c) * area + p] = ((data[3 * p + c] ?? 0) / 255 - mean[c as 0]) / std[c as 0]; // c < 3
  });
  return out;
}

export interface Recall {
  readonly otherCrop: number;
  readonly otherVendor: number;
}

/** recall@1 of both tasks, and each drawing's nearest drawings by other vendors. */
export async function evaluate(
  views: Views,
  represent: Represent,
  augment: Pick<AugmentConfig, "mean" | "std">,
): Promise<Recall & { readonly neighbours: Int32Array; readonly k: number }> {
  const n = views.drawings.length;
  const rows = async (images: Float32Array): Promise<{ features: Float32Array; dim: number }> => {
    const { features, dim } = await represent(images, n);
    const own = features.slice();
    normalizeRows(own, dim);
    return { features: own, dim };
  };
  const [a, b] = [await rows(views.first), await rows(views.second)];
  const crop = await nearestNeighbours(a.features, b.features, { dim: a.dim, k: 1, threads: 2 });
  let same = 0;
  for (let i = 0; i < n; i++) if (crop.indices[i] === i) same++;
  const whole = await rows(wholeImages(views, augment));
  const k = Math.min(40, n);
  const { indices } = await nearestNeighbours(whole.features, whole.features, { dim: whole.dim, k, threads: 2 });
  let [asked, right] = [0, 0];
  const neighbours = new Int32Array(n * 5).fill(-1);
  for (let i = 0; i < n; i++) {
    const own = views.drawings[i];
    const others = Array.from(indices.subarray(i * k, (i + 1) * k)).filter((j) => views.drawings[j]?.vendor !== own?.vendor);
    neighbours.set(others.slice(0, 5), i * 5);
    if (!views.drawings.some((d, j) => j !== i && d.identity === own?.identity && d.vendor !== own.vendor)) continue;
    asked++;
    const [first] = others;
    if (first !== undefined && views.drawings[first]?.identity === own?.identity) right++;
  }
  return { otherCrop: same / n, otherVendor: right / Math.max(1, asked), neighbours, k: 5 };
}
