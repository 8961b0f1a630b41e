/** @file `evalPatchKnn()`: how well a model's patch features tell what each part of an image is. */
import { availableParallelism } from "node:os";
import { ConfigError } from "../core/index.ts";
import { holdOutDense, listDense } from "../data/index.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { openEncoder } from "../features/index.ts";
import { openEvalPool } from "../images/node/index.ts";
import { checkPatchSize, type DenseSides, patchKnn, type PatchKnnResult, type PatchVoteOptions } from "./patch-knn.ts";

export interface EvalPatchKnnOptions extends PatchVoteOptions {
  readonly model: string;
  /** The architecture of a bare weight file. */
  readonly arch?: string | undefined;
  /** Labelled dense set (`listDense()`) whose patches vote. */
  readonly train: string;
  /** The same: whose patches are classified. Absent: a part of `train`, by `split`. */
  readonly test?: string | undefined;
  /** The share of images that is held out of `train` for the test, such as 0.2. */
  readonly split?: number | undefined;
  /** Ids of pixels without a class, instead of what the sets say. */
  readonly ignore?: readonly number[] | undefined;
  /** Side of the square that the network sees; a multiple of its patches. Default: the model's own. */
  readonly imageSizePx?: number | undefined;
  readonly threads?: number | undefined;
}

async function readSides(options: EvalPatchKnnOptions): Promise<DenseSides> {
  const { train: spec, test, split } = options;
  if ((test === undefined) === (split === undefined))
    throw new ConfigError(
      `Cannot evaluate "${spec}": its test side is not clear; give either images to classify (--test) or the share to hold out (--split)`,
      { keyPath: "test" },
    );
  if (split !== undefined && !(split > 0 && split < 1))
    throw new ConfigError(`Cannot hold out a share of ${split}: both parts need some; give a number between 0 and 1`, { keyPath: "split" });
  const train = await listDense(spec, options);
  if (test !== undefined) return { train, test: await listDense(test, options) };
  const sides = holdOutDense(train, 1 / (split ?? 0));
  if (sides.test.masks.length === 0 || sides.train.masks.length === 0)
    throw new ConfigError(`Cannot evaluate "${spec}": one side has no image; give more, or another share to --split`, { keyPath: "split" });
  return sides;
}

/**
 * Patch k-NN of a model on labelled dense sets. Pictures are squeezed to a square, so that every labelled pixel counts, and read as stored
 * (never turned), for so their masks were drawn.
 */
export async function evalPatchKnn(options: EvalPatchKnnOptions): Promise<PatchKnnResult> {
  const { model, arch, threads = availableParallelism() } = options;
  using device = openCpu({ threads });
  const { encoder, preprocessing } = await openEncoder(model, device, { arch, imageSizePx: options.imageSizePx });
  using closing = encoder;
  const { mean, std, kernel } = preprocessing;
  const imageSizePx = options.imageSizePx ?? preprocessing.imageSizePx;
  checkPatchSize(imageSizePx, encoder.patchSizePx);
  encoder.checkSize(imageSizePx);
  const sides = await readSides(options);
  const crop = { imageSizePx, resize: "square", mean, std, ...(kernel === undefined ? {} : { kernel }) } as const;
  await using pool = openEvalPool({ ...crop, threads, decode: "python", alpha: "drop" });
  return await patchKnn(sides, { ...options, encoder: closing, pool, imageSizePx, threads });
}
