/** @file Turns image files into bands as they are stored: 1, 2, 4 or any number, of 8 or 16 bits, scaled to 0..1 and never converted. */
import type { Metadata, Sharp } from "sharp";
import { ConfigError, FormatError, PlatformError } from "../../core/index.ts";
import type { BandImage } from "../bands.ts";
import {
  broken,
  checkPixels,
  DEFAULT_MAX_PIXELS,
  type DecodeOptions,
  type ImageRef,
  readImageBytes,
  reasonOf,
  type Rules,
} from "./decode.ts";
import { openSharp } from "./sharp.ts";

export interface DecodeBandsOptions extends DecodeOptions {
  /** Bands that the picture must have. */
  readonly channels: number;
}

/** Colour spaces whose values sharp hands out as they are stored, and the space to ask for: extra bands of 8-bit grey come through as 16 bits (x 257). */
const SPACES: Readonly<Record<string, "grey16" | "srgb" | "rgb16">> = { "b-w": "grey16", grey16: "grey16", srgb: "srgb", rgb16: "rgb16" };

/**
 * Decodes a picture (TIFF of any number of bands; PNG, WebP, JPEG and others of theirs) to its stored bands over 255 or 65,535. Alpha is a
 * band like others, `alpha` is not used. `managed` applies the EXIF turn; no policy converts colours. Throws FormatError naming the picture
 * when it has another number of bands, is not of 8 or 16 bits, or cannot be decoded.
 */
export async function decodeBands(bytes: Uint8Array, options: DecodeBandsOptions): Promise<BandImage> {
  const { channels, decode = "managed", alpha = "drop", maxPixels = DEFAULT_MAX_PIXELS, name = "in memory" } = options;
  if (!Number.isInteger(channels) || channels < 1)
    throw new ConfigError(`Cannot decode image "${name}": channels is ${channels}; give a whole number of at least 1`, {
      keyPath: "model.channels",
    });
  if (bytes.length === 0) throw broken(name, "the file is empty; copy it again or remove it");
  try {
    return await decodeStored(bytes, channels, { decode, alpha, maxPixels, name });
  } catch (cause) {
    if (cause instanceof FormatError || cause instanceof PlatformError) throw cause;
    throw broken(name, reasonOf(cause), cause);
  }
}

/** Reads and decodes one picture of a list. Throws FormatError when the file cannot be read or decoded. */
export async function loadBands(ref: Omit<ImageRef, "sampleId">, options: Omit<DecodeBandsOptions, "name">): Promise<BandImage> {
  return decodeBands(await readImageBytes(ref), { ...options, name: ref.path });
}

async function decodeStored(bytes: Uint8Array, channels: number, rules: Rules): Promise<BandImage> {
  const sharp = await openSharp();
  const meta = await sharp(bytes, { limitInputPixels: false, limitInputChannels: 0, failOn: "error" }).metadata();
  checkPixels(meta, rules);
  const space = spaceOf(meta, channels, rules);
  const picture = sharp(bytes, { failOn: "error", limitInputPixels: rules.maxPixels, limitInputChannels: 0, ignoreIcc: true });
  const turned = rules.decode === "managed" ? picture.autoOrient() : picture;
  return toBands(turned.pipelineColourspace(space).toColourspace(space), space);
}

/** The space to ask for. Throws FormatError for what is not stored as `channels` bands of 8 or 16 bits. */
function spaceOf(meta: Metadata, channels: number, { name }: Rules): "grey16" | "srgb" | "rgb16" {
  const found = meta.channels;
  if (found !== channels)
    throw broken(
      name,
      `it has ${found} ${found === 1 ? "band" : "bands"}, the network takes ${channels}; give pictures of ${channels}, or set model.channels=${found}`,
    );
  const space = SPACES[meta.space];
  if (space !== undefined && (meta.depth === "uchar" || meta.depth === "ushort")) return space;
  const what = space === undefined ? `colours as "${meta.space}"` : `values of type "${meta.depth}"`;
  throw broken(name, `its bands are stored as ${what}; save it as grey, RGB or multi-band with 8 or 16 bits a value`);
}

async function toBands(picture: Sharp, space: "grey16" | "srgb" | "rgb16"): Promise<BandImage> {
  const wide = space !== "srgb";
  const { data, info } = await picture.raw({ depth: wide ? "ushort" : "uchar" }).toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  const values = wide ? new Uint16Array(data.buffer, data.byteOffset, data.length / 2) : data;
  const most = wide ? 65_535 : 255;
  return { width, height, channels, data: Float32Array.from(values, (v) => v / most) };
}
