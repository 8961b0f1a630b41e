/** @file The two pictures of this room: eight-bit RGB and float RGB, both row by row with the channels side by side. */
import { ShapeError } from "../core/index.ts";

/** An eight-bit RGB picture, HWC. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** An RGB picture of floats in 0..1, HWC. */
export interface FloatImage {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

/** A rectangle of whole pixels. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** A picture of `width` x `height`, black unless `data` is given. Throws ShapeError when the data has another length. */
export function makeImage(width: number, height: number, data: Uint8Array = new Uint8Array(width * height * 3)): RgbImage {
  const image = { width, height, data };
  checkImage(image);
  return image;
}

/** Throws ShapeError unless the data holds exactly `width * height * 3` values and the picture is not empty. */
export function checkImage(image: RgbImage | FloatImage): void {
  const { width, height, data } = image;
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1)
    throw new ShapeError(`Cannot use image: size is ${width}x${height}; give whole numbers of at least 1`);
  if (data.length !== width * height * 3)
    throw new ShapeError(
      `Cannot use image: ${width}x${height} needs ${width * height * 3} values, got ${data.length}; give RGB, row by row`,
    );
}

/** Throws ShapeError unless the box lies inside the picture and holds at least one pixel. */
export function checkBox(box: Box, image: { readonly width: number; readonly height: number }): void {
  const { left, top, width, height } = box;
  const whole = [left, top, width, height].every(Number.isInteger);
  if (!whole || left < 0 || top < 0 || width < 1 || height < 1 || left + width > image.width || top + height > image.height)
    throw new ShapeError(
      `Cannot crop image: box ${width}x${height} at (${left}, ${top}) is not inside ${image.width}x${image.height}; give whole pixels inside the image`,
    );
}

/** The pixels of a box, copied. */
export function cropImage(image: RgbImage, box: Box): RgbImage {
  checkImage(image);
  checkBox(box, image);
  const out = makeImage(box.width, box.height);
  for (let y = 0; y < box.height; y++) {
    const start = ((box.top + y) * image.width + box.left) * 3;
    out.data.set(image.data.subarray(start, start + box.width * 3), y * box.width * 3);
  }
  return out;
}
