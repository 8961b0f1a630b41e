/** @file Raw pixels as a picture. Needs no Node. */
import { ShapeError } from "../core/index.ts";
import { type BandImage, makeImage, type RgbImage } from "../images/index.ts";
import type { DecodeRules } from "./processor-rules.ts";

/** Pixels, row by row, channels side by side. */
export interface RawPicture {
  /** Eight bits a value; for a network of other than three channels also 16 bits, or floats of 0 to 1. */
  readonly data: Uint8Array | Uint8ClampedArray | Uint16Array | Float32Array;
  readonly width: number;
  readonly height: number;
  /**
   * By the length of the data unless said. For a network of three channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA; for others as many as
   * the network takes.
   */
  readonly channels?: number | undefined;
}

export function isRawPicture(picture: unknown): picture is RawPicture {
  return typeof picture === "object" && picture !== null && "data" in picture && "width" in picture && "height" in picture;
}

/** What something is, for error messages. */
export function describeValue(value: unknown): string {
  return value === null ? "null" : typeof value === "object" ? `a ${value.constructor.name}` : typeof value;
}

/** RGB of pixels: grey becomes three equal channels; what is transparent is laid on the rules' colour, or its alpha dropped. Throws ShapeError. */
export function rgbOf(picture: RawPicture, { alpha }: DecodeRules): RgbImage {
  const { data, width, height } = picture;
  const channels = checkRaw(picture);
  const rgb = makeImage(width, height);
  const paper = alpha === "white" ? 255 : 0;
  const isSolid = alpha === "drop" || channels % 2 === 1; // two and four channels have alpha as their last
  for (let i = 0; i < width * height; i++) {
    const at = i * channels;
    const opacity = isSolid ? 255 : data[at + channels - 1]!; // at + channels <= length
    for (let k = 0; k < 3; k++) {
      const value = data[at + (channels < 3 ? 0 : k)]!; // as above
      rgb.data[i * 3 + k] = Math.round((value * opacity + paper * (255 - opacity)) / 255);
    }
  }
  return rgb;
}

/** How many channels there are. Throws ShapeError where data and size do not fit. */
function checkRaw({ data, width, height, channels: said }: RawPicture): number {
  const channels = said ?? data.length / (width * height);
  const isBytes = data instanceof Uint8Array || data instanceof Uint8ClampedArray;
  const isSized = Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0;
  if (isBytes && isSized && [1, 2, 3, 4].includes(channels) && data.length === width * height * channels) return channels;
  throw new ShapeError(
    `Cannot embed pixels: ${describeValue(data)} of ${data.length} for ${width}x${height} px and ${channels} channels; give width · height · channels bytes of 1 to 4 channels`,
  );
}

/** What a value is divided by. Floats are of 0 to 1 already. */
function mostOf(data: RawPicture["data"]): number {
  if (data instanceof Uint16Array) return 65_535;
  return data instanceof Float32Array ? 1 : 255;
}

function isPixels(data: unknown): data is RawPicture["data"] {
  return [Uint8Array, Uint8ClampedArray, Uint16Array, Float32Array].some((kind) => data instanceof kind);
}

/** Bands of pixels, as many as a network takes, each over the most that its type holds. Throws ShapeError. */
export function bandsOf({ data, width, height, channels: said }: RawPicture, channels: number): BandImage {
  const found = said ?? data.length / (width * height);
  const isSized = Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0;
  if (!isPixels(data) || !isSized || found !== channels || data.length !== width * height * channels)
    throw new ShapeError(
      `Cannot embed pixels: ${describeValue(data)} of ${data.length} for ${width}x${height} px and ${found} channels; the network takes ${channels}: give width · height · ${channels} values of 8 or 16 bits, or floats of 0 to 1`,
    );
  const most = mostOf(data);
  const wrong = data instanceof Float32Array ? data.findIndex((x) => !(x >= 0 && x <= 1)) : -1;
  if (wrong >= 0)
    throw new ShapeError(`Cannot embed pixels: value ${wrong} is ${data[wrong]}; give floats of 0 to 1, before any normalisation`);
  return { width, height, channels, data: Float32Array.from(data, (x) => x / most) };
}
