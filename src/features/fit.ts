/** @file From a picture of any shape to what a network takes: the model's own preprocessing, or a policy that keeps more of the picture. */
import { ConfigError } from "../core/index.ts";
import {
  type BandImage,
  evalCrop,
  evalCropBands,
  normalise,
  resample,
  resampleBands,
  type RgbImage,
  writeBandPlanes,
} from "../images/index.ts";
import type { Preprocessing } from "./processor.ts";
import { type PictureSize, sidesOf } from "./trace-encoder.ts";

/**
 * `stretch`: both sides to the size. `crop`: short side to the size, centre square. `pad`: long side to the size, the mean colour around it.
 * `multiple`: short side to the size, proportions kept but for rounding each side to whole patches.
 */
export type ResizePolicy = "stretch" | "crop" | "pad" | "multiple";

const RESIZE_POLICIES: readonly ResizePolicy[] = ["stretch", "crop", "pad", "multiple"];

export interface FitOptions {
  readonly preprocessing: Preprocessing;
  readonly patchSizePx: number;
  /** Default: the model's own way. */
  readonly resize?: ResizePolicy | undefined;
}

/** Colours, or any number of bands. */
export type AnyImage = RgbImage | BandImage;

/** Normalised planes `[c, y, x]` of a picture. */
export interface FittedPicture {
  readonly planes: Float32Array;
  readonly sizePx: PictureSize;
}

/** The preprocessing that does what `stretch` and `crop` say; the given one for other policies. */
export function withPolicy(preprocessing: Preprocessing, resize: ResizePolicy | undefined): Preprocessing {
  if (resize === "stretch") return { ...preprocessing, resize: "square" };
  return resize === "crop" ? { ...preprocessing, resize: "short-side", cropRatio: 1 } : preprocessing;
}

/** Throws ConfigError for a policy that is none. */
export function checkResizePolicy(resize: ResizePolicy | undefined): void {
  if (resize === undefined || RESIZE_POLICIES.includes(resize)) return;
  throw new ConfigError(`Cannot resize by "${String(resize)}": there is no such policy; use ${RESIZE_POLICIES.join(", ")}`, {
    keyPath: "resize",
  });
}

/** Throws ConfigError unless the side is a whole number of patches. */
export function checkPictureSize(sizePx: number, patchPx: number): void {
  if (Number.isInteger(sizePx) && sizePx % patchPx === 0 && sizePx >= patchPx) return;
  const below = Math.max(patchPx, Math.floor(sizePx / patchPx) * patchPx);
  const todo = Number.isFinite(sizePx) ? `use ${below} or ${Math.max(patchPx, Math.ceil(sizePx / patchPx) * patchPx)}` : "give a number";
  throw new ConfigError(`Cannot embed at ${sizePx} px: patches are ${patchPx} px; ${todo}`, { keyPath: "imageSizePx" });
}

/** Resizes and normalises one picture; bands in floats, each by itself. Throws ShapeError unless there is one mean and deviation a channel. */
export function fitPicture(image: AnyImage, { preprocessing, patchSizePx, resize }: FitOptions): FittedPicture {
  if (resize === "pad") return padded(image, preprocessing);
  if (resize === "multiple") {
    const sizePx = multipleSize(image, { shortPx: preprocessing.imageSizePx, patchSizePx });
    return { planes: resized(image, sizePx, preprocessing), sizePx };
  }
  const own = withPolicy(preprocessing, resize);
  return {
    planes: isBands(image) ? planesOf(evalCropBands(image, own), own) : normalise(evalCrop(image, own), own),
    sizePx: own.imageSizePx,
  };
}

function isBands(image: AnyImage): image is BandImage {
  return "channels" in image;
}

function planesOf(image: BandImage, { mean, std }: Pick<Preprocessing, "mean" | "std">): Float32Array {
  const planes = new Float32Array(image.data.length);
  writeBandPlanes(image, planes, { mean, std });
  return planes;
}

/** Both sides scaled so that the shorter is `shortPx`, each rounded to whole patches. */
export function multipleSize(
  { width, height }: { readonly width: number; readonly height: number },
  { shortPx, patchSizePx }: { readonly shortPx: number; readonly patchSizePx: number },
): { readonly height: number; readonly width: number } {
  const scale = shortPx / Math.min(width, height);
  const whole = (px: number): number => Math.max(1, Math.round((px * scale) / patchSizePx)) * patchSizePx;
  return { height: whole(height), width: whole(width) };
}

function resized(
  image: AnyImage,
  size: PictureSize,
  { kernel = "bicubic", arithmetic = "pil-u8", mean, std }: Preprocessing,
): Float32Array {
  const sides = sidesOf(size);
  if (isBands(image)) return planesOf(resampleBands(image, { ...sides, kernel }), { mean, std });
  const small =
    arithmetic === "float" ? resample(image, { ...sides, kernel, arithmetic }) : resample(image, { ...sides, kernel, arithmetic });
  return normalise(small, { mean, std });
}

/** Centred on the mean colour, which is zero when normalised. */
function padded(image: AnyImage, preprocessing: Preprocessing): FittedPicture {
  const { imageSizePx: side, mean } = preprocessing;
  const scale = side / Math.max(image.width, image.height);
  const [height, width] = [image.height, image.width].map((px) => Math.max(1, Math.round(px * scale))) as [number, number]; // two sides
  const inner = resized(image, { height, width }, preprocessing);
  const planes = new Float32Array(mean.length * side * side);
  const [top, left] = [Math.floor((side - height) / 2), Math.floor((side - width) / 2)];
  for (let row = 0; row < mean.length * height; row++) {
    const [c, y] = [Math.floor(row / height), row % height];
    planes.set(inner.subarray(row * width, (row + 1) * width), (c * side + top + y) * side + left);
  }
  return { planes, sizePx: side };
}
