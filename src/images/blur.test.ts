import fc from "fast-check";
import { expect, test } from "vitest";
import { blur, boxRadius } from "./blur.ts";
import { makeImage } from "./image.ts";

/** Three box blurs along one axis, straight from the definition. */
function byDefinition(values: readonly number[], sigma: number): number[] {
  const radius = boxRadius(sigma);
  const whole = Math.trunc(radius);
  const inner = Math.trunc(Math.fround(2 ** 24 / Math.fround(radius * 2 + 1)));
  const outer = Math.trunc((2 ** 24 - (whole * 2 + 1) * inner) / 2);
  let line = [...values];
  for (let pass = 0; pass < 3; pass++) {
    const read = (i: number): number => line[Math.min(line.length - 1, Math.max(0, i))] ?? 0;
    line = line.map((_, x) => {
      let near = 0;
      for (let d = -whole; d <= whole; d++) near += read(x + d);
      return Math.floor((near * inner + (read(x - whole - 1) + read(x + whole + 1)) * outer + 2 ** 23) / 2 ** 24);
    });
  }
  return line;
}

test("blur() equals its definition on lines of any length and any sigma, along rows and columns", () => {
  const line = fc.array(fc.nat(255), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(line, fc.double({ min: 0.1, max: 6, noNaN: true }), (values, sigma) => {
      const data = Uint8Array.from(values.flatMap((v) => [v, 255 - v, 7]));
      const wanted = byDefinition(values, sigma);
      const inverse = byDefinition(
        values.map((v) => 255 - v),
        sigma,
      );
      const expected = wanted.flatMap((v, i) => [v, inverse[i] ?? -1, 7]);
      expect([...blur(makeImage(values.length, 1, data), sigma).data]).toEqual(expected);
      expect([...blur(makeImage(1, values.length, data), sigma).data]).toEqual(expected);
    }),
    { numRuns: 300 },
  );
});

test("blur() with sigma 0 changes nothing and refuses negative sigma", () => {
  const image = makeImage(
    2,
    2,
    Uint8Array.from({ length: 12 }, (_, i) => i * 20),
  );
  expect(blur(image, 0)).toEqual(image);
  expect(() => blur(image, -1)).toThrow(/Cannot blur image: sigma is -1/);
});
