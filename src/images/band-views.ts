/** @file The views of pictures of any number of bands: geometry, blur and solarisation as for colour pictures; brightness and contrast band by band. */
import type { Rng } from "../core/index.ts";
import { type BandImage, blurBands, resampleBands, writeBandPlanes } from "./bands.ts";
import { type DrawViewOptions, drawView, type ViewPlan } from "./crops.ts";

/** What changes the values of a band. Saturation, hue and grey are of red, green and blue, and have no meaning here. */
export type BandJitterOp = "brightness" | "contrast";

/** The steps in their order, each with one factor a band. */
export type BandJitterPlan = readonly (readonly [op: BandJitterOp, factors: readonly number[]])[];

/** A view of a picture of bands; JSON-able, as `ViewPlan`. */
export interface BandViewPlan extends Omit<ViewPlan, "jitter" | "grayscale"> {
  readonly jitter: BandJitterPlan;
}

/**
 * Draws one view: everything but the colours exactly as `drawView`; each band its own factors of brightness and contrast, uniform in
 * [max(0, 1 - s), 1 + s], so that the ratios of bands do not tell two crops of one picture. The bands are those of `augment.mean`.
 */
export function drawBandView(rng: Rng, options: DrawViewOptions): BandViewPlan {
  const { grayscale: _unused, jitter, ...view } = drawView(rng, options);
  const { augment } = options;
  const bands = rng.split("bands");
  const factors = { brightness: drawFactors(bands, augment.brightness), contrast: drawFactors(bands, augment.contrast) };
  function drawFactors(from: Rng, s: number): readonly number[] {
    return augment.mean.map(() => from.uniform(Math.max(0, 1 - s), 1 + s));
  }
  const steps = jitter.flatMap(([op]) => (op === "brightness" || op === "contrast" ? [[op, factors[op]] as const] : []));
  return { ...view, jitter: steps };
}

/** The same part of the picture at another size, flipped alike, with its own values. */
export function cleanBandView(plan: BandViewPlan, sizePx: number): BandViewPlan {
  return { ...plan, sizePx, jitter: [], blurSigma: 0, solarizeThreshold: 256 };
}

const cut = (x: number): number => Math.min(1, Math.max(0, x));

function meanOfBand({ channels, data }: BandImage, c: number): number {
  let sum = 0;
  for (let i = c; i < data.length; i += channels) sum += data[i]!; // i < length
  return (sum * channels) / data.length;
}

/** In place: brightness x f; contrast m + f (x - m), m the band's mean over the view; cut to 0..1 after each. */
function jitterBands(image: BandImage, plan: BandJitterPlan): void {
  const { channels, data } = image;
  for (const [op, factors] of plan)
    for (let c = 0; c < channels; c++) {
      const f = factors[c] ?? 1;
      const m = op === "contrast" ? meanOfBand(image, c) : 0;
      for (let i = c; i < data.length; i += channels) data[i] = cut(m + f * (data[i]! - m)); // i < length
    }
}

/** Values at or above the threshold (of 256 steps, as for bytes) inverted, in place. */
function solariseBands({ data }: BandImage, threshold: number): void {
  if (threshold > 255) return;
  for (let i = 0; i < data.length; i++) if (data[i]! * 255 >= threshold) data[i] = 1 - data[i]!; // i < length
}

/**
 * Writes one view as CHW float32 at `offset` of `out`: crop + resize, flip, jitter, blur, solarise, normalise, in the order of `renderView`.
 * Throws ShapeError when the box is not inside the picture, the view does not fit, or the bands are not those of the plan's means.
 */
export function renderBandView(image: BandImage, plan: BandViewPlan, out: Float32Array, offset = 0): void {
  const { sizePx, box, kernel, jitter, blurSigma, solarizeThreshold, mean, std, flip } = plan;
  const view = resampleBands(image, { width: sizePx, height: sizePx, box, kernel });
  jitterBands(view, jitter);
  const blurred = blurBands(view, blurSigma);
  solariseBands(blurred, solarizeThreshold);
  writeBandPlanes(blurred, out, { mean, std, offset, flip });
}
