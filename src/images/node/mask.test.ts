import fc from "fast-check";
import { expect, test } from "vitest";
import { FormatError, Rng } from "../../core/index.ts";
import { maskPng } from "../testing/mask-png.ts";
import { encodeJpeg } from "./encode.ts";
import { decodeMask, loadMask } from "./mask.ts";
import { openSharp } from "./sharp.ts";

test("decodeMask() gives the stored numbers of grey and palette PNGs of every depth and filter", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        width: fc.integer({ min: 1, max: 19 }),
        height: fc.integer({ min: 1, max: 9 }),
        bits: fc.constantFrom(1, 2, 4, 8, 16),
        colour: fc.constantFrom(0, 3),
        seed: fc.nat(),
      }),
      async ({ width, height, bits, colour, seed }) => {
        fc.pre(!(bits === 16 && colour === 3));
        const rng = new Rng(seed);
        const samples = Array.from({ length: width * height }, () => rng.int(2 ** bits));
        const mask = await decodeMask(maskPng({ width, height, samples, bits, colour, filter: (y) => (y + seed) % 5 }));
        expect([mask.width, mask.height, ...mask.ids]).toEqual([width, height, ...samples]);
      },
    ),
    { numRuns: 60 },
  );
});

test("decodeMask() reads what sharp writes, and the common value of grey RGB", async () => {
  const rng = new Rng(2);
  const data = Uint8Array.from({ length: 30 * 20 }, (_, i) => (i % 30 < 12 ? 3 : rng.int(12)));
  const sharp = await openSharp();
  const png = await sharp(data, { raw: { width: 30, height: 20, channels: 1 } })
    .toColourspace("b-w")
    .png({ adaptiveFiltering: true })
    .toBuffer();
  expect((await decodeMask(png)).ids).toEqual(data);
  const rgb = maskPng({ width: 2, height: 1, colour: 2, samples: [5, 5, 5, 7, 7, 7], filter: () => 1 });
  expect([...(await decodeMask(rgb)).ids]).toEqual([5, 7]);
  const alpha = maskPng({ width: 2, height: 1, colour: 6, samples: [5, 5, 5, 255, 7, 7, 7, 0] });
  expect([...(await decodeMask(alpha)).ids]).toEqual([5, 7]);
});

test("decodeMask() refuses other formats, colours, interlacing, too many pixels, and damage", async () => {
  const png = maskPng({ width: 4, height: 4, samples: Array(16).fill(1) });
  const bad: readonly (readonly [Uint8Array, RegExp])[] = [
    [new Uint8Array(0), /its content is no PNG/],
    [await encodeJpeg({ width: 4, height: 4, data: new Uint8Array(48) }), /its content is no PNG; save masks as PNG/],
    [maskPng({ width: 1, height: 1, colour: 2, samples: [1, 2, 1] }), /it is coloured; save the number of the class/],
    [maskPng({ width: 1, height: 1, samples: [1], interlace: 1 }), /it is interlaced/],
    [maskPng({ width: 1, height: 1, samples: [1], filter: () => 7 }), /unknown filter 7/],
    [png.subarray(0, png.length - 12), /the data ends early/],
    [png.subarray(0, 40), /the data ends early/],
    [png.with(24, 3), /its header is damaged/],
    [png.with(19, 9), /it has 20 of 40 bytes of pixels/],
    [png.with(43, (png[43] ?? 0) ^ 255), /the data is damaged/],
  ];
  for (const [bytes, text] of bad) {
    await expect(decodeMask(bytes, { name: "m.png" })).rejects.toThrow(FormatError);
    await expect(decodeMask(bytes, { name: "m.png" })).rejects.toThrow(text);
  }
  await expect(decodeMask(png, { maxPixels: 15 })).rejects.toThrow(/4x4 px are more than the limit of 15/);
  await expect(loadMask("/no/such/mask.png")).rejects.toThrow(/Cannot read mask "\/no\/such\/mask\.png"/);
});

test("decodeMask() of damaged bytes gives a mask or a FormatError", async () => {
  const png = maskPng({ width: 5, height: 4, samples: Array.from({ length: 20 }, (_, i) => i), filter: (y) => y });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat(png.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), async (changes) => {
      const bytes = png.slice();
      for (const [at, value] of changes) bytes[at] = value;
      const result = await decodeMask(bytes, { maxPixels: 1000 }).catch((error: unknown) => error);
      if (result instanceof Error) expect(result).toBeInstanceOf(FormatError);
      else expect(result).toHaveProperty("ids");
    }),
    { numRuns: 150 },
  );
});
