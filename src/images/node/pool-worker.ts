/** @file A worker of the pool: decodes pictures one ahead and writes their crops into shared memory. */
import { parentPort, workerData } from "node:worker_threads";
import { FormatError, InternalError, Rng } from "../../core/index.ts";
import { cleanView, cropSizes, drawView, viewPath } from "../crops.ts";
import { type BandImage, evalCropBands, writeBandPlanes } from "../bands.ts";
import { cleanBandView, drawBandView, renderBandView } from "../band-views.ts";
import { evalCrop } from "../eval-crop.ts";
import type { RgbImage } from "../image.ts";
import { normaliseInto } from "../pixel-ops.ts";
import { renderView } from "../render.ts";
import { loadBands } from "./decode-bands.ts";
import { loadImage, type ImageRef } from "./decode.ts";
import type { BatchTarget, Chunk, ChunkDone, CropSetup, EvalSetup, FailedItem, Item, WorkerSetup } from "./pool-protocol.ts";

const setup = workerData as WorkerSetup; // sent by worker-pool.ts

/** Pictures have as many channels as there are means. */
const CHANNELS = (setup.render.kind === "crop" ? setup.render.augment : setup.render).mean.length;

/** Only small pictures are kept: the larger ones would fill the cache before they come again. */
const CACHED_IMAGE_BYTES = CHANNELS === 3 ? 256 * 256 * 3 : 256 * 256 * CHANNELS * 4;

/** Colours as bytes, or bands as floats. */
type Picture = RgbImage | BandImage;

/** Decoded pictures that are kept. Each comes once an epoch in random order, so keeping the first that fit beats evicting the oldest. */
const cache = new Map<string, Picture>();
let cachedBytes = 0;

async function loadCached(ref: ImageRef): Promise<Picture> {
  const key = `${ref.offset ?? 0}:${ref.path}`;
  const known = cache.get(key);
  if (known !== undefined) return known;
  const image = CHANNELS === 3 ? await loadImage(ref, setup) : await loadBands(ref, { ...setup, channels: CHANNELS });
  const bytes = image.data.byteLength;
  if (bytes <= CACHED_IMAGE_BYTES && cachedBytes + bytes <= setup.cacheBytes && !cache.has(key)) {
    cache.set(key, image);
    cachedBytes += bytes;
  }
  return image;
}

/** A picture that is coming; its failure is kept as a value, for nobody may be waiting yet. */
type Loaded = { readonly image: Picture } | { readonly error: unknown };

interface Pending {
  readonly chunk: Chunk;
  readonly item: Item;
  readonly last: boolean;
  loaded?: Promise<Loaded>;
}

function startLoading(pending: Pending | undefined): void {
  if (pending === undefined) return;
  pending.loaded ??= loadCached(pending.item.ref).then(
    (image) => ({ image }),
    (error: unknown) => ({ error }),
  );
}

function render(image: Picture, item: Item, target: BatchTarget): void {
  if (setup.render.kind === "crop") renderCrops(image, { item, target, config: setup.render });
  else renderEval(image, { item, target, config: setup.render });
}

function renderCrops(
  image: Picture,
  { item, target, config }: { readonly item: Item; readonly target: BatchTarget; readonly config: CropSetup },
): void {
  const { seed, augment } = config;
  const crops = config.crops[target.cropsIndex] ?? config.crops[0];
  const sizes = cropSizes(crops, CHANNELS);
  for (let view = 0; view < sizes.views; view++) {
    const rng = new Rng(seed, viewPath(target.epoch, item.ref.sampleId, view));
    const row = view * target.batch + item.slot;
    const [out, offset] = view < 2 ? [target.first, row * sizes.global] : [target.second, (row - 2 * target.batch) * sizes.local];
    const gram = view < 2 && target.third !== undefined ? crops.gramSizePx : undefined;
    const options = { width: image.width, height: image.height, view, crops, augment };
    if ("channels" in image) {
      const plan = drawBandView(rng, options);
      renderBandView(image, plan, out, offset);
      if (gram !== undefined && target.third !== undefined)
        renderBandView(image, cleanBandView(plan, gram), target.third, row * sizes.gram);
    } else {
      const plan = drawView(rng, options);
      renderView(image, plan, out, offset);
      if (gram !== undefined && target.third !== undefined) renderView(image, cleanView(plan, gram), target.third, row * sizes.gram);
    }
  }
}

function renderEval(
  image: Picture,
  { item, target, config }: { readonly item: Item; readonly target: BatchTarget; readonly config: EvalSetup },
): void {
  const { crop, mean, std } = config;
  const offset = item.slot * CHANNELS * crop.imageSizePx ** 2;
  if ("channels" in image) writeBandPlanes(evalCropBands(image, crop), target.first, { mean, std, offset });
  else normaliseInto(evalCrop(image, crop), target.first, { mean, std, offset });
}

const queue: Pending[] = [];
let failed: FailedItem[] = [];
let running = false;

/** Works the queue off: while one picture is rendered, the next one is decoded on another thread. */
async function runQueue(): Promise<void> {
  running = true;
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    startLoading(next);
    const result = await next.loaded;
    startLoading(queue[0]);
    if (result === undefined) throw new InternalError("Cannot render image: it was never loaded; report this");
    if ("image" in result) render(result.image, next.item, next.chunk.target);
    else if (result.error instanceof FormatError) failed.push({ item: next.item, reason: result.error.message });
    else throw result.error;
    if (next.last) {
      send({ id: next.chunk.id, failed });
      failed = [];
    }
  }
  running = false;
}

function send(done: ChunkDone): void {
  parentPort?.postMessage(done);
}

parentPort?.on("message", (chunk: Chunk) => {
  for (const [i, item] of chunk.items.entries()) queue.push({ chunk, item, last: i === chunk.items.length - 1 });
  if (running) return startLoading(queue[0]);
  runQueue().catch((error: unknown) => {
    const { name, message } = error instanceof Error ? error : new Error(String(error));
    send({ id: chunk.id, failed, fatal: { name, message } });
  });
});
