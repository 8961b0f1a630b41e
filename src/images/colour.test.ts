import fc from "fast-check";
import { expect, test } from "vitest";
import { grayscale, jitter } from "./colour.ts";
import { makeImage } from "./image.ts";

const pixel = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255));

/** Colour operations on one pixel, written from PIL's definitions without tables. */
function hueByDefinition([r, g, b]: readonly [number, number, number], shift: number): number[] {
  const f = Math.fround;
  const max = Math.max(r, g, b);
  const chroma = max - Math.min(r, g, b);
  if (chroma === 0) return [max, max, max];
  const s = Math.trunc(f(chroma / max) * 255);
  const [rc, gc, bc] = [f((max - r) / chroma), f((max - g) / chroma), f((max - b) / chroma)];
  const turn = r === max ? f(bc - gc) : g === max ? f(2 + rc - bc) : f(4 + gc - rc);
  const h = (Math.trunc(f((f(turn) / 6 + 1) % 1) * 255) + shift) & 255;
  const sixths = f((h * 6) / 255);
  const i = Math.floor(sixths);
  const part = f(sixths - i);
  const fs = f(s / 255);
  const p = Math.round(max * (1 - fs));
  const q = Math.round(max * (1 - fs * part));
  const t = Math.round(max * (1 - fs * (1 - part)));
  return (
    [
      [max, t, p],
      [q, max, p],
      [p, max, t],
      [p, q, max],
      [t, p, max],
      [max, p, q],
    ][i % 6] ?? []
  );
}

test("jitter() turns the hue as PIL's HSV definition does, for any pixel and turn", () => {
  fc.assert(
    fc.property(pixel, fc.double({ min: -0.5, max: 0.5, noNaN: true }), (rgb, factor) => {
      const out = jitter(makeImage(1, 1, Uint8Array.from(rgb)), [["hue", factor]]);
      expect([...out.data]).toEqual(hueByDefinition(rgb, Math.trunc(factor * 255) & 255));
    }),
    { numRuns: 2000 },
  );
});

test("jitter() with factor 1 changes nothing, with 0 gives black, mean grey, own grey", () => {
  const image = makeImage(2, 1, Uint8Array.of(10, 200, 30, 250, 5, 90));
  for (const op of ["brightness", "contrast", "saturation"] as const) expect(jitter(image, [[op, 1]])).toEqual(image);
  expect(new Set(jitter(image, [["brightness", 0]]).data)).toEqual(new Set([0]));
  expect(jitter(image, [["saturation", 0]])).toEqual(grayscale(image));
  const grey = grayscale(image).data;
  expect(new Set(jitter(image, [["contrast", 0]]).data)).toEqual(new Set([Math.floor((grey[0]! + grey[3]!) / 2 + 0.5)])); // two pixels
});

test("jitter() leaves its input alone and refuses factors that PIL refuses", () => {
  const image = makeImage(1, 1, Uint8Array.of(1, 2, 3));
  jitter(image, [["brightness", 3]]);
  expect([...image.data]).toEqual([1, 2, 3]);
  expect(() => jitter(image, [["hue", 0.6]])).toThrow(/Cannot change hue: factor is 0.6; give -0.5 to 0.5/);
  expect(() => jitter(image, [["contrast", -1]])).toThrow(/Cannot change contrast/);
});
