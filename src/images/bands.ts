/** @file Pictures of any number of bands (grey, RGBA, multispectral): floats of 0 to 1, resized, cropped, blurred and normalised band by band. */
import { ConfigError, ShapeError } from "../core/index.ts";
import { centreBox, type EvalCropConfig, shortSideSize } from "./eval-crop.ts";
import { floatPass, floatTaps, line } from "./float-passes.ts";
import { type Box, checkBox, type RgbImage } from "./image.ts";
import type { Kernel, Taps } from "./kernels.ts";

/** A picture of `channels` bands, HWC, each value 0 to 1. */
export interface BandImage {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly data: Float32Array;
}

/** Throws ShapeError unless there is a value for every pixel and band. */
export function checkBands({ width, height, channels, data }: BandImage): void {
  if (![width, height, channels].every((n) => Number.isInteger(n) && n >= 1))
    throw new ShapeError(`Cannot use image: size is ${width}x${height} of ${channels} bands; give whole numbers of at least 1`);
  const wanted = width * height * channels;
  if (data.length !== wanted)
    throw new ShapeError(
      `Cannot use image: ${width}x${height} of ${channels} bands needs ${wanted} values, got ${data.length}; give all bands of a pixel side by side`,
    );
}

/** Throws ConfigError unless there is one mean and one deviation for each band. */
export function checkBandNumbers(mean: readonly number[], std: readonly number[]): void {
  if (mean.length >= 1 && mean.length === std.length && std.every((s) => s > 0)) return;
  throw new ConfigError(
    `Cannot normalise images: mean has ${mean.length} numbers and std ${std.length}; give one of each for a channel, std above 0`,
    { keyPath: "augment.mean" },
  );
}

export interface ResampleBandsOptions {
  readonly width: number;
  readonly height: number;
  /** Cropped first: pixels outside it are never seen. */
  readonly box?: Box;
  readonly kernel: Kernel;
}

function cropBands({ width, channels, data }: BandImage, box: Box): Float32Array {
  const row = box.width * channels;
  const out = new Float32Array(box.height * row);
  for (let y = 0; y < box.height; y++) {
    const from = ((box.top + y) * width + box.left) * channels;
    out.set(data.subarray(from, from + row), y * row);
  }
  return out;
}

/**
 * Resizes the box of a picture, each band by itself, in floats with antialias; overshoot is cut to 0..1, as bytes do. Throws ShapeError for a
 * box outside the picture, ConfigError for `nearest`.
 */
export function resampleBands(image: BandImage, options: ResampleBandsOptions): BandImage {
  const { width, height, kernel, box = { left: 0, top: 0, width: image.width, height: image.height } } = options;
  checkBands(image);
  checkBox(box, image);
  if (kernel === "nearest")
    throw new ConfigError(`Cannot resample bands by "nearest": it has no antialias; use "bicubic" or "bilinear"`, { keyPath: "kernel" });
  const { channels } = image;
  const h = floatTaps(line(box.width, width), kernel, true);
  const v = floatTaps(line(box.height, height), kernel, true);
  const source = cropBands(image, box);
  const middle = h === undefined ? source : floatPass(source, h, { outer: box.height, length: box.width, inner: channels });
  const data = v === undefined ? middle : floatPass(middle, v, { outer: 1, length: box.height, inner: width * channels });
  for (let i = 0; i < data.length; i++) data[i] = Math.min(1, Math.max(0, data[i]!)); // i < length
  return { width, height, channels, data };
}

/** The evaluation transform of `evalCrop` in floats, whatever arithmetic the configuration names. */
export function evalCropBands(image: BandImage, config: EvalCropConfig): BandImage {
  const { imageSizePx, resize, cropRatio = 224 / 256, cropOffset = "half-even", kernel = "bicubic" } = config;
  if (resize === "square") return resampleBands(image, { width: imageSizePx, height: imageSizePx, kernel });
  const size = shortSideSize(image, Math.round(imageSizePx / cropRatio));
  const whole = resampleBands(image, { ...size, kernel });
  const box = centreBox(size, imageSizePx, { offset: cropOffset });
  return { width: imageSizePx, height: imageSizePx, channels: image.channels, data: cropBands(whole, box) };
}

