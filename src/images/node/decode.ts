/** @file Turns image files into RGB bytes by one of two policies: what PIL gives, or colour-managed (contracts 22). */
import { open } from "node:fs/promises";
import type { Metadata, Sharp, SharpOptions } from "sharp";
import { FormatError, PlatformError } from "../../core/index.ts";
import type { RgbImage } from "../image.ts";
import { readJpegHeader } from "./jpeg-header.ts";
import { openSharp } from "./sharp.ts";

export type DecodePolicy = "python" | "managed";
export type AlphaPolicy = "drop" | "white" | "black";

/** A picture in a file, or a member inside a tar (`offset`, `bytes`). `sampleId` is the row in the run's frozen list. */
export interface ImageRef {
  readonly sampleId: number;
  readonly path: string;
  readonly offset?: number;
  readonly bytes?: number;
}

export interface DecodeOptions {
  /** `python`: as `PIL.Image.open(f).convert("RGB")`; `managed`: EXIF turn, ICC to sRGB, 16 bits scaled. Default `managed`. */
  readonly decode?: DecodePolicy;
  /** What lies behind transparent pixels under `managed`, and of SVG. Default `drop`. */
  readonly alpha?: AlphaPolicy;
  /** Larger pictures are refused before decoding. Default 178,956,970 (where PIL warns of a bomb). */
  readonly maxPixels?: number;
  /** What errors call the picture. */
  readonly name?: string;
}

export const DEFAULT_MAX_PIXELS = 178_956_970;

export type Rules = Required<DecodeOptions>;

/**
 * Decodes JPEG, PNG, WebP, GIF (first frame), AVIF, TIFF or SVG, told apart by content.
 * Throws FormatError naming the picture when it is empty, truncated, too large or no image.
 */
export async function decodeImage(bytes: Uint8Array, options: DecodeOptions = {}): Promise<RgbImage> {
  const { decode = "managed", alpha = "drop", maxPixels = DEFAULT_MAX_PIXELS, name = "in memory" } = options;
  const rules: Rules = { decode, alpha, maxPixels, name };
  if (bytes.length === 0) throw broken(name, "the file is empty; copy it again or remove it");
  try {
    return isPlain(bytes, rules) ? await decodePlain(bytes, rules) : await decodeAny(bytes, rules);
  } catch (cause) {
    if (cause instanceof FormatError || cause instanceof PlatformError) throw cause;
    throw broken(name, reasonOf(cause), cause);
  }
}

/** Reads and decodes one picture of a list. Throws FormatError when the file cannot be read or decoded. */
export async function loadImage(ref: Omit<ImageRef, "sampleId">, options: Omit<DecodeOptions, "name"> = {}): Promise<RgbImage> {
  return decodeImage(await readImageBytes(ref), { ...options, name: ref.path });
}

/** Width and height by the picture's header alone, before any turn. Throws FormatError when there is no header to read. */
export async function readImageSize(ref: Omit<ImageRef, "sampleId">): Promise<{ readonly width: number; readonly height: number }> {
  const bytes = await readImageBytes(ref);
  if (bytes.length === 0) throw broken(ref.path, "the file is empty; copy it again or remove it");
  const known = readJpegHeader(bytes);
  if (known !== undefined) return known;
  const sharp = await openSharp();
  try {
    return await sharp(bytes, { limitInputPixels: false, limitInputChannels: 0 }).metadata();
  } catch (cause) {
    throw broken(ref.path, reasonOf(cause), cause);
  }
}

/** The bytes of a picture: the whole file, or the member of a tar. Throws FormatError when they cannot be read in full. */
export async function readImageBytes({ path, offset, bytes }: Omit<ImageRef, "sampleId">): Promise<Uint8Array> {
  try {
    await using file = await open(path, "r");
    const from = offset ?? 0;
    const want = bytes !== undefined && offset !== undefined ? bytes : (await file.stat()).size - from;
    const buffer = Buffer.allocUnsafeSlow(Math.max(0, want));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, from);
    if (bytesRead === buffer.length) return buffer;
    throw new FormatError(`Cannot read image "${path}": ${bytesRead} of ${want} bytes at ${from} are there; copy the file again`, {
      file: path,
    });
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FormatError(`Cannot read image "${path}": ${why}; check that the file exists and may be read`, { file: path, cause });
  }
}

export function broken(name: string, rest: string, cause?: unknown): FormatError {
  return new FormatError(`Cannot decode image "${name}": ${rest}`, { file: name, cause });
}

