import fc from "fast-check";
import { createHash } from "node:crypto";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FormatError } from "../../core/index.ts";
import { makeImage, type RgbImage } from "../image.ts";
import { PIL_CASES } from "../testing/pil-cases.ts";
import { decodeImage, loadImage, readImageBytes } from "./decode.ts";
import { encodeJpeg, encodePng, renderSvg } from "./encode.ts";
import { readJpegHeader } from "./jpeg-header.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tricera-decode-"));
});
afterAll(() => rm(folder, { recursive: true }));

const bytesOf = (name: string): Uint8Array => Buffer.from(PIL_CASES[name]?.base64 ?? "", "base64");

function gradient(width: number, height: number): RgbImage {
  return makeImage(
    width,
    height,
    Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 7) & 255),
  );
}

/** The first pixel of a one-colour picture. */
async function first(bytes: Uint8Array, options: Parameters<typeof decodeImage>[1]): Promise<number[]> {
  const { data } = await decodeImage(bytes, options);
  return Array.from(data.subarray(0, 3));
}

test.each(Object.keys(PIL_CASES))('decodeImage() with "python" gives the bytes of PIL for %s', async (name) => {
  const wanted = PIL_CASES[name];
  const image = await decodeImage(bytesOf(name), { decode: "python" });
  expect([image.width, image.height]).toEqual([wanted?.width, wanted?.height]);
  expect(createHash("sha256").update(image.data).digest("hex")).toBe(wanted?.sha256);
});

test.each(["png", "webp", "tiff", "gif"] as const)("decodeImage() reads %s without loss, by content", async (format) => {
  const image = makeImage(3, 2, Uint8Array.from([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 0, 0, 255, 255, 0, 0, 0]));
  const file = await sharp(image.data, { raw: { width: 3, height: 2, channels: 3 } })
    .toFormat(format, { lossless: true, compression: "lzw" })
    .toBuffer();
  for (const decode of ["python", "managed"] as const) expect((await decodeImage(file, { decode })).data).toEqual(image.data);
});

test("decodeImage() reads AVIF and SVG", async () => {
  const avif = await sharp({ create: { width: 16, height: 16, channels: 3, background: "#ff8000" } })
    .avif({ lossless: true })
    .toBuffer();
  const [r = 0, g = 0, b = 0] = await first(avif, {});
  expect(Math.max(Math.abs(r - 255), Math.abs(g - 128), Math.abs(b))).toBeLessThanOrEqual(3);
  const svg = Buffer.from(
    '<svg xmlns="http://www.w3.org/2000/svg" width="5" height="4"><rect x="0" y="0" width="2" height="4" fill="#f00"/></svg>',
  );
  const image = await decodeImage(svg, { alpha: "white" });
  expect([image.width, image.height]).toEqual([5, 4]);
  expect([...image.data.slice(0, 3), ...image.data.slice(12, 15)]).toEqual([255, 0, 0, 255, 255, 255]);
});

test('decodeImage() with "managed" applies EXIF, scales 16 bits, puts the colour behind alpha', async () => {
  const turned = await decodeImage(bytesOf("exif.jpg"), { decode: "managed" });
  expect([turned.width, turned.height]).toEqual([24, 32]);
  const grey16 = await sharp(new Uint16Array(4).fill(0x8080), { raw: { width: 2, height: 2, channels: 1 } })
    .toColourspace("grey16")
    .png()
    .toBuffer();
  expect(await first(grey16, { decode: "managed" })).toEqual([128, 128, 128]);
  expect(await first(grey16, { decode: "python" })).toEqual([255, 255, 255]);
  const clear = await sharp({ create: { width: 2, height: 2, channels: 4, background: { r: 10, g: 20, b: 30, alpha: 0 } } })
    .png()
    .toBuffer();
  expect(await first(clear, { alpha: "white" })).toEqual([255, 255, 255]);
  expect(await first(clear, { alpha: "black" })).toEqual([0, 0, 0]);
  expect(await first(clear, { alpha: "drop" })).toEqual([10, 20, 30]);
  expect(await first(clear, { decode: "python", alpha: "white" })).toEqual([10, 20, 30]);
});

test('decodeImage() with "managed" takes a profile to sRGB, with "python" ignores it', async () => {
  const wide = await sharp({ create: { width: 2, height: 2, channels: 3, background: "#20c040" } })
    .withIccProfile("p3")
    .png()
    .toBuffer();
  const off = async (decode: "managed" | "python"): Promise<number> => {
    const [r = 0, g = 0, b = 0] = await first(wide, { decode });
    return Math.max(Math.abs(r - 32), Math.abs(g - 192), Math.abs(b - 64));
  };
  expect(await off("managed")).toBeLessThanOrEqual(1); // the profile is a table, so its way back rounds
  expect(await off("python")).toBeGreaterThan(10);
});

async function refusal(bytes: Uint8Array, maxPixels?: number): Promise<string> {
  const error: unknown = await decodeImage(
    bytes,
    maxPixels === undefined ? { name: "my photo.jpg" } : { name: "my photo.jpg", maxPixels },
  ).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(FormatError);
  return error instanceof FormatError ? `${error.file}: ${error.message}` : "";
}

