import { expect, test } from "vitest";
import { ConfigError, FormatError } from "../../core/index.ts";
import { encodeTiff } from "../testing/tiff.ts";
import { decodeImage } from "./decode.ts";
import { decodeBands } from "./decode-bands.ts";
import { encodeJpeg, encodePng } from "./encode.ts";
import { openSharp } from "./sharp.ts";

const SIZE = { width: 6, height: 4 };

function valuesOf(channels: number, bits: 8 | 16): number[] {
  return Array.from({ length: 24 * channels }, (_, i) => (bits === 8 ? (i * 7) & 255 : (i * 977 + 300) & 65_535));
}

const floats = (values: readonly number[], most: number): Float32Array => Float32Array.from(values, (v) => v / most);

test.each([
  [1, 8, "grey"],
  [1, 16, "grey"],
  [2, 8, "grey"],
  [2, 16, "grey"],
  [4, 8, "grey"],
  [4, 8, "rgb"],
  [4, 16, "rgb"],
  [5, 8, "grey"],
  [5, 16, "grey"],
  [5, 16, "rgb"],
  [13, 8, "rgb"],
  [13, 8, "grey"],
  [13, 16, "grey"],
] as const)("decodeBands() gives the stored values of a TIFF of %i bands of %i bits (%s)", async (channels, bits, kind) => {
  const values = valuesOf(channels, bits);
  const bytes = encodeTiff(values, { ...SIZE, channels, bits, kind });
  for (const decode of ["managed", "python"] as const) {
    const image = await decodeBands(bytes, { channels, decode });
    expect(image).toEqual({ ...SIZE, channels, data: floats(values, bits === 8 ? 255 : 65_535) });
  }
});

test("decodeBands() gives grey, grey and alpha, and RGBA of PNG as they are stored", async () => {
  const sharp = await openSharp();
  for (const channels of [1, 2, 4] as const) {
    const values = valuesOf(channels, 8);
    const raw = sharp(Uint8Array.from(values), { raw: { ...SIZE, channels } });
    const bytes = await raw
      .toColourspace(channels < 3 ? "b-w" : "srgb")
      .png()
      .toBuffer();
    expect((await decodeBands(bytes, { channels, alpha: "white" })).data).toEqual(floats(values, 255));
  }
});

test("decodeBands() turns the picture by its EXIF under `managed` alone", async () => {
  const values = valuesOf(5, 16);
  const bytes = encodeTiff(values, { ...SIZE, channels: 5, bits: 16, orientation: 3 });
  const turned = Array.from({ length: 24 }, (_, i) => values.slice((23 - i) * 5, (24 - i) * 5)).flat();
  expect((await decodeBands(bytes, { channels: 5 })).data).toEqual(floats(turned, 65_535));
  expect((await decodeBands(bytes, { channels: 5, decode: "python" })).data).toEqual(floats(values, 65_535));
});

test("decodeBands() refuses another number of bands, other types and what is broken, by name", async () => {
  const rgb = { width: 2, height: 2, data: new Uint8Array(12) };
  const name = "field.tif";
  const five = encodeTiff(valuesOf(5, 16), { ...SIZE, channels: 5, bits: 16 });
  await expect(decodeBands(five, { channels: 4, name })).rejects.toThrow(
    'Cannot decode image "field.tif": it has 5 bands, the network takes 4; give pictures of 4, or set model.channels=5',
  );
  await expect(decodeBands(await encodePng(rgb), { channels: 1, name })).rejects.toThrow(/it has 3 bands, the network takes 1/);
  const sharp = await openSharp();
  const cmyk = await sharp(await encodeJpeg(rgb))
    .toColourspace("cmyk")
    .jpeg()
    .toBuffer();
  await expect(decodeBands(cmyk, { channels: 4, name })).rejects.toThrow(/its bands are stored as colours as "cmyk"/);
  await expect(decodeBands(five.subarray(0, 40), { channels: 5, name })).rejects.toThrow(FormatError);
  await expect(decodeBands(new Uint8Array(0), { channels: 5, name })).rejects.toThrow(/the file is empty/);
  await expect(decodeBands(five, { channels: 5, maxPixels: 10, name })).rejects.toThrow(/6x4 px are 24 pixels, the limit is 10/);
  await expect(decodeBands(five, { channels: 0, name })).rejects.toThrow(ConfigError);
});

test("decodeImage() says which setting reads a picture of more bands than sharp takes for a colour picture", async () => {
  const eight = encodeTiff(valuesOf(8, 16), { ...SIZE, channels: 8, bits: 16 });
  await expect(decodeImage(eight, { name: "eight.tif" })).rejects.toThrow(/"eight.tif": it has more bands .* model\.channels=N/);
});
