/** @file Colour jitter and grey with PIL's arithmetic, as torchvision does it on PIL images; every step works in place on RGB bytes. */
import { ConfigError } from "../core/index.ts";
import { checkImage, type RgbImage } from "./image.ts";

export type JitterOp = "brightness" | "contrast" | "saturation" | "hue";

/** One drawn colour jitter: the steps in their order, each with its factor (hue: a turn in -0.5..0.5). */
export type JitterPlan = readonly (readonly [op: JitterOp, factor: number])[];

/** In place on RGB bytes, three a pixel. */
type ColourStep = (data: Uint8Array, factor: number) => void;

const STEPS: { readonly [K in JitterOp]: ColourStep } = {
  brightness: brightnessInto,
  contrast: contrastInto,
  saturation: saturationInto,
  hue: hueInto,
};

/** A copy of the picture after the steps, each going back to bytes. Throws ConfigError for a factor that PIL refuses. */
export function jitter(image: RgbImage, plan: JitterPlan): RgbImage {
  checkImage(image);
  for (const [op, factor] of plan) checkFactor(op, factor);
  const data = image.data.slice();
  jitterInto(data, plan);
  return { ...image, data };
}

export function jitterInto(data: Uint8Array, plan: JitterPlan): void {
  for (const [op, factor] of plan) STEPS[op](data, factor);
}

function checkFactor(op: JitterOp, factor: number): void {
  const ok = op === "hue" ? Math.abs(factor) <= 0.5 : factor >= 0 && Number.isFinite(factor);
  if (!ok) throw new ConfigError(`Cannot change ${op}: factor is ${factor}; give ${op === "hue" ? "-0.5 to 0.5" : "0 or more"}`);
}

/** PIL's luma: (19595 R + 38470 G + 7471 B + 32768) >> 16. */
function luma(r: number, g: number, b: number): number {
  return (Math.imul(19595, r) + Math.imul(38470, g) + Math.imul(7471, b) + 32768) >> 16;
}

/** PIL's blend of two bytes: from + factor * (to - from) in float32, cut to 0..255, truncated. */
function blend(from: number, to: number, factor: number): number {
  const mixed = Math.fround(from + Math.fround(factor * (to - from)));
  return mixed <= 0 ? 0 : mixed >= 255 ? 255 : Math.trunc(mixed);
}

const lut = new Uint8Array(256);

/** All values blended with one constant. */
function blendConstant(data: Uint8Array, constant: number, factor: number): void {
  if (factor === 1) return;
  const f = Math.fround(factor);
  for (let v = 0; v < 256; v++) lut[v] = blend(constant, v, f);
  for (let i = 0; i < data.length; i++) data[i] = lut[data[i]!]!; // bytes index a table of 256
}

function brightnessInto(data: Uint8Array, factor: number): void {
  blendConstant(data, 0, factor);
}

/** Blend with the mean of the grey picture, rounded. */
function contrastInto(data: Uint8Array, factor: number): void {
  let sum = 0;
  // Blocks keep the inner sum in 31 bits, where the engine adds integers.
  for (let from = 0; from < data.length; from += 3 << 20) sum += lumaSum(data, from, Math.min(data.length, from + (3 << 20)));
  blendConstant(data, Math.trunc(sum / (data.length / 3) + 0.5), factor);
}

function lumaSum(data: Uint8Array, from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < to; i += 3) sum = (sum + luma(data[i]!, data[i + 1]!, data[i + 2]!)) | 0; // whole pixels
  return sum;
}

/** factor * d for every difference d = value - grey, in float32. */
const scaled = new Float32Array(511);

/** Blend of each pixel with its own grey. */
function saturationInto(data: Uint8Array, factor: number): void {
  if (factor === 1) return;
  const f = Math.fround(factor);
  for (let d = -255; d <= 255; d++) scaled[d + 255] = f * d;
  const out = new Uint8ClampedArray(data.buffer, data.byteOffset, data.length);
  for (let i = 0; i < data.length; i += 3) {
    const r = data[i]!; // whole pixels; differences of bytes index a table of 511
    const g = data[i + 1]!;
    const b = data[i + 2]!;
    const l = luma(r, g, b);
    out[i] = Math.trunc(Math.fround(l + scaled[r - l + 255]!));
    out[i + 1] = Math.trunc(Math.fround(l + scaled[g - l + 255]!));
    out[i + 2] = Math.trunc(Math.fround(l + scaled[b - l + 255]!));
  }
}

