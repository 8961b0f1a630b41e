/** @file Convolutions and pooling over maps `[b, c, y, x]`. A function here only adds nodes. */
import type { Tensor } from "./tensor.ts";

export interface ConvOptions {
  /** `[out]`, added to every pixel. */
  readonly bias?: Tensor;
  /** Pixels from one window to the next, on both axes; 1 when absent. */
  readonly stride?: number;
  /** Zeros around the map, in pixels on each side; 0 when absent. */
  readonly pad?: number;
  /** 1 (dense, the default), or the number of channels (depthwise: each channel has a kernel of its own). */
  readonly groups?: number;
}

/**
 * Convolution as deep learning has it (no flip): x `[b, c, y, x]`, w `[out, c / groups, ky, kx]` -> `[b, out, oy, ox]` with
 * `oy = floor((y + 2 pad − ky) / stride) + 1`. Throws ShapeError or DTypeError where they do not fit.
 */
export function conv(x: Tensor, w: Tensor, { bias, stride = 1, pad = 0, groups = 1 }: ConvOptions = {}): Tensor {
  const params = { strides: [stride, stride], pads: [pad, pad], groups } as const;
  return x.builder.op("conv", bias === undefined ? [x, w] : [x, w, bias], params);
}

/** The largest pixel of each window of `kernelPx`², padding never being one: `[b, c, y, x]` -> `[b, c, oy, ox]`; of equal ones the first gets the gradient. */
export function maxPool(x: Tensor, kernelPx: number, options: { readonly stride?: number; readonly pad?: number } = {}): Tensor {
  const { stride = kernelPx, pad = 0 } = options;
  return x.builder.op("maxPool", [x], { kernel: [kernelPx, kernelPx], strides: [stride, stride], pads: [pad, pad] });
}
