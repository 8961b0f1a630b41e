/** @file The evaluation transform: short side and centre crop, or a plain square. */
import { ConfigError } from "../core/index.ts";
import { roundHalfEven } from "./crops.ts";
import { checkImage, cropImage, type Box, type FloatImage, type RgbImage } from "./image.ts";
import { type Kernel } from "./kernels.ts";
import { resample, type Arithmetic } from "./resample.ts";

interface Size {
  readonly width: number;
  readonly height: number;
}

/** The size at which the short side is `shortPx`; the long side is truncated, as torchvision does. */
export function shortSideSize({ width, height }: Size, shortPx: number): Size {
  return width <= height
    ? { width: shortPx, height: Math.max(1, Math.trunc((shortPx * height) / width)) }
    : { width: Math.max(1, Math.trunc((shortPx * width) / height)), height: shortPx };
}

/** Which pixel a centred crop starts at when the rest is odd: torchvision rounds half to even, Hugging Face's processors round down. */
export type CropOffset = "half-even" | "floor";

/** The centred square. Throws ConfigError when the picture is smaller. */
export function centreBox({ width, height }: Size, sizePx: number, { offset = "half-even" }: { readonly offset?: CropOffset } = {}): Box {
  if (width < sizePx || height < sizePx)
    throw new ConfigError(`Cannot crop the centre: ${width}x${height} is smaller than ${sizePx} px; resize to at least the crop's size`);
  const round = offset === "floor" ? Math.floor : roundHalfEven;
  return { left: round((width - sizePx) / 2), top: round((height - sizePx) / 2), width: sizePx, height: sizePx };
}

/** How a picture becomes the square that a model sees. */
export interface EvalCropConfig {
  readonly imageSizePx: number;
  readonly resize: "short-side" | "square";
  /** Crop over resized short side: 224 / 256 by default. Only for `short-side`. */
  readonly cropRatio?: number;
  /** Default `half-even`; `floor` where a Hugging Face processor must be met. */
  readonly cropOffset?: CropOffset;
  readonly kernel?: Kernel;
  readonly arithmetic?: Arithmetic;
}

/** Resizes and crops to `imageSizePx` squared. Defaults: short side at 256/224 of the size, bicubic, PIL arithmetic. */
export function evalCrop(image: RgbImage, config: EvalCropConfig): RgbImage | FloatImage {
  checkImage(image);
  const { imageSizePx, resize, cropRatio = 224 / 256, cropOffset = "half-even", kernel = "bicubic", arithmetic = "pil-u8" } = config;
  if (!(cropRatio > 0 && cropRatio <= 1))
    throw new ConfigError(`Cannot crop the centre: crop ratio is ${cropRatio}; give a number above 0 and at most 1`, {
      keyPath: "cropRatio",
    });
  if (resize === "square") return resized(image, { width: imageSizePx, height: imageSizePx }, { kernel, arithmetic });
  const size = shortSideSize(image, Math.round(imageSizePx / cropRatio));
  const whole = resized(image, size, { kernel, arithmetic });
  const box = centreBox(size, imageSizePx, { offset: cropOffset });
  return whole.data instanceof Uint8Array ? cropImage({ ...size, data: whole.data }, box) : cropFloat({ ...size, data: whole.data }, box);
}

function resized(
  image: RgbImage,
  size: Size,
  { kernel, arithmetic }: { readonly kernel: Kernel; readonly arithmetic: Arithmetic },
): RgbImage | FloatImage {
  return arithmetic === "float" ? resample(image, { ...size, kernel, arithmetic }) : resample(image, { ...size, kernel, arithmetic });
}

function cropFloat(image: FloatImage, box: Box): FloatImage {
  const data = new Float32Array(box.width * box.height * 3);
  for (let y = 0; y < box.height; y++) {
    const start = ((box.top + y) * image.width + box.left) * 3;
    data.set(image.data.subarray(start, start + box.width * 3), y * box.width * 3);
  }
  return { width: box.width, height: box.height, data };
}
