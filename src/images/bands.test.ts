import fc from "fast-check";
import { expect, test } from "vitest";
import { ConfigError, Rng, ShapeError } from "../core/index.ts";
import { type BandImage, bandsToRgb, blurBands, checkBands, evalCropBands, resampleBands, writeBandPlanes } from "./bands.ts";
import { cleanBandView, drawBandView, renderBandView } from "./band-views.ts";
import { drawView } from "./crops.ts";
import { DINO_AUGMENT, DINO_CROPS, evalCrop, resample, type RgbImage } from "./index.ts";
import { renderView } from "./render.ts";

function noise(channels: number, { width = 37, height = 29, seed = 1 } = {}): BandImage {
  const rng = new Rng(seed);
  return { width, height, channels, data: Float32Array.from({ length: width * height * channels }, () => rng.uniform()) };
}

/** Band `c` alone. */
function band({ width, height, channels, data }: BandImage, c: number): BandImage {
  return { width, height, channels: 1, data: data.filter((_, i) => i % channels === c) };
}

function bytesOf(image: BandImage): RgbImage {
  return { width: image.width, height: image.height, data: Uint8Array.from(image.data, (v) => Math.round(v * 255)) };
}

/** The same values as bytes hold. */
function rounded(image: BandImage): BandImage {
  return { ...image, data: image.data.map((v) => Math.round(v * 255) / 255) };
}

function largest(a: Float32Array, b: ArrayLike<number>): number {
  return a.reduce((most, v, i) => Math.max(most, Math.abs(v - (b[i] ?? NaN))), 0);
}

test("resampleBands() and blurBands() treat every band by itself", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 50 }), (channels, w, h) => {
      const image = noise(channels, { width: 23, height: 17, seed: channels });
      const options = { width: w, height: h, kernel: "bicubic" } as const;
      const [small, soft] = [resampleBands(image, options), blurBands(image, 1.3)];
      for (let c = 0; c < channels; c++) {
        expect(band(small, c)).toEqual(resampleBands(band(image, c), options));
        expect(band(soft, c)).toEqual(blurBands(band(image, c), 1.3));
      }
    }),
    { numRuns: 20 },
  );
});

test("resampleBands() of three bands is resample() in floats, cut to 0..1; evalCropBands() is evalCrop()", () => {
  const image = rounded(noise(3));
  const box = { left: 3, top: 5, width: 20, height: 18 };
  const options = { width: 12, height: 30, box, kernel: "bicubic" } as const;
  const wanted = resample(bytesOf(image), { ...options, arithmetic: "float" });
  expect(resampleBands(image, options).data).toEqual(wanted.data.map((v) => Math.min(1, Math.max(0, v))));
  for (const resize of ["short-side", "square"] as const) {
    const crop = { imageSizePx: 16, resize, cropRatio: 0.8, arithmetic: "float" } as const;
    const [ours, theirs] = [evalCropBands(image, crop), evalCrop(bytesOf(image), crop)];
    expect(ours).toMatchObject({ width: 16, height: 16, channels: 3 });
    expect(ours.data).toEqual(Float32Array.from(theirs.data, (v) => Math.min(1, Math.max(0, v))));
  }
});

test("blurBands() keeps a flat picture and the sum of an inner point, and is symmetric", () => {
  const flat = { ...noise(2), data: noise(2).data.map((_, i) => (i % 2 === 0 ? 0.25 : 0.75)) };
  expect(largest(blurBands(flat, 2).data, flat.data)).toBeLessThan(1e-6);
  const point = { width: 21, height: 21, channels: 1, data: new Float32Array(441).map((_, i) => (i === 220 ? 1 : 0)) };
  const { data } = blurBands(point, 1.5);
  expect(data.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5);
  expect(largest(data, data.toReversed())).toBeLessThan(1e-9);
  // a Gaussian of deviation 1.5: neighbours at one and two pixels against the centre
  expect((data[221] ?? 0) / (data[220] ?? 1)).toBeCloseTo(Math.exp(-1 / 4.5), 5);
  expect((data[220 + 42] ?? 0) / (data[220] ?? 1)).toBeCloseTo(Math.exp(-4 / 4.5), 5);
});

