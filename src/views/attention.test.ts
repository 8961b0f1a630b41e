import { expect, test } from "vitest";
import { attentionPictures, classAttention, keepAttentionMass } from "./attention.ts";
import { colormap } from "./colormap.ts";
import { blend, resizeMap, resizePicture } from "./picture.ts";

test("colormap() begins and ends with the published colours and cuts outside", () => {
  expect(colormap("viridis", 0)).toEqual([68, 1, 84]);
  expect(colormap("viridis", 1)).toEqual([253, 231, 37]);
  expect(colormap("viridis", 0.5)).toEqual([33, 145, 140]);
  expect(colormap("inferno", 7)).toEqual([252, 255, 164]);
  expect(colormap("inferno", NaN)).toEqual([0, 0, 4]);
});

test("colormap() grows lighter all along", () => {
  const lightness = (v: number): number => {
    const [r, g, b] = colormap("viridis", v);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  for (let i = 1; i <= 50; i++) expect(lightness(i / 50)).toBeGreaterThanOrEqual(lightness((i - 1) / 50));
});

test("classAttention() takes the class row without prefix tokens", () => {
  const a = Float32Array.from({ length: 2 * 16 }, (_, i) => i);
  expect([...classAttention(a, { heads: 2, tokens: 4, prefix: 2 })]).toEqual([2, 3, 18, 19]);
  expect(() => classAttention(a, { heads: 3, tokens: 4 })).toThrow(/\[heads, tokens, tokens\]/);
});

test("keepAttentionMass() keeps the strongest patches that hold the mass", () => {
  const row = Float32Array.of(0.1, 0.4, 0.2, 0.3);
  expect([...keepAttentionMass(row, 0.6)]).toEqual([0, 1, 0, 1]);
  expect([...keepAttentionMass(row, 1)]).toEqual([1, 1, 1, 1]);
});

test("attentionPictures() draws each head and their mean over the image", () => {
  const attention = Float32Array.of(1, 0, 0, 0, 0, 0, 0, 1);
  const image = { width: 4, height: 4, data: new Uint8Array(48).fill(255) };
  const { mean, heads } = attentionPictures(attention, { heads: 2, grid: { rows: 2, cols: 2 }, image, opacity: 1 });
  expect(heads.map((h) => [...h.data.subarray(0, 3)])).toEqual([
    [253, 231, 37],
    [68, 1, 84],
  ]);
  expect([...mean.data.subarray(0, 3)]).toEqual([253, 231, 37]);
  expect(mean).toMatchObject({ width: 4, height: 4 });
  expect(() => attentionPictures(attention, { heads: 3, grid: { rows: 2, cols: 2 } })).toThrow(/\[heads, patches\]/);
});

test("resizeMap() repeats cells by nearest and runs evenly by bilinear", () => {
  const map = { rows: 1, cols: 2, channels: 1, data: Float32Array.of(0, 1) };
  expect([...resizeMap(map, { width: 4, height: 1 }).data]).toEqual([0, 0, 1, 1]);
  expect([...resizeMap(map, { width: 4, height: 1, smoothing: "bilinear" }).data]).toEqual([0, 0.25, 0.75, 1]);
});

test("blend() mixes by opacity and refuses other sizes", () => {
  const of = (v: number, width = 1): { width: number; height: number; data: Uint8Array } => ({
    width,
    height: 1,
    data: new Uint8Array(3 * width).fill(v),
  });
  expect([...blend(of(0), of(200), { opacity: 0.25 }).data]).toEqual([50, 50, 50]);
  expect(() => blend(of(0), of(0, 2), { opacity: 1 })).toThrow(/sizes differ/);
  expect(resizePicture(of(9), { width: 1, height: 1 })).toEqual(of(9));
});