/** Reach of a Gaussian's taps in deviations; what lies beyond is 0.3 % of it. */
const REACH = 3;

/** Taps of a Gaussian along a line; at the ends the first and last value repeat. */
function gaussianTaps(length: number, sigma: number): Taps {
  const reach = Math.ceil(REACH * sigma);
  const stride = Math.min(length, 2 * reach + 1);
  const taps = { starts: new Int32Array(length), counts: new Int32Array(length), weights: new Float64Array(length * stride), stride };
  const kernel = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-((i - reach) ** 2) / (2 * sigma * sigma)));
  const total = kernel.reduce((sum, w) => sum + w, 0);
  for (let i = 0; i < length; i++) {
    const start = Math.max(0, i - reach);
    const last = Math.min(length - 1, i + reach);
    taps.starts[i] = start;
    taps.counts[i] = last - start + 1;
    kernel.forEach((w, k) => {
      const at = i * stride + Math.min(last, Math.max(start, i + k - reach)) - start;
      taps.weights[at] = (taps.weights[at] ?? 0) + w / total;
    });
  }
  return taps;
}

/** A Gaussian blur of each band, in floats; sigma in pixels. Throws ConfigError unless sigma is 0 or more. */
export function blurBands(image: BandImage, sigma: number): BandImage {
  checkBands(image);
  if (!(sigma >= 0) || !Number.isFinite(sigma)) throw new ConfigError(`Cannot blur image: sigma is ${sigma}; give 0 or more pixels`);
  if (sigma === 0) return image;
  const { width, height, channels } = image;
  const across = floatPass(image.data, gaussianTaps(width, sigma), { outer: height, length: width, inner: channels });
  return { ...image, data: floatPass(across, gaussianTaps(height, sigma), { outer: 1, length: height, inner: width * channels }) };
}

export interface BandPlanesOptions {
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** Where the picture starts in `out`. */
  readonly offset?: number;
  /** Left and right exchanged. */
  readonly flip?: boolean;
}

/** HWC to CHW: (x - mean) / std. Throws ShapeError when `out` is too short or there is not one mean a band. */
export function writeBandPlanes(image: BandImage, out: Float32Array, { mean, std, offset = 0, flip = false }: BandPlanesOptions): void {
  const { width, height, channels, data } = image;
  if (mean.length !== channels || std.length !== channels)
    throw new ShapeError(
      `Cannot normalise image: it has ${channels} bands, there are ${mean.length} means and ${std.length} deviations; give one a band`,
    );
  if (offset < 0 || offset + data.length > out.length)
    throw new ShapeError(`Cannot normalise image: ${data.length} values at ${offset} do not fit into ${out.length}; give a larger buffer`);
  let o = offset;
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const p = (y * width + (flip ? width - 1 - x : x)) * channels + c;
        out[o++] = (data[p]! - mean[c]!) / std[c]!; // inside the picture; c < channels
      }
}

/** Which bands stand for red, green and blue where people look: the first three; the first alone of fewer. */
export function shownBands(channels: number): readonly [number, number, number] {
  return channels >= 3 ? [0, 1, 2] : [0, 0, 0];
}

/** For people: the first three bands (of fewer the first, as grey), stretched from the least to the largest value. */
export function bandsToRgb(image: BandImage): RgbImage {
  checkBands(image);
  const { width, height, channels, data } = image;
  const shown = shownBands(channels);
  const rgb = new Uint8Array(width * height * 3);
  let [least, most] = [Infinity, -Infinity];
  for (let i = 0; i < width * height; i++)
    for (const c of shown) {
      const x = data[i * channels + c]!; // inside the picture
      least = Math.min(least, x);
      most = Math.max(most, x);
    }
  const scale = most > least ? 255 / (most - least) : 0;
  for (let i = 0; i < width * height; i++)
    shown.forEach((c, k) => (rgb[i * 3 + k] = Math.round((data[i * channels + c]! - least) * scale))); // inside the picture
  return { width, height, data: rgb };
}
