/** @file Pictures of a data set for people: colours as they are, of bands the first three. */
import { bandsToRgb, type RgbImage } from "../../images/index.ts";
import { type ImageRef, loadBands, loadImage } from "../../images/node/index.ts";
import type { DataConfig } from "../config/index.ts";

export interface ShownPictureOptions {
  readonly data: Pick<DataConfig, "decode" | "alpha">;
  /** Three are colours; any other number are bands as they are stored, which are stretched from the least to the largest value. */
  readonly channels: number;
}

/** Reads one picture. Throws FormatError when it cannot be read, or has another number of bands. */
export async function loadShown(ref: ImageRef, { data: { decode, alpha }, channels }: ShownPictureOptions): Promise<RgbImage> {
  return channels === 3 ? loadImage(ref, { decode, alpha }) : bandsToRgb(await loadBands(ref, { decode, alpha, channels }));
}
