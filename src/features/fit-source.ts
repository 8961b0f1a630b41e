/** @file Pictures fitted by a policy that the pool of workers does not know: `pad` and `multiple`, on this thread beside the network's. */
import { FormatError } from "../core/index.ts";
import type { EvalBatch, ImageRef } from "../images/node/index.ts";
import { loadBands, loadImage } from "../images/node/index.ts";
import type { MixedBatch, PictureSource } from "./extract.ts";
import { fitPicture, type FitOptions, type FittedPicture } from "./fit.ts";
import type { DecodeRules } from "./processor.ts";

/** Pictures read at once; decoding runs on Node's own threads. */
const AT_ONCE = 8;

type Loaded = { readonly picture: FittedPicture } | { readonly path: string; readonly reason: string };

async function loadOne(ref: ImageRef, options: FitOptions & { readonly rules: DecodeRules }): Promise<Loaded> {
  try {
    const channels = options.preprocessing.mean.length;
    const image = channels === 3 ? await loadImage(ref, options.rules) : await loadBands(ref, { ...options.rules, channels });
    return { picture: fitPicture(image, options) };
  } catch (error) {
    if (error instanceof FormatError) return { path: ref.path, reason: error.message };
    throw error;
  }
}

/** Gives batches of pictures of one size for `pad`, of sizes of their own for `multiple`. */
export function openFitSource(options: FitOptions & { readonly rules: DecodeRules }): PictureSource {
  return {
    async load(refs) {
      const loaded: Loaded[] = [];
      for (let from = 0; from < refs.length; from += AT_ONCE)
        loaded.push(...(await Promise.all(refs.slice(from, from + AT_ONCE).map((ref) => loadOne(ref, options)))));
      const failed = loaded.flatMap((l, index) => ("picture" in l ? [] : [{ index, ...l }]));
      const pictures = loaded.map((l) => ("picture" in l ? l.picture : undefined));
      return options.resize === "multiple" ? { pictures, failed } : together(pictures, failed, options);
    },
  };
}

function together(pictures: MixedBatch["pictures"], failed: EvalBatch["failed"], { preprocessing }: FitOptions): EvalBatch {
  const size = preprocessing.mean.length * preprocessing.imageSizePx ** 2;
  const images = new Float32Array(pictures.length * size);
  for (const [i, picture] of pictures.entries()) if (picture !== undefined) images.set(picture.planes, i * size);
  return { images, failed };
}
