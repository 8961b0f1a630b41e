/**
 * @file Monitors of dense features: whether patches of an image keep their differences while the class token gets better (DINOv3 §4).
 * `dense-alarms.ts` says it in words.
 */
import { ShapeError } from "../core/index.ts";
import type { Rows } from "./monitors.ts";

/** Patch tokens of some images, `[images, patches, width]`. */
export interface PatchTokens {
  readonly data: ArrayLike<number>;
  readonly images: number;
  readonly patches: number;
  readonly width: number;
}

const describe = ({ images, patches, width }: PatchTokens): string => `float32[${images},${patches},${width}]`;

function checkTokens(tokens: PatchTokens): void {
  const { data, images, patches, width } = tokens;
  if (images < 1 || patches < 1 || width < 1 || data.length !== images * patches * width)
    throw new ShapeError(`Cannot compare patches: ${describe(tokens)} has ${data.length} numbers; give tokens of at least one patch`);
}

/** `count` rows from row `first` on, each scaled to length 1; rows of zeros stay zeros. */
function unitRows(
  data: ArrayLike<number>,
  { first, count, width }: { readonly first: number; readonly count: number; readonly width: number },
): Float64Array {
  const out = new Float64Array(count * width);
  for (let i = 0; i < count; i++) {
    let square = 0;
    for (let j = 0; j < width; j++) square += (data[(first + i) * width + j] ?? NaN) ** 2;
    const scale = 1 / Math.max(Math.sqrt(square), 1e-12);
    for (let j = 0; j < width; j++) out[i * width + j] = (data[(first + i) * width + j] ?? NaN) * scale;
  }
  return out;
}

const unitImage = ({ data, patches, width }: PatchTokens, image: number): Float64Array =>
  unitRows(data, { first: image * patches, count: patches, width });

function dotRows(x: Float64Array, i: number, j: number, width: number): number {
  let sum = 0;
  for (let a = i * width, b = j * width; a < (i + 1) * width; a++, b++) sum += x[a]! * x[b]!; // i, j < rows
  return sum;
}

/** Mean of the squared differences of two images' matrices of cosines; both are symmetric with ones on the diagonal. */
function gramDifference(now: Float64Array, then: Float64Array, { patches, nowWidth, thenWidth }: GramSizes): number {
  let sum = 0;
  for (let i = 0; i < patches; i++)
    for (let j = 0; j < i; j++) sum += 2 * (dotRows(now, i, j, nowWidth) - dotRows(then, i, j, thenWidth)) ** 2;
  return sum / patches ** 2;
}

interface GramSizes {
  readonly patches: number;
  readonly nowWidth: number;
  readonly thenWidth: number;
}

/**
 * How far the patches' similarities have moved: mean over images of mean (XXᵀ − YYᵀ)² with rows of length 1, X the patches now and Y then; the
 * Gram loss between the two (DINOv3 §4, eq. 2) as a mean. 0: the same structure, whatever rotation the features went through. A drift of 0.04
 * means that cosines of two patches moved by 0.2. Widths may differ. Throws ShapeError for other images or patches.
 */
export function patchSimilarityDrift(now: PatchTokens, then: PatchTokens): number {
  checkTokens(now);
  checkTokens(then);
  if (now.images !== then.images || now.patches !== then.patches)
    throw new ShapeError(`Cannot compare patches: now ${describe(now)}, then ${describe(then)}; give the same images at the same size`);
  const sizes = { patches: now.patches, nowWidth: now.width, thenWidth: then.width };
  let sum = 0;
  for (let b = 0; b < now.images; b++) sum += gramDifference(unitImage(now, b), unitImage(then, b), sizes);
  return sum / now.images;
}

/** Sum of the rows. */
function total(x: Float64Array, width: number): Float64Array {
  const sum = new Float64Array(width);
  for (let i = 0; i < x.length; i++) sum[i % width] = sum[i % width]! + x[i]!; // i % width < width
  return sum;
}

/**
 * Mean cosine of two different patches of an image, over images: goes to 1 when all patches look alike. Of unit rows x_i it is
 * (|Σ x_i|² − Σ |x_i|²) / (P (P − 1)). NaN for images of one patch. Throws ShapeError.
 */
export function patchSimilarityMean(tokens: PatchTokens): number {
  checkTokens(tokens);
  const { images, patches, width } = tokens;
  let sum = 0;
  for (let b = 0; b < images; b++) {
    const x = unitImage(tokens, b);
    const own = x.reduce((s, v) => s + v * v, 0);
    sum += (total(x, width).reduce((s, v) => s + v * v, 0) - own) / (patches * (patches - 1));
  }
  return sum / images;
}

/** Mean cosine of the class token with the patches of its image, over images `[images, width]`: rises when patches become copies of it. */
export function clsPatchSimilarity(cls: Rows, tokens: PatchTokens): number {
  checkTokens(tokens);
  const { images, patches, width } = tokens;
  if (cls.rows !== images || cls.width !== width)
    throw new ShapeError(
      `Cannot compare class tokens float32[${cls.rows},${cls.width}] with patches ${describe(tokens)}: images or widths differ; give those of one network`,
    );
  const unit = unitRows(cls.data, { first: 0, count: images, width });
  let sum = 0;
  for (let b = 0; b < images; b++) {
    const patchSum = total(unitImage(tokens, b), width);
    for (let j = 0; j < width; j++) sum += (unit[b * width + j]! * patchSum[j]!) / patches; // b < images, j < width
  }
  return sum / images;
}
