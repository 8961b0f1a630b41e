import fc from "fast-check";
import { expect, test } from "vitest";
import { ConfigError, ShapeError } from "../core/index.ts";
import { makeImage, type RgbImage } from "./image.ts";
import { makeTaps, type Kernel } from "./kernels.ts";
import { resample } from "./resample.ts";

const KERNELS: readonly Kernel[] = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"];

function noise(width: number, height: number): RgbImage {
  return makeImage(
    width,
    height,
    Uint8Array.from({ length: width * height * 3 }, (_, i) => (Math.imul(i + 1, 2654435761) >>> 8) & 255),
  );
}

const side = fc.integer({ min: 1, max: 24 });

test("resample() keeps a constant picture constant, in every kernel and arithmetic", () => {
  fc.assert(
    fc.property(
      side,
      side,
      side,
      side,
      fc.integer({ min: 0, max: 255 }),
      fc.constantFrom(...KERNELS),
      (w, h, width, height, value, kernel) => {
        const image = makeImage(w, h, new Uint8Array(w * h * 3).fill(value));
        for (const arithmetic of ["pil-u8", "torch-u8"] as const)
          expect(new Set(resample(image, { width, height, kernel, arithmetic }).data)).toEqual(new Set([value]));
        for (const v of resample(image, { width, height, kernel, arithmetic: "float" }).data)
          expect(Math.abs(v - value / 255)).toBeLessThan(1e-6);
      },
    ),
    { numRuns: 60 },
  );
});

test("resample() with a box never sees pixels outside it", () => {
  const image = noise(9, 7);
  const box = { left: 2, top: 1, width: 5, height: 4 };
  const other = makeImage(9, 7, image.data.slice());
  for (let y = 0; y < 7; y++)
    for (let x = 0; x < 9; x++) if (x < 2 || x >= 7 || y < 1 || y >= 5) other.data.fill(77, (y * 9 + x) * 3, (y * 9 + x) * 3 + 3);
  for (const kernel of KERNELS)
    expect(resample(other, { width: 6, height: 3, box, kernel })).toEqual(resample(image, { width: 6, height: 3, box, kernel }));
});

test("resample() equals the two sums of its definition, bytes between them", () => {
  const image = noise(13, 11);
  const [width, height] = [6, 5];
  const h = makeTaps({ length: 13, outLength: width }, "bicubic");
  const v = makeTaps({ length: 11, outLength: height }, "bicubic");
  const clip = (x: number): number => Math.min(255, Math.max(0, Math.floor(x + 0.5)));
  const rows = (y: number, x: number, c: number): number => {
    let sum = 0;
    for (let t = 0; t < h.counts[x]!; t++) sum += image.data[(y * 13 + h.starts[x]! + t) * 3 + c]! * h.weights[x * h.stride + t]!; // inside the tables
    return clip(sum);
  };
  const mine = resample(image, { width, height, kernel: "bicubic" });
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let t = 0; t < v.counts[y]!; t++) sum += rows(v.starts[y]! + t, x, c) * v.weights[y * v.stride + t]!; // inside the tables
        expect(mine.data[(y * width + x) * 3 + c]).toBe(clip(sum));
      }
});

test("resample() of a 1x1 picture fills any size", () => {
  const image = makeImage(1, 1, Uint8Array.of(1, 2, 3));
  for (const kernel of KERNELS) expect([...resample(image, { width: 2, height: 1, kernel }).data]).toEqual([1, 2, 3, 1, 2, 3]);
});

test("resample() refuses boxes outside, empty sizes and filters that do not exist", () => {
  const image = noise(4, 4);
  const kernel = "bicubic";
  expect(() => resample(image, { width: 2, height: 2, kernel, box: { left: 2, top: 0, width: 3, height: 1 } })).toThrow(ShapeError);
  expect(() => resample(image, { width: 0, height: 2, kernel })).toThrow(/Cannot crop image/);
  expect(() => resample({ ...image, width: 5 }, { width: 2, height: 2, kernel })).toThrow(/needs 60 values, got 48/);
  expect(() => resample(image, { width: 2, height: 2, kernel, antialias: false })).toThrow(ConfigError);
  expect(() => resample(image, { width: 2, height: 2, kernel: "lanczos", arithmetic: "float", antialias: false })).toThrow(
    /use "bilinear" or "bicubic"/,
  );
});
