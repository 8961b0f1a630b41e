/** @file Small pictures of a data set's images for a report; a picture that cannot be read becomes a grey square. */
import { basename } from "node:path";
import { FormatError } from "../../core/index.ts";
import { type DataEntry, type DataList, entryName, imageRef } from "../../data/index.ts";
import { resample, type RgbImage } from "../../images/index.ts";
import { encodeJpeg } from "../../images/node/index.ts";
import type { ReportPicture } from "../../views/index.ts";
import { loadShown, type ShownPictureOptions } from "./shown-picture.ts";

export interface ThumbnailOptions extends ShownPictureOptions {
  /** Longest side. */
  readonly sidePx: number;
  /** `square`: stretched, as the network sees it; `fit`: with its own ratio. */
  readonly shape: "square" | "fit";
}

/** A name for people: the file's (or the member's), without folders. */
export function shortName(entry: DataEntry): string {
  return basename(entry.member ?? entry.path);
}

/** The size that fits `sidePx`; pictures are never enlarged, the page does that. */
function sizeOf(image: RgbImage, { sidePx, shape }: ThumbnailOptions): { readonly width: number; readonly height: number } {
  const side = Math.max(image.width, image.height);
  if (shape === "square") return { width: Math.min(sidePx, side), height: Math.min(sidePx, side) };
  const scale = Math.min(1, sidePx / side);
  return { width: Math.max(1, Math.round(image.width * scale)), height: Math.max(1, Math.round(image.height * scale)) };
}

/** A small RGB picture of row `index` of a list. */
export async function loadThumbnail(list: DataList, index: number, options: ThumbnailOptions): Promise<RgbImage> {
  try {
    const image = await loadShown(imageRef(list, index), options);
    return resample(image, { ...sizeOf(image, options), kernel: "bicubic", arithmetic: "pil-u8" });
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return { width: 8, height: 8, data: new Uint8Array(192).fill(128) };
  }
}

/** The same, ready for a page. */
export async function thumbnail(list: DataList, index: number, options: ThumbnailOptions): Promise<ReportPicture> {
  const image = await loadThumbnail(list, index, options);
  const entry = list.entries[index];
  const label = entry?.label === undefined ? "" : `, ${entry.label}`;
  return {
    mime: "image/jpeg",
    bytes: await encodeJpeg(image, { quality: 85 }),
    alt: entry === undefined ? "image" : shortName(entry) + label,
    hint: entry === undefined ? "image" : entryName(entry) + label,
  };
}
