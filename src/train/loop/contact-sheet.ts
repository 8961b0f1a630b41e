/** @file A picture of the crops a run begins with, for `train --dry-run`. */
import { Rng } from "../../core/index.ts";
import { type DataList, imageRef, Loader } from "../../data/index.ts";
import { type CropsConfig, type RgbImage, shownBands } from "../../images/index.ts";
import { type CropBatch, encodePng, openCropPool } from "../../images/node/index.ts";
import { contactSheet, type ContactRow, fromPlanes, shadePatches } from "../../views/index.ts";
import { writeFileAtomic } from "../../weights/index.ts";
import type { TrainConfig } from "../config/index.ts";
import { loadShown } from "../probes/shown-picture.ts";
import { methodOf, variantsOf } from "./method-config.ts";
import { cropsOf, imagesOfStep } from "./variants.ts";

/** Rows of the sheet, and the fewest of each size. */
const [ROWS, LEAST] = [6, 2];
const GLOBALS = 2;

export interface DrawContactSheetOptions {
  readonly list: DataList;
  readonly config: TrainConfig;
  /** A PNG. */
  readonly outFile: string;
}

export interface DrawnContactSheet {
  /** Rows of the list that are shown, from top to bottom. */
  readonly sampleIds: readonly number[];
  readonly widthPx: number;
  readonly heightPx: number;
}

/** Every crop of one kind of image `i` of `n`, back from normalised planes. */
function cropsAt(
  planes: Float32Array,
  { i, n, count, sizePx, augment }: { i: number; n: number; count: number; sizePx: number; augment: TrainConfig["augment"] },
): readonly RgbImage[] {
  const { mean, std } = augment;
  const channels = mean.length;
  const [area, shown] = [sizePx * sizePx, shownBands(channels)];
  const numbers = { mean: shown.map((c) => mean[c] ?? 0), std: shown.map((c) => std[c] ?? 1) };
  return Array.from({ length: count }, (_, view) => {
    const at = (view * n + i) * channels * area;
    const three = new Float32Array(3 * area);
    shown.forEach((c, k) => three.set(planes.subarray(at + c * area, at + (c + 1) * area), k * area));
    return fromPlanes(three, { width: sizePx, height: sizePx, ...numbers });
  });
}

/** The first images of the first step at one of the run's sizes. */
interface Shown extends DrawContactSheetOptions {
  readonly batch: CropBatch;
  readonly crops: CropsConfig;
  /** Masked patches of crop `view` of image `i`; undefined where nothing is masked. */
  readonly maskOf: (view: number, i: number) => ArrayLike<number> | undefined;
}

function shade(picture: RgbImage, mask: ArrayLike<number> | undefined): RgbImage {
  if (mask === undefined) return picture;
  const side = Math.round(Math.sqrt(mask.length));
  return shadePatches(picture, { mask, rows: side, cols: side });
}

async function rowsOf({ batch, crops, list, config, maskOf }: Shown): Promise<readonly ContactRow[]> {
  const { augment, data, model } = config;
  const n = batch.sampleIds.length;
  const { gramCrops } = batch;
  return Promise.all(
    Array.from(batch.sampleIds, async (id, i) => ({
      image: await loadShown(imageRef(list, id), { data, channels: model.channels }),
      globals: cropsAt(batch.globals, { i, n, count: GLOBALS, sizePx: crops.globalSizePx, augment }).map((crop, view) =>
        shade(crop, maskOf(view, i)),
      ),
      ...(gramCrops === undefined
        ? {}
        : { grams: cropsAt(gramCrops, { i, n, count: GLOBALS, sizePx: crops.gramSizePx ?? crops.globalSizePx, augment }) }),
      locals: cropsAt(batch.locals, { i, n, count: crops.localCount, sizePx: crops.localSizePx, augment }),
    })),
  );
}

/** The masks of the run's first step, at one of its sizes. */
function masksOf(config: TrainConfig, variant: number | undefined): Shown["maskOf"] {
  const method = variant === undefined ? methodOf(config) : variantsOf(config)[variant];
  const images = imagesOfStep(config);
  const masks = method?.draw({ rng: new Rng(config.seed), step: 0 }).get("mask");
  if (!(masks instanceof Float32Array)) return () => undefined;
  const patches = masks.length / (GLOBALS * images);
  return (view, i) => masks.subarray((view * images + i) * patches, (view * images + i + 1) * patches);
}

/**
 * Draws the first images of a run's first step, each beside its crops, exactly as the network will see them: same seed, same generator, the
 * masked patches of the student's crops shaded. A stage of several sizes gets rows of each. Broken images are passed over as in training.
 * Throws FormatError when none can be read.
 */
export async function drawContactSheet(options: DrawContactSheetOptions): Promise<DrawnContactSheet> {
  const { list, config, outFile } = options;
  const { seed, augment, data } = config;
  const [crops, ...variants] = cropsOf(config);
  await using pool = openCropPool({ threads: 1, seed, crops, variants, augment, decode: data.decode, alpha: data.alpha, cacheBytes: 0 });
  const sizes = variants.length === 0 ? [undefined] : variants.map((_, i) => i);
  const batchSize = Math.min(Math.max(LEAST, Math.floor(ROWS / sizes.length)), imagesOfStep(config), list.entries.length);
  const drawn: { readonly ids: readonly number[]; readonly rows: readonly ContactRow[] }[] = [];
  for (const variant of sizes) {
    const loader = new Loader({ list, pool, seed, batchSize, variantOf: () => variant });
    const batch = await loader.load(0);
    const own = variant === undefined ? crops : (variants[variant] ?? crops);
    drawn.push({ ids: [...batch.sampleIds], rows: await rowsOf({ ...options, batch, crops: own, maskOf: masksOf(config, variant) }) });
  }
  const sheet = contactSheet(drawn.flatMap(({ rows }) => rows));
  await writeFileAtomic(outFile, await encodePng(sheet));
  return { sampleIds: drawn.flatMap(({ ids }) => ids), widthPx: sheet.width, heightPx: sheet.height };
}
