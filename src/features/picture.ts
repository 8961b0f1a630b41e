/** @file A picture as callers have it: a file's path, a file's bytes, or raw pixels. */
import { FormatError } from "../core/index.ts";
import { decodeBands, decodeImage, loadBands, loadImage } from "../images/node/index.ts";
import type { AnyImage } from "./fit.ts";
import type { DecodeRules } from "./processor.ts";
import { bandsOf, describeValue, isRawPicture, type RawPicture, rgbOf } from "./raw-picture.ts";

export type { RawPicture } from "./raw-picture.ts";

/** A path, the bytes of an encoded file (JPEG, PNG, …), or pixels. */
export type Picture = string | Uint8Array | RawPicture;

export interface ReadPictureOptions extends DecodeRules {
  /** What the network takes: 3 are colours, of any other number the bands are read as they are stored. */
  readonly channels: number;
}

/** Pixels of a picture. Throws FormatError for what cannot be decoded or has other bands, ShapeError for pixels that do not fit their size. */
export async function readPicture(picture: Picture, { channels, ...rules }: ReadPictureOptions): Promise<AnyImage> {
  const isColour = channels === 3;
  if (typeof picture === "string")
    return isColour ? loadImage({ path: picture }, rules) : loadBands({ path: picture }, { ...rules, channels });
  if (picture instanceof Uint8Array) return isColour ? decodeImage(picture, rules) : decodeBands(picture, { ...rules, channels });
  if (isRawPicture(picture)) return isColour ? rgbOf(picture, rules) : bandsOf(picture, channels);
  throw new FormatError(
    `Cannot embed ${describeValue(picture)}: it is no picture; give a path, a file's bytes, or { data, width, height, channels }`,
  );
}
