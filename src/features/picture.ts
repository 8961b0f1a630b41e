/** @file A picture as callers have it: a file's path, a file's bytes, or raw pixels. */
import { FormatError } from "../core/index.ts";
import type { RgbImage } from "../images/index.ts";
import { decodeImage, loadImage } from "../images/node/index.ts";
import type { DecodeRules } from "./processor.ts";
import { describeValue, isRawPicture, type RawPicture, rgbOf } from "./raw-picture.ts";

export type { RawPicture } from "./raw-picture.ts";

/** A path, the bytes of an encoded file (JPEG, PNG, …), or pixels. */
export type Picture = string | Uint8Array | RawPicture;

/** RGB of a picture. Throws FormatError for what cannot be decoded, ShapeError for pixels that do not fit their size. */
export async function readPicture(picture: Picture, rules: DecodeRules): Promise<RgbImage> {
  if (typeof picture === "string") return loadImage({ path: picture }, rules);
  if (picture instanceof Uint8Array) return decodeImage(picture, rules);
  if (isRawPicture(picture)) return rgbOf(picture, rules);
  throw new FormatError(
    `Cannot embed ${describeValue(picture)}: it is no picture; give a path, a file's bytes, or { data, width, height, channels }`,
  );
}
