/** @file A picture of the crops a run begins with, for `train --dry-run`. */
import { type DataList, imageRef, Loader } from "../../data/index.ts";
import { type CropsConfig, cropSizes, type RgbImage } from "../../images/index.ts";
import { type CropBatch, encodePng, loadImage, openCropPool } from "../../images/node/index.ts";
import { contactSheet, type ContactRow, fromPlanes } from "../../views/index.ts";
import { writeFileAtomic } from "../../weights/index.ts";
import type { TrainConfig } from "../config/index.ts";

const ROWS = 6;

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
function cropsOf(
  planes: Float32Array,
  { i, n, count, sizePx, augment }: { i: number; n: number; count: number; sizePx: number; augment: TrainConfig["augment"] },
): readonly RgbImage[] {
  const length = 3 * sizePx * sizePx;
  const { mean, std } = augment;
  return Array.from({ length: count }, (_, view) => {
    const at = (view * n + i) * length;
    return fromPlanes(planes.subarray(at, at + length), { width: sizePx, height: sizePx, mean, std });
  });
}

async function rowsOf(batch: CropBatch, { list, config }: DrawContactSheetOptions): Promise<readonly ContactRow[]> {
  const { augment, data } = config;
  const crops: CropsConfig = config.crops;
  const n = batch.sampleIds.length;
  return Promise.all(
    Array.from(batch.sampleIds, async (id, i) => ({
      image: await loadImage(imageRef(list, id), { decode: data.decode, alpha: data.alpha }),
      globals: cropsOf(batch.globals, { i, n, count: 2, sizePx: crops.globalSizePx, augment }),
      locals: cropsOf(batch.locals, { i, n, count: cropSizes(crops).views - 2, sizePx: crops.localSizePx, augment }),
    })),
  );
}

/**
 * Draws the first images of a run's first step, each beside its crops, exactly as the network will see them: same seed, same generator.
 * Broken images are passed over as in training. Throws FormatError when none can be read.
 */
export async function drawContactSheet(options: DrawContactSheetOptions): Promise<DrawnContactSheet> {
  const { list, config, outFile } = options;
  const { seed, crops, augment, data } = config;
  await using pool = openCropPool({ threads: 1, seed, crops, augment, decode: data.decode, alpha: data.alpha, cacheBytes: 0 });
  const loader = new Loader({ list, pool, seed, batchSize: Math.min(ROWS, list.entries.length) });
  const batch = await loader.load(0);
  const sheet = contactSheet(await rowsOf(batch, options));
  await writeFileAtomic(outFile, await encodePng(sheet));
  return { sampleIds: [...batch.sampleIds], widthPx: sheet.width, heightPx: sheet.height };
}