/** A PNG header that claims a size, with almost nothing behind it. */
async function claimed(width: number, height: number): Promise<Uint8Array> {
  const png = Buffer.from(await encodePng(gradient(8, 8)));
  png.writeUInt32BE(width, 16);
  png.writeUInt32BE(height, 20);
  const { crc32 } = await import("node:zlib");
  png.writeUInt32BE(crc32(png.subarray(12, 29)), 29);
  return png;
}

test("decodeImage() refuses empty, foreign, truncated and oversized files and names them", async () => {
  const start = 'my photo.jpg: Cannot decode image "my photo.jpg": ';
  expect(await refusal(new Uint8Array(0))).toContain(`${start}the file is empty`);
  expect(await refusal(Buffer.from("just text"))).toContain(`${start}its content is no JPEG`);
  expect(await refusal(new Uint8Array(100))).toContain("its content is no JPEG");
  const jpeg = await encodeJpeg(gradient(64, 64));
  expect(await refusal(jpeg.subarray(0, jpeg.length >> 1))).toContain("the data ends early");
  const png = await encodePng(gradient(64, 64));
  expect(await refusal(png.subarray(0, png.length >> 1))).toMatch(/the data (ends early|is damaged)/);
  expect(await refusal(await claimed(30_000, 30_000))).toContain("30000x30000 px are 900000000 pixels, the limit is 178956970");
  expect(await refusal(jpeg, 4095)).toContain("64x64 px are 4096 pixels, the limit is 4095");
});

test("decodeImage() of a mislabelled file goes by content, and 1x1 works", async () => {
  const path = join(folder, "really a png.jpg");
  await writeFile(path, await encodePng(gradient(1, 1)));
  expect((await loadImage({ path })).data).toEqual(gradient(1, 1).data);
});

test("decodeImage() of a damaged file gives a picture or a FormatError, never another error", async () => {
  const files = await Promise.all([encodeJpeg(gradient(20, 16)), encodePng(gradient(20, 16)), sharp(bytesOf("a.webp")).webp().toBuffer()]);
  const change = fc.record({
    file: fc.constantFrom(...files),
    at: fc.double({ min: 0, max: 0.999, noNaN: true }),
    to: fc.nat(255),
    cut: fc.double({ min: 0.3, max: 1, noNaN: true }),
  });
  await fc.assert(
    fc.asyncProperty(change, async ({ file, at, to, cut }) => {
      const bytes = Uint8Array.from(file.subarray(0, Math.floor(file.length * cut)));
      bytes[Math.floor(at * bytes.length)] = to;
      const result: unknown = await decodeImage(bytes, { maxPixels: 1e6 }).catch((e: unknown) => e);
      if (result instanceof Error) expect(result).toBeInstanceOf(FormatError);
    }),
    { numRuns: 60 },
  );
});

test("readImageBytes() reads paths with spaces and unicode, members of a tar, and refuses what is not there", async () => {
  const path = join(folder, "zwei Bäume 木 %20.bin");
  await writeFile(path, Uint8Array.of(1, 2, 3, 4, 5));
  expect([...(await readImageBytes({ path }))]).toEqual([1, 2, 3, 4, 5]);
  expect([...(await readImageBytes({ path, offset: 1, bytes: 3 }))]).toEqual([2, 3, 4]);
  await expect(readImageBytes({ path, offset: 3, bytes: 9 })).rejects.toThrow(/2 of 9 bytes at 3 are there/);
  await expect(readImageBytes({ path: join(folder, "none.jpg") })).rejects.toThrow(FormatError);
  await expect(readImageBytes({ path: folder })).rejects.toThrow(FormatError);
  const loop = join(folder, "loop.jpg");
  await symlink(loop, loop);
  await expect(readImageBytes({ path: loop })).rejects.toThrow(/Cannot read image .*ELOOP/);
});

test("readJpegHeader() never fails on any bytes and knows what a JPEG holds", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (tail) => void readJpegHeader(Uint8Array.of(0xff, 0xd8, ...tail))));
  expect(readJpegHeader(bytesOf("exif.jpg"))).toEqual({ width: 32, height: 24, components: 3, exif: true, icc: false });
  expect(readJpegHeader(bytesOf("cmyk.jpg"))?.components).toBe(4);
  expect(readJpegHeader(bytesOf("a.gif"))).toBeUndefined();
});

test("encodePng() keeps every byte, renderSvg() draws on a white square, both refuse bad input", async () => {
  const image = gradient(7, 5);
  expect((await decodeImage(await encodePng(image))).data).toEqual(image.data);
  const drawn = await renderSvg(
    Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 20"><rect width="10" height="20" fill="blue"/></svg>'),
    16,
  );
  expect([drawn.width, drawn.height, drawn.data.length]).toEqual([16, 16, 768]);
  expect([...drawn.data.slice(0, 3), ...drawn.data.slice(24, 27)]).toEqual([255, 255, 255, 0, 0, 255]);
  await expect(renderSvg(Buffer.from("<svg"), 16)).rejects.toThrow(FormatError);
  await expect(renderSvg(await encodePng(image), 16)).rejects.toThrow(/the content is png/);
  await expect(encodePng({ ...image, width: 8 })).rejects.toThrow(/Cannot use image/);
});
