/** @file `preprocessor_config.json` of an exported model, at the size it was exported for. */
import type { Preprocessing } from "../processor.ts";

/** Pillow's numbers. */
const RESAMPLE = { nearest: 0, lanczos: 1, bilinear: 2, bicubic: 3, box: 4, hamming: 5 } as const;

/** The processor of transformers (and transformers.js) that does the same. */
export function processorFile(p: Preprocessing): object {
  const { imageSizePx: px, resize, cropRatio = 224 / 256, kernel = "bicubic", arithmetic, mean, std } = p;
  const square = { height: px, width: px };
  const numbers = {
    do_resize: true,
    resample: RESAMPLE[kernel],
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: mean,
    image_std: std,
  };
  if (resize === "square") {
    const type = arithmetic === "float" ? "DINOv3ViTImageProcessor" : "ViTImageProcessor";
    return { image_processor_type: type, ...numbers, size: square };
  }
  const crop = { do_center_crop: true, crop_size: square };
  return {
    image_processor_type: "BitImageProcessor",
    do_convert_rgb: true,
    ...numbers,
    size: { shortest_edge: Math.round(px / cropRatio) },
    ...crop,
  };
}
