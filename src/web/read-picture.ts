/** @file Pictures in the browser: decoded by it, without its colour conversion, resampled by us. */
import { ConfigError, FormatError, PlatformError } from "../core/index.ts";
import type { AnyImage } from "../features/fit.ts";
import type { DecodeRules } from "../features/processor-rules.ts";
import { bandsOf, describeValue, isRawPicture, type RawPicture, rgbOf } from "../features/raw-picture.ts";
import { type Bitmap, browser } from "./browser.ts";
import { withoutExif } from "./exif.ts";
import { straightPixels } from "./straight-pixels.ts";

/** What the browser can draw: `ImageBitmap`, `HTMLImageElement`, a canvas, `VideoFrame`. */
export interface Drawable {
  readonly width?: number;
  readonly height?: number;
  readonly codedWidth?: number;
}

/** A URL, the bytes of an encoded file (JPEG, PNG, WebP, AVIF, …), pixels, or what the browser can draw. */
export type WebPicture = string | Blob | Uint8Array | RawPicture | Drawable;

export interface ReadWebPictureOptions extends DecodeRules {
  /** What the network takes: 3 are colours (default); bands of any other number come as pixels only. */
  readonly channels?: number | undefined;
}

/**
 * Pixels of a picture: bands as they are given, or RGB, bit-equal to Pillow's for what browsers decode as it does; greys of 16 bits are scaled, where Pillow clips. Throws
 * FormatError for what cannot be fetched or decoded, ConfigError for a picture where bands are wanted, ShapeError for pixels that do not fit their size, the signal's reason when aborted.
 */
export async function readWebPicture(
  picture: WebPicture,
  { channels = 3, ...rules }: ReadWebPictureOptions,
  signal?: AbortSignal,
): Promise<AnyImage> {
  if (isRawPicture(picture)) return channels === 3 ? rgbOf(picture, rules) : bandsOf(picture, channels);
  if (channels !== 3)
    throw new ConfigError(
      `Cannot embed a picture: the network takes ${channels} channels, and a browser decodes colours; give pixels, { data, width, height, channels: ${channels} }`,
      { keyPath: "model.channels" },
    );
  const drawable = await drawableOf(picture, signal);
  const stored = drawable instanceof Blob && rules.decode === "python" ? await untagged(drawable) : drawable;
  const bitmap = await decode(stored, rules);
  try {
    return rgbOf({ data: pixelsOf(bitmap, rules), width: bitmap.width, height: bitmap.height }, rules);
  } finally {
    bitmap.close();
  }
}

async function drawableOf(picture: Exclude<WebPicture, RawPicture>, signal: AbortSignal | undefined): Promise<object> {
  if (picture instanceof Uint8Array) return new Blob([new Uint8Array(picture)]);
  if (typeof picture !== "string") return need(picture);
  const response = await fetch(picture, signal === undefined ? {} : { signal }).catch((cause: unknown) => {
    signal?.throwIfAborted();
    throw new FormatError(`Cannot fetch picture "${picture}": no answer; check the address, and that its server allows other origins`, {
      file: picture,
      cause,
    });
  });
  if (response.ok)
    return await response.blob().catch((cause: unknown) => {
      signal?.throwIfAborted();
      throw new FormatError(`Cannot fetch picture "${picture}": the connection broke; try again`, { file: picture, cause });
    });
  throw new FormatError(`Cannot fetch picture "${picture}": the server answers ${response.status}; check the address`, { file: picture });
}

/** Throws FormatError for what JavaScript callers may pass. */
function need(picture: unknown): object {
  if (typeof picture === "object" && picture !== null) return picture;
  throw new FormatError(
    `Cannot embed ${describeValue(picture)}: it is no picture; give a URL, a file, its bytes, { data, width, height }, or what the browser can draw`,
  );
}

/** A file without what would have the browser turn it. */
async function untagged(file: Blob): Promise<Blob> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const plain = withoutExif(bytes);
  return plain === bytes ? file : new Blob([new Uint8Array(plain)]);
}

/** `python` rules: as stored, neither turned nor converted; `managed`: turned by EXIF, converted to sRGB. */
async function decode(source: object, { decode: how }: DecodeRules): Promise<Bitmap> {
  const { createImageBitmap } = browser;
  if (createImageBitmap === undefined)
    throw new PlatformError("Cannot decode pictures: this is no browser; give pixels, or use tricera in Node");
  const managed = how === "managed";
  return await createImageBitmap(source, {
    colorSpaceConversion: managed ? "default" : "none",
    premultiplyAlpha: "none",
    imageOrientation: managed ? "from-image" : "none",
  }).catch((cause: unknown) => {
    throw new FormatError(
      `Cannot decode picture: the browser refuses it (${cause instanceof Error ? cause.message : String(cause)}); give a JPEG, PNG or WebP file`,
      { cause },
    );
  });
}

/** RGBA of a bitmap. A canvas loses colour where alpha is low; where alpha is dropped, pixels that have some are read again, exactly. */
function pixelsOf(bitmap: Bitmap, { alpha }: DecodeRules): Uint8ClampedArray | Uint8Array {
  const { width, height } = bitmap;
  const canvas = browser.OffscreenCanvas === undefined ? undefined : new browser.OffscreenCanvas(width, height);
  const context = canvas?.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  if (context === undefined || context === null)
    throw new PlatformError("Cannot read pixels: the browser has no OffscreenCanvas; use a newer one, or give pixels");
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const isSolid = alpha !== "drop" || data.every((value, i) => i % 4 !== 3 || value === 255);
  return isSolid ? data : (straightPixels(bitmap) ?? data);
}
