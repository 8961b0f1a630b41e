/** @file Pictures out: PNG, JPEG, and drawings (SVG) at a chosen size. */
import { ConfigError, FormatError } from "../../core/index.ts";
import { checkImage, type RgbImage } from "../image.ts";
import { openSharp } from "./sharp.ts";

export async function encodePng(image: RgbImage): Promise<Uint8Array> {
  checkImage(image);
  const sharp = await openSharp();
  const { width, height, data } = image;
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

export interface JpegOptions {
  /** 1 to 100, default 90. */
  readonly quality?: number;
}

export async function encodeJpeg(image: RgbImage, { quality = 90 }: JpegOptions = {}): Promise<Uint8Array> {
  checkImage(image);
  const sharp = await openSharp();
  const { width, height, data } = image;
  return sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg({ quality })
    .toBuffer();
}

/** Draws an SVG into a square of `sizePx`, centred on white. Throws FormatError when the bytes are no SVG. */
export async function renderSvg(bytes: Uint8Array, sizePx: number): Promise<RgbImage> {
  if (!Number.isInteger(sizePx) || sizePx < 1)
    throw new ConfigError(`Cannot render SVG: size is ${sizePx} px; give a whole number of at least 1`);
  const sharp = await openSharp();
  try {
    const { width, height, format } = await sharp(bytes).metadata();
    if (format !== "svg") throw new FormatError(`Cannot render SVG: the content is ${format}; decode it as an image`);
    const density = Math.min(100_000, Math.max(1, (72 * sizePx) / Math.max(width, height)));
    const picture = sharp(bytes, { density }).resize(sizePx, sizePx, { fit: "contain", background: { r: 255, g: 255, b: 255, alpha: 0 } });
    const { data, info } = await picture
      .flatten({ background: "white" })
      .removeAlpha()
      .toColourspace("srgb")
      .raw()
      .toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data: new Uint8Array(data.buffer, data.byteOffset, data.length) };
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FormatError(`Cannot render SVG: ${why}; check that it is a whole SVG document`, { cause });
  }
}
