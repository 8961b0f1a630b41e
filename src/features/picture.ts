/** @file A picture as callers have it: a file's path, a file's bytes, or raw pixels. */
import { FormatError, ShapeError } from "../core/index.ts";
import { makeImage, type RgbImage } from "../images/index.ts";
import { decodeImage, loadImage } from "../images/node/index.ts";
import type { DecodeRules } from "./processor.ts";

/** Eight-bit pixels, row by row, channels side by side. */
export interface RawPicture {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
  /** 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA; by the length of the data unless said. */
  readonly channels?: number | undefined;
}

/** A path, the bytes of an encoded file (JPEG, PNG, …), or pixels. */
export type Picture = string | Uint8Array | RawPicture;

/** RGB of a picture. Throws FormatError for what cannot be decoded, ShapeError for pixels that do not fit their size. */
export async function readPicture(picture: Picture, rules: DecodeRules): Promise<RgbImage> {
  if (typeof picture === "string") return loadImage({ path: picture }, rules);
  if (picture instanceof Uint8Array) return decodeImage(picture, rules);
  if (isRaw(picture)) return rgbOf(picture, rules);
  throw new FormatError(
    `Cannot embed ${describe(picture)}: it is no picture; give a path, a file's bytes, or { data, width, height, channels }`,
  );
}

function isRaw(picture: unknown): picture is RawPicture {
  return typeof picture === "object" && picture !== null && "data" in picture && "width" in picture && "height" in picture;
}

function describe(value: unknown): string {
  return value === null ? "null" : typeof value === "object" ? `a ${value.constructor.name}` : typeof value;
}

/** Grey becomes three equal channels; what is transparent is laid on the rules' colour, or its alpha dropped. */
function rgbOf(picture: RawPicture, { alpha }: DecodeRules): RgbImage {
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
    `Cannot embed pixels: ${describe(data)} of ${data.length} for ${width}x${height} px and ${channels} channels; give width · height · channels bytes of 1 to 4 channels`,
  );
}