test("renderBandView() of three bands without colour changes is renderView() within bytes' rounding", () => {
  // away from 0 and 1, where bytes cut what overshoots after each pass and floats after both
  const wide = noise(3, { width: 60, height: 50 });
  const image = rounded({ ...wide, data: wide.data.map((v) => 0.3 + 0.4 * v) });
  const augment = { ...DINO_AUGMENT, jitterProb: 0, grayscale: 0, blurProb: [0, 0, 0], mean: [0, 0, 0], std: [1, 1, 1] } as const;
  for (let view = 0; view < 4; view++) {
    const options = { width: 60, height: 50, view, crops: { ...DINO_CROPS, globalSizePx: 24, localSizePx: 12 }, augment };
    const ours = drawBandView(new Rng(3, `v${view}`), options);
    const theirs = drawView(new Rng(3, `v${view}`), options);
    const { jitter: _j, grayscale: _g, ...same } = theirs;
    expect(ours).toEqual({ ...same, jitter: [] });
    const [a, b] = [new Float32Array(3 * ours.sizePx ** 2), new Float32Array(3 * ours.sizePx ** 2)];
    renderBandView(image, { ...ours, solarizeThreshold: 256 }, a);
    renderView(bytesOf(image), { ...theirs, solarizeThreshold: 256 }, b);
    expect(largest(a, b)).toBeLessThan(1.2 / 255); // half a step by the first pass, times the weights' 1.27, and half by the second
  }
});

test("drawBandView() draws factors of brightness and contrast for each band within their ranges, and nothing else of colour", () => {
  const augment = { ...DINO_AUGMENT, jitterProb: 1, mean: [0, 0, 0, 0, 0], std: [1, 1, 1, 1, 1] };
  const orders = new Set<string>();
  for (let i = 0; i < 40; i++) {
    const { jitter } = drawBandView(new Rng(i), { width: 30, height: 30, view: 0, crops: DINO_CROPS, augment });
    orders.add(jitter.map(([op]) => op).join());
    for (const [, factors] of jitter) {
      expect(new Set(factors).size).toBe(5);
      expect(factors.every((f) => f >= 0.6 && f <= 1.4)).toBe(true);
    }
  }
  expect([...orders].sort()).toEqual(["brightness,contrast", "contrast,brightness"]);
});

test("renderBandView() changes each band by its own factors, inverts bright values, flips, normalises", () => {
  const image = { width: 2, height: 1, channels: 2, data: Float32Array.of(0.2, 0.1, 0.4, 0.3) };
  const plan = {
    ...drawBandView(new Rng(1), {
      width: 2,
      height: 1,
      view: 0,
      crops: DINO_CROPS,
      augment: { ...DINO_AUGMENT, mean: [0, 0], std: [1, 1] },
    }),
    sizePx: 2,
    box: { left: 0, top: 0, width: 2, height: 1 },
    jitter: [["brightness", [2, 1]] as const, ["contrast", [1, 0.5]] as const],
    flip: true,
    blurSigma: 0,
    solarizeThreshold: 128,
    mean: [0.5, 0],
    std: [0.5, 2],
  };
  const out = new Float32Array(8);
  renderBandView(image, plan, out);
  // band 0: 0.4, 0.8 -> solarised 0.4, 0.2; band 1: about 0.2, half the contrast: 0.15, 0.25
  const wanted = [(0.2 - 0.5) / 0.5, (0.4 - 0.5) / 0.5, -0.6, -0.2, 0.125, 0.075, 0.125, 0.075];
  expect(largest(out, wanted)).toBeLessThan(1e-6);
  renderBandView(image, cleanBandView(plan, 2), out);
  expect(largest(out, [-0.2, -0.6, -0.2, -0.6, 0.15, 0.05, 0.15, 0.05])).toBeLessThan(1e-6);
});

test("bandsToRgb() stretches the first three bands, and shows one of fewer as grey", () => {
  const five = { width: 1, height: 2, channels: 5, data: Float32Array.of(0.25, 0.5, 0.75, 0.9, 0.9, 0.75, 0.5, 0.25, 0.9, 0.9) };
  expect([...bandsToRgb(five).data]).toEqual([0, 128, 255, 255, 128, 0]);
  const two = { width: 2, height: 1, channels: 2, data: Float32Array.of(0.2, 0.9, 0.4, 0.1) };
  expect([...bandsToRgb(two).data]).toEqual([0, 0, 0, 255, 255, 255]);
  expect([...bandsToRgb({ width: 1, height: 1, channels: 1, data: Float32Array.of(0.5) }).data]).toEqual([0, 0, 0]);
});

test("bands of a wrong number are refused", () => {
  const image = noise(5);
  expect(() => checkBands({ ...image, channels: 4 })).toThrow(/37x29 of 4 bands needs 4292 values, got 5365/);
  expect(() => checkBands({ ...image, channels: 0 })).toThrow(ShapeError);
  const out = new Float32Array(image.data.length);
  expect(() => writeBandPlanes(image, out, { mean: [0, 0, 0], std: [1, 1, 1] })).toThrow(/it has 5 bands, there are 3 means/);
  expect(() => writeBandPlanes(image, out, { mean: [0, 0, 0, 0, 0], std: [1, 1, 1, 1, 1], offset: 1 })).toThrow(/do not fit/);
  expect(() => resampleBands(image, { width: 4, height: 4, kernel: "nearest" })).toThrow(ConfigError);
  expect(() => blurBands(image, -1)).toThrow(ConfigError);
});