/** Grey in all three channels. */
export function grayscale(image: RgbImage): RgbImage {
  checkImage(image);
  const data = image.data.slice();
  grayscaleInto(data);
  return { ...image, data };
}

export function grayscaleInto(data: Uint8Array): void {
  for (let i = 0; i < data.length; i += 3) {
    const l = luma(data[i]!, data[i + 1]!, data[i + 2]!); // whole pixels
    data[i] = l;
    data[i + 1] = l;
    data[i + 2] = l;
  }
}

interface HsvTables {
  /** Hue byte by sector (red, green, blue largest), chroma and signed difference of the two other channels. */
  readonly hue: Uint8Array;
  /** Saturation byte by chroma and largest channel. */
  readonly saturation: Uint8Array;
}

let hsvTables: HsvTables | undefined;

/** PIL's RGB -> HSV has one division per pixel and few distinct operands, so it is read from tables. */
function tablesOfHsv(): HsvTables {
  if (hsvTables !== undefined) return hsvTables;
  const hue = new Uint8Array(3 * 256 * 512);
  const saturation = new Uint8Array(256 * 256);
  for (let chroma = 1; chroma < 256; chroma++) {
    for (let d = -chroma; d <= chroma; d++)
      for (let sector = 0; sector < 3; sector++) hue[((sector << 8) | chroma) * 512 + d + 256] = hueByte(sector, d, chroma);
    for (let max = chroma; max < 256; max++) saturation[(chroma << 8) | max] = Math.trunc(Math.fround(chroma / max) * 255);
  }
  hsvTables = { hue, saturation };
  return hsvTables;
}

/** h = fmod((2 * sector + first - second) / 6 + 1, 1) with first, second the distances to the largest over chroma; one of them is 0 or 1. */
function hueByte(sector: number, d: number, chroma: number): number {
  // With max - min = chroma one of the two other channels is the smallest: its distance over chroma is 1.
  const first = d <= 0 ? Math.fround((chroma + d) / chroma) : 1;
  const second = d <= 0 ? 1 : Math.fround((chroma - d) / chroma);
  const h = Math.fround(sector === 0 ? Math.fround(first - second) : 2 * sector + first - second);
  const turn = Math.fround((h / 6 + 1) % 1);
  return Math.trunc(turn * 255);
}

const chromaScale = new Float32Array(256);
const sectorOf = new Uint8Array(256);
const fractionOf = new Float32Array(256);
for (let v = 0; v < 256; v++) {
  const sixths = Math.fround((v * 6) / 255);
  chromaScale[v] = v / 255;
  sectorOf[v] = Math.floor(sixths) % 6;
  fractionOf[v] = sixths - Math.floor(sixths);
}

/** By sector of the turn: which channel is the largest, which lies between, which is the smallest. */
const LARGEST = Uint8Array.of(0, 1, 1, 2, 2, 0);
const BETWEEN = Uint8Array.of(1, 0, 2, 1, 0, 2);
const SMALLEST = Uint8Array.of(2, 2, 0, 0, 1, 1);

/** Hue turned by trunc(255 * factor) of 256 steps, through bytes of HSV. */
function hueInto(data: Uint8Array, factor: number): void {
  const { hue, saturation } = tablesOfHsv();
  const shift = Math.trunc(factor * 255) & 255;
  for (let i = 0; i < data.length; i += 3) {
    const r = data[i]!; // whole pixels; every table below is indexed by bytes
    const g = data[i + 1]!;
    const b = data[i + 2]!;
    const max = Math.max(r, g, b);
    const chroma = max - Math.min(r, g, b);
    if (chroma === 0) continue;
    const at = r === max ? (chroma << 9) + g - b : g === max ? ((256 | chroma) << 9) + b - r : ((512 | chroma) << 9) + r - g;
    const h = (hue[at + 256]! + shift) & 255;
    const s = chromaScale[saturation[(chroma << 8) | max]!]!;
    const sector = sectorOf[h]!;
    const f = fractionOf[h]!;
    data[i + LARGEST[sector]!] = max;
    data[i + BETWEEN[sector]!] = (max * (1 - s * (sector & 1 ? f : 1 - f)) + 0.5) | 0;
    data[i + SMALLEST[sector]!] = (max * (1 - s) + 0.5) | 0;
  }
}
