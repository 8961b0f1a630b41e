import { expect, test } from "vitest";
import { contactSheet, shadePatches } from "./contact-sheet.ts";
import { fromPlanes, type RgbImage } from "./picture.ts";

const flat = (side: number, value: number): RgbImage => ({ width: side, height: side, data: new Uint8Array(3 * side * side).fill(value) });

function at({ width, data }: RgbImage, x: number, y: number): number {
  return data[3 * (y * width + x)]!; // tests ask inside the sheet
}

test("contactSheet() lays out image, globals and locals with gaps, row by row", () => {
  const row = { image: flat(9, 10), globals: [flat(4, 20), flat(4, 30)], locals: [flat(2, 40), flat(2, 50), flat(2, 60)] };
  const sheet = contactSheet([row, row], { gapPx: 1, cellPx: 4, background: [255, 255, 255] });
  // image, two globals, then one local a column: 4 + 1 + 2 does not hold two with a gap
  expect([sheet.width, sheet.height]).toEqual([1 + 3 * 5 + 3 * 3, 1 + 2 * 5]);
  expect([1, 6, 11, 16, 19, 22].map((x) => at(sheet, x, 1))).toEqual([10, 20, 30, 40, 50, 60]);
  expect([0, 5, 10, 15, 18].map((x) => at(sheet, x, 2))).toEqual([255, 255, 255, 255, 255]);
  expect([at(sheet, 6, 5), at(sheet, 6, 6)]).toEqual([255, 20]);
});

test("contactSheet() enlarges small crops by whole factors and stacks locals that fit", () => {
  const row = { image: flat(8, 10), globals: [flat(4, 20)], locals: [flat(1, 40), flat(1, 50), flat(1, 60)] };
  const sheet = contactSheet([row], { gapPx: 1, cellPx: 7 }); // zoom 2: cells of 8, locals of 2
  expect([sheet.width, sheet.height]).toEqual([1 + 2 * 9 + 3, 1 + 9]);
  expect([1, 4, 7].map((y) => at(sheet, 19, y))).toEqual([40, 50, 60]);
  expect(contactSheet([]).data.length).toBeGreaterThan(0);
});

test("contactSheet() draws a Gram teacher's crops as large as the globals, and makes crops beyond the limit smaller", () => {
  const row = { image: flat(9, 10), globals: [flat(4, 20)], grams: [flat(8, 30)], locals: [flat(2, 40)] };
  const sheet = contactSheet([row], { gapPx: 1, cellPx: 4 });
  expect([sheet.width, sheet.height]).toEqual([1 + 3 * 5 + 3, 6]);
  expect([1, 6, 11, 16].map((x) => at(sheet, x, 1))).toEqual([10, 20, 30, 40]);
  const small = contactSheet([row], { gapPx: 1, cellPx: 1, maxCellPx: 2 });
  expect([small.width, small.height]).toEqual([1 + 3 * 3 + 2, 4]);
});

test("shadePatches() darkens masked patches and leaves the others", () => {
  const { data } = shadePatches(flat(4, 200), { mask: [0, 1, 0, 0], rows: 2, cols: 2 });
  const red = (x: number, y: number): number => data[3 * (4 * y + x)]!; // inside the picture
  expect([red(0, 0), red(1, 1), red(2, 0), red(3, 1), red(2, 2)]).toEqual([200, 200, 96, 96, 200]);
  expect(() => shadePatches(flat(4, 0), { mask: [1], rows: 2, cols: 2 })).toThrow(/one for each of 2 × 2/);
});

test("contactSheet() keeps the ratio of the image, centred", () => {
  const wide = { width: 8, height: 2, data: new Uint8Array(48).fill(10) };
  const sheet = contactSheet([{ image: wide, globals: [flat(4, 20)], locals: [] }], { gapPx: 0, cellPx: 4, background: [255, 255, 255] });
  expect([0, 1, 2, 3].map((y) => at(sheet, 0, y))).toEqual([255, 10, 255, 255]);
});

test("fromPlanes() undoes the normalisation and cuts to bytes", () => {
  const planes = Float32Array.of(0, 1, -9, 9, 0.5, 0);
  const { data } = fromPlanes(planes, { width: 2, height: 1, mean: [0.5, 0.5, 0.5], std: [0.5, 0.25, 1] });
  expect([...data]).toEqual([128, 0, 255, 255, 255, 128]);
  expect(() => fromPlanes(planes, { width: 1, height: 1, mean: [], std: [] })).toThrow(/3, height, width/);
});