export function reasonOf(cause: unknown): string {
  const message = (cause instanceof Error ? cause.message : String(cause)).replaceAll("\n", " ").trim();
  if (/unsupported image format/i.test(message))
    return "its content is no JPEG, PNG, WebP, GIF, AVIF, TIFF or SVG; remove it from the data";
  if (/channel limit/i.test(message)) return "it has more bands than a colour picture; train with model.channels=N to read all of them";
  if (/pixel limit/i.test(message)) return "it has more pixels than allowed; make it smaller or raise maxPixels";
  if (/premature end|truncat|unexpected end|not enough|read error|Read gave|incomplete/i.test(message))
    return `the data ends early (${message}); copy the file again or remove it`;
  return `the data is damaged (${message}); copy the file again or remove it`;
}

export function checkPixels({ width, height }: { readonly width: number; readonly height: number }, { maxPixels, name }: Rules): void {
  if (width * height > maxPixels)
    throw broken(name, `${width}x${height} px are ${width * height} pixels, the limit is ${maxPixels}; make it smaller or raise maxPixels`);
}

/** Whether the bytes are a JPEG of three components with nothing to turn or manage. */
function isPlain(bytes: Uint8Array, rules: Rules): boolean {
  const header = readJpegHeader(bytes);
  if (header === undefined) return false;
  checkPixels(header, rules);
  return header.components === 3 && (rules.decode === "python" || !(header.exif || header.icc));
}

function sharpOptions(rules: Rules, ignoreIcc: boolean): SharpOptions {
  // "error" stops at damage and truncation; mere warnings (stray bytes between markers) pass, as they do in PIL.
  return { failOn: "error", limitInputPixels: rules.maxPixels, ignoreIcc };
}

/** Nothing to turn, manage or drop: one call. */
async function decodePlain(bytes: Uint8Array, rules: Rules): Promise<RgbImage> {
  const sharp = await openSharp();
  return toRgb(sharp(bytes, sharpOptions(rules, true)));
}

async function decodeAny(bytes: Uint8Array, rules: Rules): Promise<RgbImage> {
  const sharp = await openSharp();
  // The size is checked here by hand, so that the refusal can say it.
  const meta = await sharp(bytes, { limitInputPixels: false, failOn: "error" }).metadata();
  checkPixels(meta, rules);
  const picture = sharp(bytes, sharpOptions(rules, rules.decode === "python"));
  return rules.decode === "python" ? decodePython(picture, meta, rules) : toRgb(behind(picture.autoOrient(), meta, rules));
}

function decodePython(picture: Sharp, meta: Metadata, rules: Rules): Promise<RgbImage> {
  if (meta.space === "cmyk") return cmykToRgb(picture);
  if (meta.space === "grey16") return clipGrey16(picture);
  return toRgb(meta.format === "svg" ? behind(picture, meta, rules) : picture);
}

/** Puts white or black behind the transparent parts. */
function behind(picture: Sharp, meta: Metadata, { alpha }: Rules): Sharp {
  return meta.hasAlpha && alpha !== "drop" ? picture.flatten({ background: alpha }) : picture;
}

async function toRgb(picture: Sharp): Promise<RgbImage> {
  const { data, info } = await picture.raw().toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  if (channels === 3) return { width, height, data: new Uint8Array(data.buffer, data.byteOffset, data.length) };
  const rgb = new Uint8Array(width * height * 3);
  const colours = channels < 3 ? 1 : 3;
  for (let i = 0; i < width * height; i++) for (let c = 0; c < 3; c++) rgb[i * 3 + c] = data[i * channels + (colours === 1 ? 0 : c)]!; // sharp gives width * height * channels values
  return { width, height, data: rgb };
}

/** PIL's CMYK: each of R, G, B = (255 - K) - (C, M, Y) * (255 - K) / 255, rounded. */
async function cmykToRgb(picture: Sharp): Promise<RgbImage> {
  const { data, info } = await picture.pipelineColourspace("cmyk").toColourspace("cmyk").raw().toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    const light = 255 - data[i * channels + 3]!; // four channels: C, M, Y, K
    for (let c = 0; c < 3; c++) {
      const product = data[i * channels + c]! * light + 128;
      rgb[i * 3 + c] = light - (((product >> 8) + product) >> 8);
    }
  }
  return { width, height, data: rgb };
}

/** PIL's 16-bit grey: values above 255 are white. */
async function clipGrey16(picture: Sharp): Promise<RgbImage> {
  const { data, info } = await picture.toColourspace("grey16").raw({ depth: "ushort" }).toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  const values = new Uint16Array(data.buffer, data.byteOffset, data.length / 2);
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) rgb.fill(Math.min(255, values[i * channels]!), i * 3, i * 3 + 3); // inside the picture
  return { width, height, data: rgb };
}
