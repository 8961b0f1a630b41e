/** @file Drawings never seen, as the networks are asked about them: whole, and as two crops with other colours. */
import { type AugmentConfig, type CropsConfig, resample, type RgbImage } from "../../src/images/index.ts";
import { loadImage, openCropPool } from "../../src/images/node/index.ts";
import type { Drawing } from "./emoji.ts";

export const SIZE_PX = 32;
const DRAWINGS = 1500;
/** Another seed than the run's: the crops are new too. */
const SEED = 99;

/** Pictures are normalised, `[n, 3, s, s]`. */
export interface HeldOut {
  readonly drawings: readonly Drawing[];
  /** Two crops with other colours of each drawing. */
  readonly first: Float32Array;
  readonly second: Float32Array;
  readonly whole: Float32Array;
  readonly mean: AugmentConfig["mean"];
  readonly std: AugmentConfig["std"];
}

/** Whole drawings as normalised pictures. */
function wholeImages(images: readonly RgbImage[], { mean, std }: Pick<AugmentConfig, "mean" | "std">): Float32Array {
  const area = SIZE_PX ** 2;
  const out = new Float32Array(images.length * 3 * area);
  images.forEach((image, i) => {
    const { data } = resample(image, { width: SIZE_PX, height: SIZE_PX, kernel: "bicubic", arithmetic: "pil-u8" });
    for (let p = 0; p < area; p++)
      for (let c = 0; c < 3; c++) out[(3 * i + c) * area + p] = ((data[3 * p + c] ?? 0) / 255 - (mean[c] ?? 0)) / (std[c] ?? 1); // c < 3
  });
  return out;
}

/** About 1,500 of the drawings, spread evenly, with their crops. */
export async function makeHeldOut(test: readonly Drawing[], augment: AugmentConfig): Promise<HeldOut> {
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
  await using pool = openCropPool({ threads: 2, seed: SEED, crops, augment, decode: "managed", alpha: "white" });
  const { globals } = await pool.crop(
    drawings.map(({ path }, sampleId) => ({ path, sampleId })),
    { epoch: 0 },
  );
  const half = globals.length / 2;
  const images = await Promise.all(drawings.map(({ path }) => loadImage({ path }, { decode: "managed", alpha: "white" })));
  const { mean, std } = augment;
  return { drawings, first: globals.subarray(0, half), second: globals.subarray(half), whole: wholeImages(images, augment), mean, std };
}
